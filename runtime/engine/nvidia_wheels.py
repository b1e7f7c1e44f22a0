"""NVIDIA's libraries as wheels bring them: loaded by their paths, for the loader looks elsewhere.

The wheels put them into `site-packages/nvidia/*/lib`. torch finds them there by itself; CTranslate2
opens cuBLAS by its name alone, at the first inference, and gets what the process has loaded by
then. So nobody has to set LD_LIBRARY_PATH.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from airgap.errors import AirgapError

CUBLAS: Final = ("cublas/lib/libcublasLt.so.12", "cublas/lib/libcublas.so.12")
"""What CTranslate2 needs of them; the second needs the first."""


def load(libraries: Sequence[str]) -> bool:
    """Load libraries of the wheels into this process, for everybody in it.

    Args:
        libraries: paths below `nvidia`, each after those that it needs.

    Returns:
        Whether the wheels have them all; else the loader's own places are all there is.

    Raises:
        AirgapError: one is there and cannot be loaded.
    """
    paths = [found for one in libraries if (found := _installed(one)) is not None]
    for path in paths:
        try:
            ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise AirgapError(
                f"cannot load '{path}': {error}",
                hint="airgap doctor --device cuda; install the wheels again, or give --device cpu",
            ) from error
    return len(paths) == len(libraries)


def _installed(library: str) -> Path | None:
    spec = find_spec("nvidia")
    folders = spec.submodule_search_locations if spec else None
    paths = (Path(folder, library) for folder in folders or ())
    return next((path for path in paths if path.is_file()), None)
