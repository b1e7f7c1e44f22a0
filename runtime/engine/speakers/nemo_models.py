"""NeMo's model files: a folder with one `.nemo` -> a model of the class that was asked for.

NeMo downloads another model where a path does not end in `.nemo`, makes whatever class a file
names, logs to standard output, and takes ten seconds to import. Here it gets absolute paths of
files that are there, what it makes is checked, it is silent, and it is imported when a model is.
"""

from __future__ import annotations

import importlib
import logging
import tarfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from airgap.errors import AirgapError
from airgap.limits import MIB
from runtime import torchaudio_cpu
from runtime.engine.audio import SAMPLE_RATE
from runtime.engine.hardware import Hardware
from runtime.engine.library_errors import library_errors
from runtime.engine.speakers.checkpoints import weights_only

CONFIG: Final = "model_config.yaml"
"""The member of a `.nemo` that names its class."""

LARGEST_CONFIG: Final = 64 * MIB
"""Bytes of a configuration; those of a speaker model list its thousands of training speakers."""

INSTALL: Final = "pip install 'airgap-bundler[nemo]'"


def nemo_file(files: Mapping[str, Path], role: str) -> Path:
    """The one `.nemo` in the folder of a role.

    Args:
        files: absolute folder by role.
        role: such as `vad`.

    Raises:
        AirgapError: there is no such role, or not exactly one such file.
    """
    if role not in files:
        raise AirgapError(
            f"NeMo needs a model of the role '{role}', and was given {_listed(files)}",
            hint="build the bundle from a profile that has one, and mount that",
        )
    folder = files[role]
    if not folder.is_absolute():
        raise AirgapError(f"'{folder}' ({role}): expected an absolute path")
    found = sorted(path for path in folder.glob("*.nemo") if path.is_file())
    if len(found) != 1:
        raise AirgapError(
            f"'{folder}' ({role}): expected one .nemo file, "
            f"found {_listed(path.name for path in found)}",
            hint="build the bundle again from a lock that names the model's file",
        )
    return found[0]


def model_class(path: Path) -> str:
    """The name of the class that a `.nemo` says it is, without loading it.

    Raises:
        AirgapError: it is no such archive, or names no class.
    """
    try:
        with tarfile.open(path, "r:*") as archive:
            members = (one for one in archive if one.name.removeprefix("./") == CONFIG)
            member = next(members, None)
            stream = archive.extractfile(member) if member else None
            content = stream.read(LARGEST_CONFIG + 1) if stream else b""
        if len(content) > LARGEST_CONFIG:
            raise AirgapError(f"'{path}': its {CONFIG} is larger than {LARGEST_CONFIG} bytes")
        target = (yaml.safe_load(content) or {})["target"]
    except (tarfile.TarError, EOFError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise AirgapError(f"'{path}' is not a .nemo whose {CONFIG} names its class") from error
    except OSError as error:
        raise AirgapError(f"cannot read '{path}': {error.strerror or error}") from error
    return str(target).rpartition(".")[2]


def restore(path: Path, expected: str, hardware: Hardware) -> Any:
    """Load a model, ready to be asked.

    Args:
        path: of a `.nemo`, from `nemo_file`.
        expected: the name of its class in `nemo.collections.asr.models`.
        hardware: what it computes on.

    Raises:
        AirgapError: NeMo is not installed, the file is of another class or of another sample rate,
            or NeMo cannot load it.
    """
    check_class(path, (expected,))
    models = library("nemo.collections.asr.models")
    device = torch_device(hardware)
    with weights_only(), nemo_errors(f"'{path}' cannot be loaded"):
        model = getattr(models, expected).restore_from(str(path), map_location=device)
        model.eval()
        made, rate = type(model).__name__, model.cfg.preprocessor.sample_rate
    if made != expected:  # the library decides by a rule of its own what it makes
        raise AirgapError(f"'{path}': expected a model of {expected}, NeMo made {made}")
    if rate != SAMPLE_RATE:
        raise AirgapError(f"'{path}' hears {rate} samples a second: expected {SAMPLE_RATE}")
    return model


def check_class(path: Path, expected: tuple[str, ...]) -> str:
    """The class of a `.nemo`. Raises AirgapError where it is none of `expected`."""
    found = model_class(path)
    if found not in expected:
        raise AirgapError(
            f"'{path}' is a model of {found}: expected {' or '.join(expected)}",
            hint="lock a model that fits its role",
        )
    return found


def torch_device(hardware: Hardware) -> Any:
    """Where torch computes, with as many threads as it was given.

    Raises:
        AirgapError: torch is not installed, or is built for another device.
    """
    torch = library("torch")
    if hardware.device == "cuda" and not torch.cuda.is_available():
        raise AirgapError(
            f"device 'cuda': torch {torch.__version__} finds no GPU",
            hint="install the CUDA build of torch, or give --device cpu",
        )
    torch.set_num_threads(hardware.threads)
    return torch.device(hardware.device)


def library(module: str) -> Any:
    """A module of NeMo's or torch's, imported in silence.

    Raises:
        AirgapError: it is not installed, or does not fit what it was installed with.
    """
    logging.getLogger("nv_one_logger").setLevel(logging.CRITICAL)  # training telemetry, unused
    try:
        with warnings.catch_warnings(action="ignore"):
            if module.startswith("nemo."):
                _silence(importlib.import_module("nemo.utils").logging)
            return importlib.import_module(module)
    except ImportError as error:
        raise AirgapError(f"'{module}' cannot be imported: {error}", hint=INSTALL) from error
    except OSError as error:  # a shared library
        hint = torchaudio_cpu.MEND if torchaudio_cpu.mends(error) else INSTALL
        raise AirgapError(f"'{module}' cannot be imported: {error}", hint=hint) from error


def without_bars(module: str) -> Any:
    """A module of NeMo's that draws progress bars whatever it is told, without them."""
    found = library(module)
    bar = found.tqdm
    if isinstance(bar, type):  # not replaced yet
        found.tqdm = lambda *given, **named: bar(*given, **{**named, "disable": True})
    return found


@contextmanager
def nemo_errors(what: str) -> Iterator[None]:
    """`library_errors` without the warnings that NeMo gives by the dozen."""
    with library_errors(what), warnings.catch_warnings(action="ignore"):
        yield


def _silence(logger: Any) -> None:
    """What matters is raised; the rest would go to standard output, among the transcript."""
    logger.remove_stream_handlers()
    logger.set_verbosity(logging.CRITICAL)


def _listed(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
