"""Bundles as OCI artifacts: manifests, blobs and tags of one repository in a registry."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any, Final

from airgap.console import Advance, quietly
from airgap.digest import CHUNK
from airgap.errors import AirgapError, DamagedError, UsageError
from airgap.http_answer import answer
from airgap.limits import MIB
from airgap.statement import Statement
from airgap.strict_json import JsonError, parse
from airgap.transfer import Answer, Opener, PassingError, Patience
from runtime.site import artifact
from runtime.site.address import OciAddress, is_tag
from runtime.site.artifact import Artifact
from runtime.site.holding import Item, Offered, held_already
from runtime.site.registry import Registry

PIECE: Final = 16 * MIB
"""Bytes of a blob that are sent at a time, and held in memory; a fault costs no more."""

TAGS: Final = 1 * MIB
"""Bytes of a list of tags."""

_OK, _CREATED, _ACCEPTED, _NO_CONTENT, _UNKNOWN = 200, 201, 202, 204, 404


class HeldInRepository:
    """One artifact.

    Attributes:
        name: its address, by digest.
        items: its layers.
    """

    def __init__(self, registry: Registry, address: OciAddress) -> None:
        """Ask for the manifest.

        Raises:
            UsageError: several tags are there, and none was named.
            AirgapError: there is none, or the registry says one thing and sends another.
            DamagedError: it is not the content that the address names.
        """
        self._registry = registry
        wanted = address if address.reference else address.at(_only_tag(registry, address))
        content = _manifest(registry, wanted)
        if content is None:
            raise AirgapError(
                f"the registry {registry.host} has no '{wanted}'", hint="check the tag or digest"
            )
        self.name = str(address.at(artifact.digest(content)))
        self.items: Sequence[Item] = Artifact.parse(content, str(wanted)).items

    def opener(self, item: Item) -> Opener:
        """Opens the bytes of a blob."""

        @contextmanager
        def opened(start: int, _etag: str | None) -> Iterator[Answer]:
            wanted = {"Range": f"bytes={start}-"} if start else {}
            with self._registry.asked(
                "GET", self._registry.url(f"/blobs/{item.place}"), headers=wanted
            ) as response:
                if response.status_code == _UNKNOWN:
                    raise self._registry.refusal(response, f"{item.name} ({item.place})")
                yield answer(
                    response.status_code,
                    response.headers,
                    self._registry.host,
                    start,
                    _chunks(response),
                )

        return opened


class OciShelf:
    """The tag that takes one bundle.

    Attributes:
        name: its address.
    """

    def __init__(
        self,
        registry: Registry,
        address: OciAddress,
        statement: Statement,
        patience: Patience,
        *,
        replace: bool,
    ) -> None:
        """Nothing is sent yet. Raises UsageError: the address names a digest, or no good tag."""
        if address.is_pinned:
            raise UsageError(
                f"'{address}' names a digest, which only the content decides",
                hint=f"push to {OciAddress(address.registry, address.repository, None)}",
            )
        tag = address.reference or statement.title
        if not is_tag(tag):
            raise UsageError(f"'{tag}' is no tag", hint="name one: oci://REGISTRY/REPOSITORY:TAG")
        self._address = address.at(tag)
        self.name = str(self._address)
        self._registry, self._statement, self._patience = registry, statement, patience
        self._replace = replace

    def missing(self, files: Sequence[Offered]) -> list[Offered]:
        """Those whose blobs are not there; see `Shelf`."""
        there = _manifest(self._registry, self._address)
        here = artifact.to_bytes(self._statement, files)
        if there is not None and there != here and not self._replace:
            raise held_already(self.name, artifact.digest(here), artifact.digest(there))
        return [file for file in files if not self._holds(f"sha256:{file.sha256}", file.size)]

    def put(self, file: Offered, advance: Advance) -> None:
        """Store one blob; see `Shelf`."""
        try:
            with file.path.open("rb") as stream:
                self._put(stream, _Blob(file.name, f"sha256:{file.sha256}", file.size), advance)
        except OSError as error:
            raise AirgapError(f"cannot read '{file.path}': {error.strerror}") from error

    def finish(self, files: Sequence[Offered]) -> str | None:
        """Put the manifest under the tag, and read it back; its digest."""
        empty = _Blob("the empty config", artifact.digest(artifact.EMPTY), len(artifact.EMPTY))
        if not self._holds(empty.digest, empty.size):
            self._put(BytesIO(artifact.EMPTY), empty, quietly)
        content = artifact.to_bytes(self._statement, files)
        headers = {"Content-Type": artifact.MANIFEST}
        where = self._registry.url(f"/manifests/{self._address.reference}")
        with self._registry.asked("PUT", where, headers=headers, content=content) as response:
            if response.status_code != _CREATED:
                raise self._registry.refusal(response, self.name)
        if _manifest(self._registry, self._address) != content:
            raise AirgapError(
                f"'{self.name}' is not the manifest that was put there",
                hint="somebody else pushed meanwhile, or the registry alters what it is given",
            )
        return artifact.digest(content)

    def _holds(self, digest: str, size: int) -> bool:
        with self._registry.asked("HEAD", self._registry.url(f"/blobs/{digest}")) as response:
            if response.status_code == _UNKNOWN:
                return False
            if response.status_code != _OK:
                raise self._registry.refusal(response, digest)
            said = response.headers.get("Content-Length")
            return said is None or said == str(size)

    def _put(self, stream: IO[bytes], blob: _Blob, advance: Advance) -> None:
        location, at, failed = self._begun(blob), 0, 0
        while at < blob.size:
            try:
                if failed:
                    time.sleep(self._patience.before(failed))
                    location, reached = self._found_again(location, blob)
                else:
                    reached = at
                advance(reached - at)
                stream.seek(at := reached)
                location, reached = self._patched(location, at, stream.read(PIECE), blob)
                advance(reached - at)
                at, failed = reached, 0
            except PassingError:
                failed += 1
                if failed >= self._patience.tries:
                    raise
        self._closed(location, blob)

    def _begun(self, blob: _Blob) -> str:
        with self._registry.asked("POST", self._registry.url("/blobs/uploads/")) as response:
            return self._location(response, _ACCEPTED, blob)

    def _patched(self, location: str, at: int, content: bytes, blob: _Blob) -> tuple[str, int]:
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

    def _found_again(self, location: str, blob: _Blob) -> tuple[str, int]:
        """Ask how far an upload came; one that the registry forgot is begun anew."""
        with self._registry.asked("GET", location) as response:
            if response.status_code == _NO_CONTENT:
                last = response.headers.get("Range", "").rpartition("-")[2]
                reached = int(last) + 1 if last.isdecimal() and last != "0" else 0
                return self._location(response, _NO_CONTENT, blob), min(reached, blob.size)
        return self._begun(blob), 0

    def _closed(self, location: str, blob: _Blob) -> None:
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
        if not self._holds(blob.digest, blob.size):
            raise AirgapError(
                f"the registry {self._registry.host} took '{blob.name}' and does not have it",
                hint="run it again; if it stays so, the registry loses blobs",
            )

    def _location(self, response: Any, expected: int, blob: _Blob) -> str:
        location = response.headers.get("Location", "")
        if response.status_code != expected or not location:
            raise self._registry.refusal(response, blob.name)
        return self._registry.led_to(location)


@dataclass(frozen=True)
class _Blob:
    """What is to be stored: for people, and as the registry names it."""

    name: str
    digest: str
    size: int


def _manifest(registry: Registry, address: OciAddress) -> bytes | None:
    """The manifest at a tag or digest; None where there is none.

    Raises:
        DamagedError: the address names a digest, and this is other content.
        AirgapError: the registry says one digest and sends another's content.
    """
    headers = {"Accept": artifact.MANIFEST}
    where = registry.url(f"/manifests/{address.reference}")
    with registry.asked("GET", where, headers=headers) as response:
        if response.status_code == _UNKNOWN:
            return None
        if response.status_code != _OK:
            raise registry.refusal(response, str(address))
        content = _read(response, artifact.SIZE, f"the manifest '{address}'")
        said = response.headers.get("Docker-Content-Digest")
    found = artifact.digest(content)
    if address.is_pinned and found != address.reference:
        raise DamagedError(
            f"asked for '{address}', the registry sends {found}",
            rule="site.digest",
            hint="the registry is damaged, or lies: ask who runs it",
        )
    if said is not None and said != found:
        raise AirgapError(
            f"the registry {registry.host} says that '{address}' is {said}, and sends {found}",
            hint="the registry is damaged, or lies: ask who runs it",
        )
    return content


def _only_tag(registry: Registry, address: OciAddress) -> str:
    """The one tag of a repository."""
    with registry.asked("GET", registry.url("/tags/list")) as response:
        if response.status_code != _OK:
            raise registry.refusal(response, str(address))
        content = _read(response, TAGS, f"the tags of '{address}'")
    try:
        tags = [tag for tag in parse(content).get("tags") or () if is_tag(tag)]
    except (JsonError, AttributeError, TypeError) as error:
        raise AirgapError(f"the registry {registry.host} sends no list of tags") from error
    if len(tags) == 1:
        return str(tags[0])
    listed = ", ".join(sorted(tags)[:20])
    raise UsageError(
        f"'{address}' has {len(tags)} tags: {listed}",
        hint=f"name one: {address}:{min(tags) if tags else 'TAG'}",
    )


def _read(response: Any, limit: int, what: str) -> bytes:
    content: bytes = response.raw.read(limit + 1, decode_content=True)
    if len(content) > limit:
        raise AirgapError(f"{what} has more than {limit} bytes")
    return content


def _chunks(response: Any) -> Iterator[bytes]:
    """The bytes as they come."""
    while chunk := response.raw.read1(CHUNK):
        yield chunk
