"""Rules about what is installed: versions that break, builds that do not fit each other."""

from __future__ import annotations

import re
from typing import Final

from airgap.finding import Check, Finding, fail, ok, warn
from runtime.doctor.facts import Host

DISTRIBUTIONS: Final = (
    "av",
    "ctranslate2",
    "faster-whisper",
    "nemo-toolkit",
    "pyannote.audio",
    "torch",
    "torchaudio",
    "transformers",
)
"""Every distribution that a check asks for."""

_AV_BROKEN: Final = 19
"""It removed an argument that faster-whisper 1.2.1 gives: every transcription raises TypeError."""

_CTRANSLATE2_SAFE: Final = (4, 8, 1)
"""Before it, a crafted model overflows the heap while it is loaded."""


def _whisper(host: Host) -> Finding | None:
    versions = host.libraries.versions
    if "faster-whisper" not in versions or "ctranslate2" not in versions:
        return _lacking(host, "faster-whisper is not installed")
    if _numbers(versions["ctranslate2"]) < _CTRANSLATE2_SAFE:
        return fail(
            f"ctranslate2 {versions['ctranslate2']} overflows its heap on a crafted model; "
            "expected 4.8.1 or newer",
            "pip install 'airgap-bundler[cpu]'",
        )
    return ok(f"{versions['faster-whisper']}, with ctranslate2 {versions['ctranslate2']}")


def _av(host: Host) -> Finding | None:
    version = host.libraries.versions.get("av")
    if version is None:
        return _lacking(host, "av is not installed: nothing decodes")
    if _numbers(version)[:1] >= (_AV_BROKEN,):
        return fail(
            f"av {version} breaks faster-whisper: every transcription raises TypeError",
            "pip install 'av<19'",
        )
    return ok(version)


def _torchaudio(host: Host) -> Finding | None:
    found = host.libraries
    if "torch" not in found.versions or "torchaudio" not in found.versions:
        return None
    if found.torchaudio_cuda and found.torch_cuda is None:
        return fail(
            f"torchaudio {found.versions['torchaudio']} is built for CUDA, and torch "
            f"{found.versions['torch']} for CPUs: pyannote and NeMo do not import",
            "python -m runtime.torchaudio_cpu",
        )
    return ok(f"{found.versions['torchaudio']}, beside torch {found.versions['torch']}")


def _lacking(host: Host, found: str) -> Finding:
    """It is not there; a bundle may bring it."""
    carried = host.libraries.carried
    if carried is None:
        return fail(found, "pip install 'airgap-bundler[cpu]'")
    finding = warn if carried.to_come else fail
    return finding(f"{found}; '{carried.title}' carries it in its runtime", carried.fix)


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: (4, 8, 1)."""
    return tuple(int(digits) for digits in re.findall(r"\d+", version.partition("+")[0])[:3])


CHECKS: Final = (
    Check("libraries.whisper", "Is the engine there, in a version without known holes?", _whisper),
    Check("libraries.av", "Does the decoder fit the engine?", _av),
    Check("libraries.torchaudio", "Does torchaudio fit torch?", _torchaudio),
)
