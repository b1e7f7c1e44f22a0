"""Zip archives byte by byte: what writers leave passes, and one byte too many is told."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable

import pytest

from bundler.scan import zip_layout
from bundler.scan.zip_layout import ends_as_zip, layout_defect

END, END64 = b"PK\5\6", b"PK\6\6"
EXTRA = struct.pack("<2H", 0x4246, 25)


class Pipe(io.RawIOBase):
    """A writer that cannot go back, so that checksums and sizes follow each member."""

    def __init__(self) -> None:
        super().__init__()
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.content += bytes(data)  # type: ignore[call-overload]
        return len(data)  # type: ignore[arg-type]


def plain(*, comment: bytes = b"", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a.txt", b"a" * 99)
        archive.writestr("folder/", b"")
        archive.writestr("folder/b.txt", b"")
        archive.comment = comment
    return buffer.getvalue()


def piped(method: int) -> bytes:
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", method) as archive:  # type: ignore[call-overload]
        archive.writestr("a.txt", b"a" * 99)
        with archive.open("b.txt", "w", force_zip64=True) as member:
            member.write(b"b" * 99)
    return bytes(pipe.content)


def large() -> bytes:
    """A member whose header has room for eight bytes of size."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w") as archive,
        archive.open("a.txt", "w", force_zip64=True) as member,
    ):
        member.write(b"a" * 99)
    return buffer.getvalue()


def many() -> bytes:
    """More members than the plain end record can count."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(0x10000):
            archive.writestr(zipfile.ZipInfo(f"{number}"), b"")
    return buffer.getvalue()


def aligned() -> bytes:
    """A member whose data begin at byte 64, as torch lays tensors: by an extra field."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("a.txt")
        info.extra = EXTRA + b"Z" * 25
        archive.writestr(info, b"a" * 99)
    assert buffer.getvalue()[64:163] == b"a" * 99
    return buffer.getvalue()


def ended_large(content: bytes, **other: int) -> bytes:
    """The same with an end record for large archives, as torch always writes one."""
    at = content.rindex(END)
    _, _, _, _, entries, size, start, _ = struct.unpack("<4s4H2IH", content[at:])
    told = {"entries": entries, "size": size, "start": start, "at": at, "length": 44} | other
    counted = (told["entries"], told["entries"], told["size"], told["start"])
    record = struct.pack("<4sQ2H2I4Q", END64, told["length"], 45, 45, 0, 0, *counted)
    return b"".join(
        (content[:at], record, struct.pack("<4sIQI", b"PK\6\7", 0, told["at"], 1), content[at:])
    )


def defect(content: bytes) -> str | None:
    stream = io.BytesIO(content)
    with zipfile.ZipFile(stream) as archive:
        return layout_defect(stream, archive.infolist())


HONEST: dict[str, Callable[[], bytes]] = {
    "plain": plain,
    "stored": lambda: plain(method=zipfile.ZIP_STORED),
    "with a comment": lambda: plain(comment=b"hello"),
    "through a pipe": lambda: piped(zipfile.ZIP_DEFLATED),
    "through a pipe, stored": lambda: piped(zipfile.ZIP_STORED),
    "with large sizes": large,
    "with many members": many,
    "aligned": aligned,
    "ended as torch ends it": lambda: ended_large(plain()),
}


@pytest.mark.parametrize("made", HONEST.values(), ids=HONEST)
def test_what_writers_leave_passes(made: Callable[[], bytes]) -> None:
    content = made()
    assert defect(content) is None
    assert ends_as_zip(io.BytesIO(content))


def patched(content: bytes, mark: bytes, offset: int, new: bytes) -> bytes:
    """Other bytes, so many behind the last place where a record begins."""
    at = content.rindex(mark) + offset
    return content[:at] + new + content[at + len(new) :]


def behind_member() -> bytes:
    """Four bytes between the last member and the directory, which is said to lie behind them."""
    content = plain()
    at = content.index(b"PK\1\2")
    moved = content[:at] + b"more" + content[at:]
    return patched(moved, END, 16, struct.pack("<I", at + 4))


DEFECTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "something between": (behind_member, "belong to no member"),
    "something before": (lambda: b"more" + plain(), "its directory is said to lie"),
    "something behind": (lambda: plain() + b"more", "something lies behind its end record"),
    "an end record in a comment": (
        lambda: plain(comment=END + bytes(30)),
        "something lies behind its end record",
    ),
    "of two parts": (lambda: patched(plain(), END, 4, b"\1"), "one of several parts"),
    "one entry too few": (lambda: patched(plain(), END, 8, b"\2\0\2\0"), "has 3 entries"),
    "a member's size differs": (lambda: patched(plain(), b"PK\3\4", 22, b"\1"), "another size"),
    "a descriptor that lies": (
        lambda: patched(piped(zipfile.ZIP_STORED), b"PK\7\x08", 4, b"abcd"),
        "belong to no member",
    ),
    "a locator that names another place": (
        lambda: ended_large(plain(), at=0),
        "its locator names an end record at byte 0",
    ),
    "a longer end record": (lambda: ended_large(plain(), length=60), "not as writers leave it"),
    "two directories": (lambda: ended_large(plain(), entries=2), "name two directories"),
    "directories in two places": (
        lambda: patched(ended_large(plain()), END, 16, b"\1\0\0\0"),
        "name two directories",
    ),
    "sizes twice": (
        lambda: patched(aligned(), EXTRA, 0, struct.pack("<4H", 1, 0, 1, 21)),
        "sizes twice",
    ),
    "a second name": (
        lambda: patched(aligned(), EXTRA, 0, b"\x75\x70"),
        "a second name",
    ),
}


@pytest.mark.parametrize(("made", "said"), DEFECTS.values(), ids=DEFECTS)
def test_a_byte_that_readers_could_differ_on_is_told(made: Callable[[], bytes], said: str) -> None:
    assert said in str(defect(made()))


def test_a_locator_that_names_no_record_is_told() -> None:
    """zipfile, which opens none of these today, is not asked."""
    content = patched(ended_large(plain()), END64, 0, b"PK\6\5")
    assert "there is no end record" in str(layout_defect(io.BytesIO(content), []))


def test_members_that_lie_in_each_other_are_told() -> None:
    """The data of one member hold another one, which the directory lists as well."""
    held = plain(method=zipfile.ZIP_STORED)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("outer", held)
    with zipfile.ZipFile(buffer) as archive, zipfile.ZipFile(io.BytesIO(held)) as inner:
        start = archive.start_dir
        outer, hidden = archive.infolist()[0], inner.infolist()[0]
    hidden.header_offset += zip_layout.LOCAL.size + len("outer")
    content = buffer.getvalue()
    entries = content[start : content.rindex(END)]
    name = hidden.filename.encode()
    listed = entries + entries[:16] + struct.pack("<3IH", hidden.CRC, 99, 99, len(name))
    listed += entries[30:42] + struct.pack("<I", hidden.header_offset) + name
    end = struct.pack("<4s4H2IH", END, 0, 0, 2, 2, len(listed), start, 0)
    assert outer.header_offset == 0
    assert defect(content[:start] + listed + end) == "'outer' reaches into what follows it"
