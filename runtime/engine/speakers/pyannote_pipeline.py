"""A pyannote pipeline's folder, judged before pyannote reads it: what it names lies in the copy.

pyannote loads whatever its `config.yaml` names, from a hub or from anybody's cache of one where
it is no folder (a PLDA also where nothing is named); builds whatever class a checkpoint names;
and calls whatever `_instantiator` a checkpoint names. The files are the signed ones; the
builder may still have signed a mistake.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import yaml

from airgap.errors import AirgapError
from runtime.engine.speakers import checkpoints

CONFIG: Final = "config.yaml"
CHECKPOINT: Final = "pytorch_model.bin"

PIPELINES: Final = (
    "pyannote.audio.pipelines.SpeakerDiarization",
    "pyannote.audio.pipelines.speaker_diarization.SpeakerDiarization",
)
"""The pipelines whose answer is turns."""

PARTS: Final = {
    "segmentation": (CHECKPOINT,),
    "embedding": (CHECKPOINT,),
    "plda": ("plda.npz", "xvec_transform.npz"),
}
"""What a pipeline loads besides its configuration, and the files of each."""

_HERE: Final = "$model/"
_HYPER_PARAMETERS: Final = ("hyper_parameters", "hparams", "module_arguments")


def check_pipeline(folder: Path, folders: Collection[Path]) -> tuple[Path, ...]:
    """Check that everything a pipeline loads lies in the given folders.

    Args:
        folder: of the pipeline.
        folders: the verified ones; nothing outside them may be loaded.

    Returns:
        The checkpoints that it names.

    Raises:
        AirgapError: it is no speaker diarization, or names what is not there; the message has
            the configuration and the key.
    """
    path = folder / CONFIG
    try:
        config = yaml.safe_load(path.read_bytes())
        pipeline = config["pipeline"]
        name, params = pipeline["name"], dict(pipeline.get("params") or {})
    except OSError as error:
        raise AirgapError(f"cannot read '{path}': {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError, ValueError) as error:
        raise AirgapError(f"'{path}' is no configuration of a pyannote pipeline") from error
    if name not in PIPELINES:
        raise AirgapError(f"'{path}': expected the pipeline {PIPELINES[0]}, found '{name}'")
    files = [file for part in PARTS for file in _part(path, part, params.get(part), folders)]
    return tuple(file for file in files if file.name == CHECKPOINT)


def _part(config: Path, part: str, named: Any, folders: Collection[Path]) -> Iterator[Path]:
    """The files of a part, each of them there, inside one of `folders`."""
    if not isinstance(named, str) or not named.startswith(_HERE) or "@" in named:
        found = f"'{named}'" if named is not None else "nothing, which means a repository"
        raise AirgapError(
            f"'{config}': '{part}' must name a folder of the bundle ({_HERE}…), found {found}",
            hint="build the bundle again: a build derives such a configuration",
        )
    # By name alone, as pyannote opens it: the copy has no links.
    folder = Path(os.path.normpath(config.parent / named.removeprefix(_HERE)))
    if not any(folder.is_relative_to(one) for one in folders):
        raise AirgapError(f"'{config}': '{part}' leads out of the bundle: '{named}'")
    for file in PARTS[part]:
        if not (folder / file).is_file():
            raise AirgapError(f"'{config}': '{part}' lacks '{folder / file}'")
        yield folder / file


def check_checkpoint(path: Path) -> None:
    """Check that a checkpoint, read as plain data, has one of pyannote's models built from it.

    Raises:
        AirgapError: it is not a checkpoint of pyannote's, or has something else called.
    """
    import torch  # noqa: PLC0415 - takes seconds
    from pyannote.audio import Model  # noqa: PLC0415 - likewise

    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        named = checkpoint["pyannote.audio"]["architecture"]
        built = getattr(import_module(named["module"]), named["class"])
    except (
        pickle.UnpicklingError,
        RuntimeError,
        OSError,
        EOFError,
        LookupError,
        TypeError,
    ) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise AirgapError(f"'{path}' is no checkpoint of pyannote's: {reason}") from error
    except (ImportError, AttributeError, ValueError) as error:
        raise AirgapError(f"'{path}' needs a model that is not installed: {error}") from error
    if not (isinstance(built, type) and issubclass(built, Model)):
        raise AirgapError(
            f"'{path}' wants '{named['module']}.{named['class']}' built, which is none of "
            "pyannote's models"
        )
    for key in _HYPER_PARAMETERS:
        # lightning imports and calls what it names (lightning.pytorch.core.saving).
        if "_instantiator" in (checkpoint.get(key) or {}):
            raise AirgapError(f"'{path}' has a function of its own choice called: '_instantiator'")


@contextmanager
def weights_only() -> Iterator[None]:
    """For as long as the block lasts pyannote's checkpoints are read as data."""
    import torch  # noqa: PLC0415 - takes seconds
    from pyannote.audio.core.task import Problem, Resolution, Specifications  # noqa: PLC0415

    version = torch.torch_version.TorchVersion
    with checkpoints.weights_only(Problem, Resolution, Specifications, version):
        yield
