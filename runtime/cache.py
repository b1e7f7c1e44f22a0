"""Where the libraries look for models: paths, their variables, and whether a model is there.

    from runtime.cache import configure_global_cache_env, is_cached

    paths = configure_global_cache_env()        # before anything that loads models is imported
    is_cached("Systran/faster-whisper-tiny.en")

A mounted bundle is the cache, where there is one: its files were verified, and nothing that is
found in variables leads away from it. Where nothing is mounted the cache is a root with folders of
its own, which libraries fill by themselves; nobody verified those.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airgap import places
from airgap.errors import UsageError
from airgap.paths import path_defect
from runtime import generation
from runtime.generation import Generation

CACHE_ROOT: Final = "SLOWER_WHISPER_CACHE_ROOT"
"""The cache root of an older tool. AIRGAP_ROOT wins; it never says where trust and mounts lie."""

SHADOWS: Final = (
    "HUGGINGFACE_HUB_CACHE",
    "TRANSFORMERS_CACHE",
    "PYTORCH_TRANSFORMERS_CACHE",
    "PYTORCH_PRETRAINED_BERT_CACHE",
)
"""Variables of older versions that send a library past HF_HOME and HF_HUB_CACHE."""


@dataclass(frozen=True)
class CachePaths:
    """Where each library looks.

    Attributes:
        root: what the folders lie in, where no variable moved them.
        hf_home: of the hub's client, and so of faster-whisper, transformers and pyannote.
        hub: its cache of models.
        torch_home, nemo_home: of torch.hub, and of NeMo for names of NGC.
        whisper_root, emotion_root, diarization_root: plain folders, one for each model.
        bundle: the mounted bundle that this is, as `demo-1.0.0`; None for folders that libraries
            fill by themselves.
    """

    root: Path
    hf_home: Path
    hub: Path
    torch_home: Path
    nemo_home: Path
    whisper_root: Path
    emotion_root: Path
    diarization_root: Path
    bundle: str | None

    @classmethod
    def below(cls, root: Path, bundle: str | None = None) -> CachePaths:
        """The layout of a cache root, and of a mount."""
        return cls(
            root=root,
            hf_home=root / "hf",
            hub=root / "hf" / "hub",
            torch_home=root / "torch",
            nemo_home=root / "nemo",
            whisper_root=root / "whisper",
            emotion_root=root / "emotion",
            diarization_root=root / "diarization",
            bundle=bundle,
        )

    @classmethod
    def foreign(
        cls, root: Path | None = None, environ: Mapping[str, str] = os.environ
    ) -> CachePaths:
        """The folders beside any mount: `root`, AIRGAP_ROOT, SLOWER_WHISPER_CACHE_ROOT, else ours.

        Each folder may be elsewhere by its variable.
        """
        if root is None and not environ.get("AIRGAP_ROOT"):
            root = _named(environ, CACHE_ROOT)
        plain = cls.below(places.isolated_root(root))
        hf_home = _named(environ, "HF_HOME") or plain.hf_home
        older_hub = _named(environ, "HUGGINGFACE_HUB_CACHE")
        return cls(
            root=plain.root,
            hf_home=hf_home,
            hub=_named(environ, "HF_HUB_CACHE") or older_hub or hf_home / "hub",
            torch_home=_named(environ, "TORCH_HOME") or plain.torch_home,
            nemo_home=_named(environ, "NEMO_CACHE_DIR") or plain.nemo_home,
            whisper_root=_named(environ, "AIRGAP_WHISPER") or plain.whisper_root,
            emotion_root=_named(environ, "AIRGAP_EMOTION") or plain.emotion_root,
            diarization_root=_named(environ, "AIRGAP_DIARIZATION") or plain.diarization_root,
            bundle=None,
        )

    @classmethod
    def find(cls, bundle: str | None = None, root: Path | None = None) -> CachePaths:
        """The mount of a bundle; without a name the only mount, else the folders beside it.

        Raises:
            UsageError: there is no such mount, or several and none was named.
            DamagedError: the mount was changed after it was made.
        """
        place = places.isolated_root(root)
        if bundle is None and not generation.mounted(place):
            return cls.foreign(root)
        with generation.current(place, bundle) as mounted:
            return cls.below(mounted.cache_root, mounted.statement.title)

    def environment(self) -> dict[str, str]:
        """The variables that lead every library here; for a mount, also those that keep it here."""
        leading = {
            "HF_HOME": str(self.hf_home),
            "HF_HUB_CACHE": str(self.hub),
            "TORCH_HOME": str(self.torch_home),
            "NEMO_CACHE_DIR": str(self.nemo_home),
        }
        if self.bundle is None:
            return leading
        return {
            **leading,
            # The client would ask a hub at every load; without a network it tries for minutes.
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "PYANNOTE_METRICS_ENABLED": "0",
        }

    def shadowed_by(self, environ: Mapping[str, str] = os.environ) -> list[str]:
        """As `led_past_by`, each with what a person types."""
        mend = f'for {self.bundle or self.root} alone: eval "$(airgap cache env)"'
        return [f"{led}; {mend}" for led in self.led_past_by(environ)]

    def led_past_by(self, environ: Mapping[str, str]) -> list[str]:
        """Which of these variables lead a library elsewhere, or to a network: a sentence each."""
        wanted = {**dict.fromkeys(SHADOWS, str(self.hub)), **self.environment()}
        return [
            f"{name} is '{environ[name]}', expected '{value}'"
            for name, value in wanted.items()
            if environ.get(name, value) != value
        ]


def _named(environ: Mapping[str, str], variable: str) -> Path | None:
    """The folder that a variable names; None where it is not set, or empty."""
    named = environ.get(variable)
    return Path(named).expanduser().absolute() if named else None


def configure_global_cache_env(
    bundle: str | None = None, root: str | os.PathLike[str] | None = None
) -> CachePaths:
    """Lead every library of this process, and of its children, to the models of this host.

    The libraries read their variables when they are imported: call this first.

    Args:
        bundle: the name of a mounted bundle, where there are several.
        root: the host's root; None as `airgap` finds it.

    Returns:
        Where they look now.

    Raises:
        UsageError: the hub's client was imported before, with other settings; nothing was set. Or
            there is no such mount, or several and none was named.
        DamagedError: the mount was changed after it was made.
    """
    paths = CachePaths.find(bundle, Path(root) if root is not None else None)
    constants = sys.modules.get("huggingface_hub.constants")
    if constants is not None and (
        str(constants.HF_HUB_CACHE) != str(paths.hub)
        or (paths.bundle is not None and not constants.HF_HUB_OFFLINE)
    ):
        raise UsageError(
            f"huggingface_hub was imported before, and looks in '{constants.HF_HUB_CACHE}'",
            hint="call configure_global_cache_env() before faster_whisper, transformers, pyannote "
            "or nemo is imported",
        )
    for name in SHADOWS:
        os.environ.pop(name, None)
    os.environ.update(paths.environment())
    return paths


def is_cached(
    model: str, *, bundle: str | None = None, root: str | os.PathLike[str] | None = None
) -> bool:
    """Whether a model is there, whole, where its library will look without a network.

    Files are looked at, not hashed: `airgap` hashes those of a mount whenever it loads them.

    Args:
        model: ORG/NAME as on the hub, or its id in a bundle, which is its plain folder's name.
        bundle: the name of a mounted bundle, where there are several.
        root: the host's root; None as `airgap` finds it.

    Raises:
        UsageError: the name cannot be one; there is no such mount, or several and none was named.
        DamagedError: the mount was changed after it was made.
    """
    if defect := path_defect(model):
        raise UsageError(f"expected the name of a model, found '{model}', which {defect}")
    host = Path(root) if root is not None else None
    place = places.isolated_root(host)
    if bundle is None and not generation.mounted(place):
        return _is_in(CachePaths.foreign(host), model)
    with generation.current(place, bundle) as mounted:
        return _is_mounted(mounted, model)


def _is_mounted(mounted: Generation, model: str) -> bool:
    found = [one for one in mounted.manifest.artifacts if model in {one.id, one.repository}]
    files = [file for one in found for file in mounted.manifest.files_of(one)]
    return bool(files) and all(
        _is_whole(mounted.folder.path / file.path, file.size) for file in files
    )


def _is_whole(path: Path, size: int) -> bool:
    try:
        there = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(there.st_mode) and there.st_size == size


def _is_in(paths: CachePaths, model: str) -> bool:
    if "/" in model:
        return _has_snapshot(paths.hub / f"models--{model.replace('/', '--')}")
    plain = (paths.whisper_root, paths.emotion_root, paths.diarization_root)
    return any(_has_files(folder / model) for folder in plain)


def _has_snapshot(folder: Path) -> bool:
    """Whether the hub's client finds a snapshot by `refs/main`, which is read as it stands."""
    try:
        commit = (folder / "refs" / "main").read_text()
    except (OSError, UnicodeDecodeError):
        return False
    # With a newline behind it the client looks for a folder of that name, and finds none.
    return path_defect(commit) is None and _has_files(folder / "snapshots" / commit)


def _has_files(folder: Path) -> bool:
    """Whether there are files, and none of them is a link into nothing: a download broken off."""
    found = [path for path in folder.rglob("*") if not path.is_dir()]
    return bool(found) and all(path.is_file() for path in found)
