"""The blobs of a repository: is one there, and one into it, piece by piece."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import IO, Any, Final

from airgap.console import Advance, human_size
from airgap.errors import AirgapError
from airgap.limits import MIB
from airgap.transfer import PassingError, Patience
from runtime.site.registry import Registry

PIECE: Final = 16 * MIB
"""Bytes of a blob that are sent at a time, and held in memory. A fault between two costs nothing.
Within one it costs the blob, where the registry is docker's: that drops what it has more of than
it told."""

LOSSES: Final = 3
"""How often a registry may lose what it had of a blob, before it is given up."""

_OK, _CREATED, _ACCEPTED, _NO_CONTENT, _UNKNOWN = 200, 201, 202, 204, 404


@dataclass(frozen=True)
class Blob:
    """What is to be stored: for people, and as the registry names it.

    Attributes:
        name: of the file.
        digest: `sha256:…`.
        size: in bytes.
    """

    name: str
    digest: str
    size: int


class Blobs:
    """Those of one repository."""

    def __init__(self, registry: Registry, patience: Patience) -> None:
        """Nothing is sent yet."""
        self._registry, self._patience = registry, patience

    def holds(self, digest: str, size: int) -> bool:
        """Whether the registry says that it has these bytes."""
        with self._registry.asked("HEAD", self._registry.url(f"/blobs/{digest}")) as response:
            if response.status_code == _UNKNOWN:
                return False
            if response.status_code != _OK:
                raise self._registry.refusal(response, digest)
            said = response.headers.get("Content-Length")
            return said is None or said == str(size)

    def put(self, stream: IO[bytes], blob: Blob, advance: Advance) -> None:
        """Store one, going on within it when the line breaks, as far as the registry kept it.

        Args:
            stream: its bytes, seekable.
            blob: what it is.
            advance: told the bytes that are there.

        Raises:
            AirgapError: the registry refuses, fails or loses what it had once too often, or has
                other bytes in the end.
        """
        location, at, failed, lost = self._begun(blob), 0, 0, 0
        while at < blob.size:
            try:
                if failed:
                    time.sleep(self._patience.before(failed))
                    location, reached = self._found_again(location, blob)
                    lost += reached < at
                    if lost > LOSSES:
                        raise self._given_up(blob, at)
                else:
                    reached = at
                advance(reached - at)
                stream.seek(at := reached)
                location, reached = self._patched(location, at, stream.read(PIECE), blob)
                advance(reached - at)
                at, failed = reached, 0
            except PassingError as error:
                failed += 1
                if failed >= self._patience.tries:
                    raise AirgapError(
                        f"'{blob.name}': {error.message} (tried {failed} times)",
                        hint="run it again: files that are there are not sent again",
                    ) from error
        self._closed(location, blob)

    def _begun(self, blob: Blob) -> str:
        with self._registry.asked("POST", self._registry.url("/blobs/uploads/")) as response:
            return self._location(response, _ACCEPTED, blob)

    def _patched(self, location: str, at: int, content: bytes, blob: Blob) -> tuple[str, int]:
        """Send a piece; where to go on, and at which byte."""
        if not content:
            raise AirgapError(
                f"'{blob.name}' became shorter while it was sent", hint="run it again"
            )
        end = at + len(content)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"{at}-{end - 1}",
        }
        with self._registry.asked("PATCH", location, headers=headers, content=content) as response:
            return self._location(response, _ACCEPTED, blob), end

    def _found_again(self, location: str, blob: Blob) -> tuple[str, int]:
        """Ask how far an upload came; one that the registry forgot is begun anew."""
        with self._registry.asked("GET", location) as response:
            if response.status_code == _NO_CONTENT:
                last = response.headers.get("Range", "").rpartition("-")[2]
                reached = int(last) + 1 if last.isdecimal() and last != "0" else 0
                return self._location(response, _NO_CONTENT, blob), min(reached, blob.size)
        return self._begun(blob), 0

    def _given_up(self, blob: Blob, at: int) -> AirgapError:
        return AirgapError(
            f"'{blob.name}': the registry {self._registry.host} broke off {LOSSES + 1} times, and "
            f"lost what it had; at last {human_size(at)} of {human_size(blob.size)}",
            hint="on a bad line send volumes: airgap split BUNDLE --size 500MB --out FOLDER; on a "
            "good one ask who runs the registry",
        )

    def _closed(self, location: str, blob: Blob) -> None:
        """Name the digest: the registry compares, and so do we with what it says it has."""
        mark = "&" if "?" in location else "?"
        where = f"{location}{mark}digest={blob.digest}"
        with self._registry.asked("PUT", where) as response:
            if response.status_code != _CREATED:
                raise AirgapError(
                    f"the registry {self._registry.host} did not take '{blob.name}' "
                    f"({blob.digest}): {response.status_code}",
                    hint="run it again; the file must not be changed while it is sent",
                )
        if not self.holds(blob.digest, blob.size):
            raise AirgapError(
                f"the registry {self._registry.host} took '{blob.name}' and does not have it",
                hint="run it again; if it stays so, the registry loses blobs",
            )

    def _location(self, response: Any, expected: int, blob: Blob) -> str:
        location = response.headers.get("Location", "")
        if response.status_code != expected or not location:
            raise self._registry.refusal(response, blob.name)
        return self._registry.led_to(location)
