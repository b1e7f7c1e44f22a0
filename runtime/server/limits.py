"""Every bound on what a client may make the server hold or do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIB: Final = 1 << 20

FORM_FIELDS: Final = 32
"""Fields of a form; OpenAI's has a dozen."""

FIELD_BYTES: Final = 64 * 1024
"""One field. A prompt is cut to 223 tokens anyway."""

FORM_OVERHEAD: Final = 1 * MIB
"""What a form may weigh besides its recording."""

SHORT_UPLOAD: Final = 2 * MIB
"""A recording up to this size counts as short: a minute of plain WAV at 16 kHz."""

HEADER_SECONDS: Final = 10.0
"""From the connection, or the first byte of the next request, to the end of its headers."""

IDLE_SECONDS: Final = 30.0
"""Between two pieces of a body."""

LINGER_SECONDS: Final = 3.0
"""What is left of a refused body is read and thrown away, so that the refusal arrives."""

KEEP_ALIVE_SECONDS: Final = 15
"""An idle connection waits so long for its next request."""

CONNECTIONS: Final = 1000
"""Open connections; one more is answered 503. Below the usual limit of 1024 descriptors."""

RETRY_SECONDS: Final = 5
"""What Retry-After says: about one short recording."""


@dataclass(frozen=True)
class Limits:
    """What an operator may set.

    Attributes:
        upload_bytes: the largest recording.
        memory_bytes: of one recording, held in memory; a larger one is spooled to disk.
        upload_seconds: for a whole body to arrive.
        audio_seconds: the longest recording.
        queue: requests that wait, uploads in progress among them.
        concurrency: recordings that are transcribed in turns, each held decoded in memory.
        per_caller: requests of one caller, waiting or at work.
    """

    upload_bytes: int = 512 * MIB
    memory_bytes: int = 8 * MIB
    upload_seconds: float = 900.0
    audio_seconds: float = 4 * 3600.0
    queue: int = 64
    concurrency: int = 4
    per_caller: int = 32
