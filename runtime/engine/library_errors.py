"""Whatever a library raises while it loads or computes, as an error of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airgap.errors import AirgapError


@contextmanager
def library_errors(what: str) -> Iterator[None]:
    """For libraries whose exceptions have no common root, and which promise none.

    Args:
        what: has failed, as the error shall begin: `model 'x' cannot be read`.

    Raises:
        AirgapError: instead of whatever was raised, which is its cause; one of ours stays.
    """
    try:
        yield
    except AirgapError:
        raise
    except MemoryError as error:
        raise AirgapError(f"{what}: not enough memory") from error
    except Exception as error:
        raise AirgapError(f"{what}: {str(error) or type(error).__name__}") from error
