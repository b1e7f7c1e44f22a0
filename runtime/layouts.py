"""A manifest -> the further names under which a mount offers its models to each library.

A bundle's tree is a hub cache: that is one way to find a model. In a mount each model has further
names, hard links that cost nothing:

    whisper/ID/ emotion/ID/ diarization/ID/     a plain folder, by what the model is for
    nemo/STEM/KEY/FILE.nemo                     NeMo's own cache, for models by NGC's name
    torch/hub/checkpoints/FILE                  torch's, for weights that it knows by their address

They are a function of the manifest, so whoever has that can tell them from strangers. What the
tree itself holds is never shadowed: a name that it has, or that two files would want, is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final

from airgap.manifest import Artifact, File, Manifest

FOLDERS: Final = {
    "asr": "whisper",
    "emotion": "emotion",
    "vad": "diarization",
    "segmentation": "diarization",
    "speaker-embedding": "diarization",
    "plda": "diarization",
    "diarization": "diarization",
}
"""The plain folder by role. Wheels, samples and the like are no library's models."""

_NGC: Final = {
    "titanet-l.nemo": "11ba0924fdf87c049e339adbf6899d48",
    "titanet-s.nemo": "908e9576cf7dd7420e75f73ceb0b72e1",
    "vad_multilingual_marblenet.nemo": "670f425c7f186060b7a7268ba6dfacb2",
    "vad_multilingual_frame_marblenet.nemo": "797ff2f9c4ffbe205a462a226ed7c224",
}
"""The key of NeMo's cache by file: MD5 of a model's address at NGC and its description, as NeMo
3.0 has them (`nemo.core.classes.common.Model._get_ngc_pretrained_model_info`)."""

_NGC_NAMES: Final = {"speakerverification_en_titanet_large.nemo": "titanet-l.nemo"}
"""What NVIDIA publishes under another file name on the hub."""

_CHECKPOINTS: Final = frozenset({".pt", ".pth"})
"""What `torch.hub.load_state_dict_from_url` looks for, by the last part of its address."""


def links(manifest: Manifest) -> tuple[File, ...]:
    """Files of the manifest under their further names in a mount, sorted by them."""
    wanted = [link for one in manifest.artifacts for link in _wanted(manifest, one)]
    times = Counter(link.path.casefold() for link in wanted)
    tree = _Tree(file.path for file in manifest.files)
    free = (one for one in wanted if times[one.path.casefold()] == 1 and tree.has_room(one.path))
    return tuple(sorted(free, key=lambda link: link.path))


def _wanted(manifest: Manifest, artifact: Artifact) -> Iterator[File]:
    """The names that an artifact would have."""
    folder = FOLDERS.get(artifact.role)
    if folder is None:
        return
    own = f"{folder}/{artifact.id}"
    for file in manifest.files_of(artifact):
        inside = file.path.removeprefix(f"{artifact.path}/")
        if inside != file.path and artifact.path != own:
            yield replace(file, path=f"{own}/{inside}")
        name = PurePosixPath(file.path).name
        ngc = _NGC_NAMES.get(name, name)
        if ngc in _NGC:
            yield replace(file, path=f"nemo/{PurePosixPath(ngc).stem}/{_NGC[ngc]}/{ngc}")
        if PurePosixPath(name).suffix in _CHECKPOINTS:
            yield replace(file, path=f"torch/hub/checkpoints/{name}")


class _Tree:
    """The names that a bundle's tree has, where case is ignored, as it is when it is copied."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._files = {path.casefold() for path in paths}
        self._folders = {parent for path in self._files for parent in _parents(path)}

    def has_room(self, path: str) -> bool:
        """Whether `path` is neither a file nor a folder here, nor inside a file."""
        folded = path.casefold()
        return folded not in self._folders and self._files.isdisjoint([folded, *_parents(folded)])


def _parents(path: str) -> list[str]:
    return [str(parent) for parent in PurePosixPath(path).parents]
