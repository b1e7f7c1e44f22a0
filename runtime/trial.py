"""A recording of a bundle's own, heard by its own models: proof that a generation works here.

`airgap update` asks it of the new runtime before that is switched to, so the command
`airgap runtime try --tree FOLDER --root ROOT` and its exit codes stay as they are.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from airgap.errors import AirgapError, UsageError
from airgap.manifest import File, Manifest
from runtime.environments import Runtime

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


def by_runtime(runtime: Runtime, tree: Path, root: Path, recording: Path | None) -> str:
    """What a runtime hears with a generation that is not served yet.

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
