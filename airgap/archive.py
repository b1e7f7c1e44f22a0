"""Read a bundle whose statement is in hand: table, manifest, frames, files.

`OpenBundle` says that bytes match a statement, not who signed it: `airgap.verify` decides that
before it opens one for use, and makes a `VerifiedBundle` of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import TypeVar

from airgap import damage, frames, limits, tar, volumes
from airgap.console import Advance, quietly
from airgap.envelope import Envelope
from airgap.errors import DamagedError
from airgap.frames import Table
from airgap.manifest import File, Manifest
from airgap.parallel import in_order, own_buffer
from airgap.statement import Statement

SKIPPABLE_HEADER = 8

Result = TypeVar("Result")


def frames_start(statement: Statement) -> int:
    """Where frame 0 starts: after the head and the table with its header."""
    return limits.HEAD_SLOT + SKIPPABLE_HEADER + statement.table_size


def open_bundle(source: volumes.Bytes, envelope: Envelope, statement: Statement) -> OpenBundle:
    """Read and check table and manifest against a statement.

    Args:
        source: the bundle, whose head has been read already.
        envelope: the head, parsed.
        statement: the envelope's; whether it is to be believed is not asked here.

    Raises:
        DamagedError: something is not what the statement says.
    """
    table = _read_table(source, statement)
    manifest = _read_manifest(source, statement, table)
    return OpenBundle(source, envelope, statement, table, manifest)


def read_head(source: volumes.Bytes) -> Envelope:
    """Read and parse the head; nothing of it is believed yet. Raises DamagedError."""
    if source.size is not None and source.size < limits.HEAD_SLOT:
        raise DamagedError(
            f"'{source.name}' is no airgap bundle: it has {source.size} bytes, and its head alone "
            f"would take {limits.HEAD_SLOT}",
            rule="head.magic",
            hint="check that the file was copied whole, and that it is the .tar.zst itself",
        )
    return Envelope.from_head(volumes.read(source, 0, limits.HEAD_SLOT), f"'{source.name}'")


@dataclass(frozen=True)
class OpenBundle:
    """A bundle whose table and manifest match its statement; its frames come when asked for.

    Attributes:
        source: the file or pipe.
        envelope: the head, with whatever signatures it has.
        statement: parsed from the envelope.
        table: every frame's sizes and hash, as the statement's digest covers them.
        manifest: the inventory, likewise.
    """

    source: volumes.Bytes
    envelope: Envelope
    statement: Statement
    table: Table
    manifest: Manifest

    @property
    def end(self) -> int:
        """Where the bundle's last byte must be followed by nothing."""
        return frames_start(self.statement) + self.table.stored_total

    def check_frames(self, advance: Advance = quietly) -> None:
        """Check every frame of the payload against the table, and that the file ends there.

        Nothing is decompressed. Each frame is read once, into private memory, on all cores.

        Args:
            advance: told the stored bytes that are done.

        Raises:
            DamagedError: with the damaged frames, their byte ranges and files.
        """
        if damaged := self.damaged(advance):
            raise self._damage(damaged)

    def damaged(self, advance: Advance = quietly) -> list[int]:
        """The numbers of the frames that do not match the table; `check_frames` refuses them.

        Raises:
            DamagedError: the bundle goes on after its end, or ends before.
        """
        found: list[int] = []
        for index, good in self._each_frame(self._matches):
            advance(self.table.slots[index].stored)
            if not good:
                found.append(index)
        self.source.read_to_end(self.end)
        return found

    def contents(self, advance: Advance = quietly) -> Iterator[tuple[File, Iterator[memoryview]]]:
        """Every file of the payload with its bytes, in pieces: checked, each exactly once.

        A piece comes out after its frame matched the table. The file's own digest is checked
        when its pieces have been taken, and the tar around them is compared with the dialect.
        The iteration must be driven to its end: only then has everything been checked.

        Args:
            advance: told the stored bytes that are done.

        Raises:
            DamagedError: a frame, a file or the tar is not what was signed.
        """
        # Closed here, not when it is collected: its threads end before an error goes on.
        with closing(self._plain_frames(advance)) as plain:
            tape = _Tape(plain)
            for header, file in tar.members(self.manifest.carried, self.manifest.created):
                tape.expect(header, f"the tar header of '{file.path}'")
                digest = hashlib.sha256()
                pieces = _hashed(tape.take(file.size), digest)
                yield file, pieces
                for _left in pieces:  # what the caller did not take is checked all the same
                    pass
                if digest.hexdigest() != file.sha256:
                    raise _wrong_file(file, digest.hexdigest())
                tape.expect(tar.padding(file.size), f"the padding of '{file.path}'")
            tape.expect(tar.END, "the end of the tar")
            tape.expect_end()
            self.source.read_to_end(self.end)

    def check_contents(self, advance: Advance = quietly) -> None:
        """Check every frame, file and tar header; `contents` without a use for the bytes."""
        for _file, _pieces in self.contents(advance):
            pass

    def read(self, file: File, limit: int) -> bytes:
        """One small file that the bundle carries, without the rest of the payload.

        Its frames are compared with the table, its bytes with the manifest. Not for a pipe.

        Args:
            file: of the manifest, with an offset.
            limit: the largest size in bytes that is read.

        Raises:
            DamagedError: it is larger, or not what the manifest says.
        """
        if file.offset is None or file.size > limit:
            raise _not_signed(f"'{file.path}'", f"at most {limit} bytes of it were expected here")
        first = file.offset // limits.FRAME_PLAIN
        last = (file.offset + file.size) // limits.FRAME_PLAIN
        offsets, plain = self.offsets, b""
        for index in range(first + 1, min(last + 2, len(self.table.slots))):
            stored = volumes.read(self.source, offsets[index], self.table.slots[index].stored)
            piece = self._decompressed(index, memoryview(stored))
            if piece is None:
                raise self._damage([index])
            plain += piece
        start = file.offset - first * limits.FRAME_PLAIN
        content = plain[start : start + file.size]
        if (found := hashlib.sha256(content).hexdigest()) != file.sha256:
            raise _wrong_file(file, found)
        return content

    def _plain_frames(self, advance: Advance) -> Generator[bytes, None, None]:
        with closing(self._each_frame(self._decompressed)) as frames_:
            for index, plain in frames_:
                advance(self.table.slots[index].stored)
                if plain is None:
                    raise self._damage([index])
                yield plain

    def _each_frame(
        self, work: Callable[[int, memoryview], Result]
    ) -> Generator[tuple[int, Result], None, None]:
        """Read each frame of the payload once and work on it, on all cores, in order."""
        offsets = self.offsets

        def read_and_work(index: int) -> Result:
            stored = own_buffer(self.table.slots[index].stored)
            self.source.read_into(offsets[index], stored)
            return work(index, stored)

        def tasks() -> Iterator[Callable[[], Result]]:
            for index in range(1, len(self.table.slots)):
                if self.source.size is None:  # a pipe: this thread alone reads, in order
                    size = self.table.slots[index].stored
                    stored = memoryview(volumes.read(self.source, offsets[index], size))
                    yield partial(work, index, stored)
                else:
                    yield partial(read_and_work, index)

        with closing(in_order(tasks())) as results:
            yield from enumerate(results, start=1)

    def _matches(self, index: int, stored: memoryview) -> bool:
        return frames.digest(stored, self.table.hash) == self.table.slots[index].digest

    def _decompressed(self, index: int, stored: memoryview) -> bytes | None:
        if not self._matches(index, stored):
            return None
        return frames.decompress(stored, self.table.slots[index].plain, f"frame {index}")

    @property
    def offsets(self) -> list[int]:
        """Where each frame starts in the bundle, and where the last one ends."""
        stored = (slot.stored for slot in self.table.slots)
        return list(accumulate(stored, initial=frames_start(self.statement)))

    def _damage(self, damaged: list[int]) -> DamagedError:
        return damage.refusal(self.source, self.table, self.offsets, self.manifest, damaged)


def _read_table(source: volumes.Bytes, statement: Statement) -> Table:
    """The table, after its size and digest were compared with the statement's."""
    size = frames.table_size(statement.hash, statement.frames)
    found = volumes.read(source, limits.HEAD_SLOT, SKIPPABLE_HEADER + size)
    expected = frames.TABLE_MAGIC + size.to_bytes(4, "little")
    if statement.table_size != size or found[:SKIPPABLE_HEADER] != expected:
        raise _not_signed("the table of frames", "its size or kind is another")
    content = found[SKIPPABLE_HEADER:]
    if frames.digest(content, statement.hash).hex() != statement.subjects["table"]:
        raise _not_signed("the table of frames", "its digest is another")
    table = Table.parse(content, statement.hash, statement.frames)
    if table.plain_total != statement.plain_total:
        raise _not_signed("the table of frames", "its total is another")
    source.expect_end(frames_start(statement) + table.stored_total)
    return table


def _read_manifest(source: volumes.Bytes, statement: Statement, table: Table) -> Manifest:
    """The manifest out of frame 0, after frame and content were compared with what is signed."""
    slot = table.slots[0]
    stored = volumes.read(source, frames_start(statement), slot.stored)
    if frames.digest(stored, table.hash) != slot.digest:
        raise _not_signed("frame 0, which holds the manifest,", "its digest is another")
    plain = frames.decompress(stored, slot.plain, "frame 0")
    start = len(tar.header(tar.MANIFEST, statement.manifest_size, statement.created))
    content = plain[start : start + statement.manifest_size]
    if frames.digest(content, statement.hash).hex() != statement.subjects["manifest.json"]:
        raise _not_signed("manifest.json", "its digest is another")
    if plain != tar.manifest_member(content, statement.created):
        raise _not_signed("manifest.json", "the tar around it is not in the dialect")
    manifest = Manifest.parse(content)
    if defects := manifest.contradictions(statement) or _layout_defects(manifest, table):
        raise _not_signed("manifest.json", "; ".join(defects))
    return manifest


def _layout_defects(manifest: Manifest, table: Table) -> list[str]:
    """Where the ranges that the manifest gives are not those that its own tar has."""
    laid_out = tar.members(manifest.carried, manifest.created)
    defects = [
        f"'{file.path}' is said to start at byte {file.offset}, and its tar puts it at {at.offset}"
        for file, (_header, at) in zip(manifest.carried, laid_out, strict=True)
        if file != at
    ]
    size = tar.payload_size(manifest.carried, manifest.created)
    held = table.plain_total - table.slots[0].plain
    if size != held:
        defects.append(f"its files make a payload of {size} bytes, and the frames hold {held}")
    return defects


class _Tape:
    """The payload as one tape that is read forward: pieces of it, or what must stand there."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, memoryview(b"")

    def take(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes, in pieces that are not copied."""
        while size:
            if not self._rest:
                self._rest = memoryview(next(self._pieces))
            piece, self._rest = self._rest[:size], self._rest[size:]
            size -= len(piece)
            yield piece

    def expect(self, content: bytes, what: str) -> None:
        """Pass over `content`, which must come next. Raises DamagedError."""
        if b"".join(self.take(len(content))) != content:
            raise _not_signed(what, "it is not what the manifest makes it")

    def expect_end(self) -> None:
        """Let the last frame's thread finish; nothing can be left, the layout was compared."""
        for _piece in self._pieces:
            raise AssertionError("the payload is longer than its layout")


def _hashed(pieces: Iterator[memoryview], digest: hashlib._Hash) -> Iterator[memoryview]:
    for piece in pieces:
        digest.update(piece)
        yield piece


def _wrong_file(file: File, found: str) -> DamagedError:
    return DamagedError(
        f"'{file.path}' has the SHA-256 {found}; the manifest that was signed says {file.sha256}",
        rule="file.digest",
        hint="ask the builder of the bundle; a copy cannot have caused this",
    )


def _not_signed(what: str, why: str) -> DamagedError:
    return DamagedError(
        f"{what} is not what was signed: {why}",
        rule="archive.digest",
        hint="copy the bundle again; the medium or the copy is damaged, or someone changed it",
    )
