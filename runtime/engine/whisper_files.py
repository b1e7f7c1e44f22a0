"""What a Whisper model must bring, so that nothing is looked for elsewhere; asked without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from airgap.errors import AirgapError

_NEEDED: Final = (
    ("config.json",),
    ("model.bin",),
    ("tokenizer.json",),
    ("vocabulary.json", "vocabulary.txt"),
)
"""What a model must bring; of each line, one."""


def check_files(name: str, sizes: Mapping[str, int]) -> None:
    """Refuse a model for which faster-whisper would go to a hub, or CTranslate2 would guess.

    Args:
        name: of the model, for the error.
        sizes: in bytes, by file name.

    Raises:
        AirgapError: a file is missing or empty.
    """
    missing = [
        " or ".join(f"'{file}'" for file in either)
        for either in _NEEDED
        if not any(sizes.get(file) for file in either)
    ]
    if missing:
        raise AirgapError(
            f"model '{name}' is incomplete: expected {', '.join(missing)}, "
            f"found {', '.join(sorted(sizes)) or 'nothing'}",
            hint="build the bundle again from a lock that names every file of the model",
        )
