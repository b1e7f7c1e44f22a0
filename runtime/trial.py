"""A recording of a bundle's own, transcribed by its own model: proof that a generation works here.

`airgap update` asks it of the new runtime before that is switched to, so the command
`airgap runtime try --tree FOLDER --root ROOT` and its exit codes stay as they are.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from airgap.console import Advance, quietly
from airgap.errors import AirgapError, UsageError
from airgap.manifest import File, Manifest
from runtime import models
from runtime.environments import Runtime
from runtime.generation import Generation
from runtime.verified_load import VerifiedLoad

SAMPLE: Final = "sample"

_AUDIO: Final = frozenset({".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus"})


def sample(manifest: Manifest) -> File:
    """The recording that a bundle carries. Raises UsageError where it carries none."""
    samples = {one.id for one in manifest.artifacts if one.role == SAMPLE}
    for file in manifest.files:
        if file.artifact in samples and Path(file.path).suffix in _AUDIO:
            return file
    raise UsageError(
        f"'{manifest.title}' carries no recording to try it with",
        hint="--sample FILE, with speech of your own; or ask for a bundle with `sample: jfk`",
    )


def hear(one: Generation, recording: int, name: str, advance: Advance = quietly) -> str:
    """What the generation's first model makes of a recording, in a process without a network.

    Args:
        one: the generation, served or not.
        recording: a descriptor, open for reading; this closes it.
        name: of the recording, for errors.
        advance: told the bytes of the model that are loaded.

    Raises:
        DamagedError: the model is not what was signed.
        AirgapError: it does not load, or hears nothing.
    """
    from runtime.engine.audio import decode  # noqa: PLC0415 - the engine, after leaving the network
    from runtime.engine.hardware import find_hardware  # noqa: PLC0415
    from runtime.engine.options import TranscribeOptions  # noqa: PLC0415

    artifacts = [artifact for artifact in one.manifest.artifacts if artifact.role == "asr"]
    if not artifacts:
        raise UsageError(f"'{one.manifest.title}' carries no model of the role asr")
    hardware = find_hardware("auto", "auto")
    engine = models.load(one, artifacts[0], hardware, VerifiedLoad.PATH, advance)
    with os.fdopen(recording, "rb") as stream:
        samples = decode(stream, name).samples
    text = engine.transcribe(samples, TranscribeOptions()).text.strip()
    if not text:
        raise AirgapError(
            f"'{artifacts[0].id}' of '{one.manifest.title}' heard nothing in '{name}'",
            hint="try a recording with clear speech: --sample FILE",
        )
    return text


def by_runtime(runtime: Runtime, tree: Path, root: Path, recording: Path | None) -> str:
    """What `hear` says when a runtime asks it of a generation that is not served yet.

    Raises:
        AirgapError: it does not work; with what that runtime said.
    """
    command: list[Path | str] = [runtime.command, "runtime", "try", "--tree", tree, "--root", root]
    if recording is not None:
        command += ["--sample", recording]
    try:
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - signed
    except OSError as error:
        raise AirgapError(f"cannot run '{runtime.command}': {error.strerror}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-1000:]
        raise AirgapError(
            f"the new runtime does not transcribe: {said or f'exit code {done.returncode}'}",
            hint="airgap doctor, with the bundle; what was served is served still",
        )
    return done.stdout.decode(errors="replace").strip()
