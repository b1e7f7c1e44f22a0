"""What a processor means for the engine, on either side of the gap."""

from __future__ import annotations

from typing import Final

SLOW: Final = "the processor has no AVX2: CTranslate2 takes {}, several times slower"
FASTER: Final = "show the guest its host's processor (QEMU: -cpu host), or use a newer one"

_AVX512: Final = frozenset({"avx512f", "avx512cd", "avx512vl", "avx512bw", "avx512dq"})


def code_path(features: frozenset[str]) -> str:
    """The code path that CTranslate2 takes on x86-64 (its cpu_isa.cc), best first.

    Args:
        features: instruction sets, as the kernel names them.
    """
    if features >= _AVX512:
        return "AVX512"
    return next((name for name in ("AVX2", "AVX") if name.lower() in features), "GENERIC")


def is_slow(features: frozenset[str]) -> bool:
    """Whether that path is several times slower than it need be."""
    return code_path(features) in {"AVX", "GENERIC"}
