"""Every bound on what a client may make the mirror hold or wait for."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

HEAD_BYTES: Final = 16 * KIB
"""Request line and headers. The hub's client sends half a kilobyte."""

HEADER_LINES: Final = 64
"""Headers of a request; the hub's client sends eight."""

HEADER_SECONDS: Final = 10.0
"""From a request's first byte to the end of its headers; the same again for TLS to begin."""

KEEP_ALIVE_SECONDS: Final = 15.0
"""An idle connection waits so long for its next request."""

CONNECTIONS: Final = 256
"""Open connections, a thread each; one more is answered 503. Below the usual limit of 1024
descriptors: each has a socket and a file, and holds one folder at a time on the way to it."""

PER_ADDRESS: Final = 128
"""Of these, for one address: half, so that no one machine shuts the others out."""

PIECE: Final = 4 * MIB
"""Bytes of a file that are sent under one deadline."""

PIECE_SECONDS: Final = 60.0
"""For a piece to be taken: 70 kB/s, below which a client is broken off, and may resume."""

TAIL: Final = 64 * KIB
"""The end of an answer, which is held back until the file is known not to have changed."""

SETTLED_SECONDS: Final = 3.0
"""A file that changed so recently could change again and keep its times: FAT counts in steps of
two seconds, other systems in milliseconds."""

POLL_SECONDS: Final = 2.0
"""How often is looked whether another generation is mounted. One readlink a bundle."""

DRAIN_SECONDS: Final = 30.0
"""For answers to be finished, after SIGTERM. What is broken off can be resumed."""

LINGER_SECONDS: Final = 1.0
"""What follows a request that was refused is read so long, and thrown away."""

BACKLOG_SECONDS: Final = 0.1
"""The pause where the host has no descriptor or thread left for the next client."""
