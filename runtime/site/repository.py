"""Bundles as OCI artifacts: manifests, blobs and tags of one repository in a registry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Final

from airgap.console import Advance, quietly
from airgap.digest import CHUNK
from airgap.errors import AirgapError, DamagedError, UsageError
from airgap.http_answer import answer
from airgap.limits import MIB
from airgap.statement import Statement
from airgap.strict_json import JsonError, parse
from airgap.transfer import Answer, Opener, Patience
from runtime.site import artifact
from runtime.site.address import OciAddress, is_tag
from runtime.site.artifact import Artifact
from runtime.site.blobs import Blob, Blobs
from runtime.site.holding import Item, Offered, held_already
from runtime.site.registry import Registry

TAGS: Final = 1 * MIB
"""Bytes of a list of tags."""

_OK, _CREATED, _UNKNOWN = 200, 201, 404


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
        self._registry, self._statement = registry, statement
        self._blobs = Blobs(registry, patience)
        self._replace = replace

    def missing(self, files: Sequence[Offered]) -> list[Offered]:
        """Those whose blobs are not there; see `Shelf`."""
        there = _manifest(self._registry, self._address)
        here = artifact.to_bytes(self._statement, files)
        if there is not None and there != here and not self._replace:
            raise held_already(self.name, artifact.digest(here), artifact.digest(there))
        return [file for file in files if not self._blobs.holds(f"sha256:{file.sha256}", file.size)]

    def put(self, file: Offered, advance: Advance) -> None:
        """Store one blob; see `Shelf`."""
        try:
            with file.path.open("rb") as stream:
                self._blobs.put(
                    stream, Blob(file.name, f"sha256:{file.sha256}", file.size), advance
                )
        except OSError as error:
            raise AirgapError(f"cannot read '{file.path}': {error.strerror}") from error

    def finish(self, files: Sequence[Offered]) -> str | None:
        """Put the manifest under the tag, and read it back; its digest."""
        empty = Blob("the empty config", artifact.digest(artifact.EMPTY), len(artifact.EMPTY))
        if not self._blobs.holds(empty.digest, empty.size):
            self._blobs.put(BytesIO(artifact.EMPTY), empty, quietly)
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
