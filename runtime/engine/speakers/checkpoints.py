"""Checkpoints are read as data, whatever a library or the environment asks of torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

_DATA: Final = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_CODE: Final = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


@contextmanager
def weights_only(*classes: type[Any]) -> Iterator[None]:
    """For as long as the block lasts torch runs no code of a checkpoint.

    pyannote asks for full unpickling. NeMo asks for nothing, so that a variable of torch's in the
    environment would have it: what a host was given for another program must not open this one.
    The variable that is set here is torch's own too, and is stronger than both.

    Args:
        classes: beside tensors, of which honest checkpoints hold instances.
    """
    import torch  # noqa: PLC0415 - takes seconds

    before = {name: os.environ.pop(name, None) for name in (_DATA, _CODE)}
    os.environ[_DATA] = "1"
    try:
        with torch.serialization.safe_globals(list(classes)):
            yield
    finally:
        del os.environ[_DATA]
        os.environ.update({name: value for name, value in before.items() if value is not None})
