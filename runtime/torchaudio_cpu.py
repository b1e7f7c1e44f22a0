"""torchaudio beside a torch for CPUs: `python -m runtime.torchaudio_cpu`, after installing.

The package index has one torchaudio, and its compiled parts are built for CUDA. Beside a torch
without CUDA they cannot be loaded, so that `import torchaudio` fails, and with it pyannote and
NeMo. What those need of it is plain Python, and works once the compiled parts are gone. Running
this again changes nothing; installing torchaudio again brings the parts back.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Final

from airgap.console import console
from airgap.errors import AirgapError

MEND: Final = "where torch is for CPUs: python -m runtime.torchaudio_cpu"

_ASK_TORCH: Final = "import torch; print(torch.version.cuda or torch.version.hip or 'cpu')"
_TRY: Final = "import torchaudio"
_LONGEST: Final = 300
"""Seconds for one import, which reads a gigabyte where torch is built for CUDA."""


def mends(error: BaseException) -> bool:
    """Whether an import died while torchaudio looked for its compiled parts.

    What the loader says depends on which library of CUDA's it misses first, so that where it was
    raised decides.
    """
    frames = (frame for frame, _line in traceback.walk_tb(error.__traceback__))
    names = (str(frame.f_globals.get("__name__")) for frame in frames)
    return isinstance(error, OSError) and any(one.split(".")[0] == "torchaudio" for one in names)


def main() -> int:
    """Mend this environment, and say what was done."""
    try:
        removed = mend()
    except AirgapError as error:
        console.fail(error)
        return error.exit_code
    for path in removed:
        console.say(f"removed {path}: built for CUDA")
    console.say("torchaudio works beside this torch, or is not installed")
    return 0


def mend() -> tuple[Path, ...]:
    """Take torchaudio's compiled parts away where they cannot be loaded.

    Returns:
        What was removed; empty where torchaudio works as it is, or is not installed.

    Raises:
        AirgapError: torchaudio fails for another reason, or a file cannot be removed.
    """
    folder = _installed()
    if folder is None or (story := _failure()) is None:
        return ()
    compiled = tuple(sorted((folder / "lib").glob("*.so")))
    if not compiled or _run(_ASK_TORCH).stdout.strip() != "cpu":
        raise _unmended(story)
    try:
        for path in compiled:
            path.unlink()
    except OSError as error:
        raise AirgapError(
            f"cannot remove '{error.filename}': {error.strerror}",
            hint="run this as whoever installed torchaudio",
        ) from error
    if (story := _failure()) is not None:
        raise _unmended(story)
    return compiled


def _installed() -> Path | None:
    """The folder of torchaudio, found without importing it."""
    found = importlib.util.find_spec("torchaudio")
    return Path(found.origin).parent if found and found.origin else None


def _failure() -> str | None:
    """What `import torchaudio` dies of, in a process of its own; None where it works."""
    done = _run(_TRY)
    return (done.stderr.strip().rpartition("\n")[2] or "killed") if done.returncode else None


def _unmended(story: str) -> AirgapError:
    return AirgapError(
        f"torchaudio does not work beside the torch that is installed: {story[:300]}",
        hint="install the torchaudio that belongs to this torch, from the same index",
    )


def _run(program: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - this interpreter, and one of the two lines above
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST,
        )
    except subprocess.TimeoutExpired as error:
        raise AirgapError(
            f"`{program}` did not end within {_LONGEST} seconds", hint="try again"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
