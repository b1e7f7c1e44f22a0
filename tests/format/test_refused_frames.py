"""Frames and tables that an insider signed, and that no honest builder writes."""

import struct

import pytest
import zstandard

from airgap import frames, limits
from airgap.errors import DamagedError
from airgap.frames import Slot, Table
from airgap.limits import FRAME_PLAIN


def zstd(plain, **options):
    options = {
        "write_checksum": False,
        "write_content_size": True,
        "write_dict_id": False,
    } | options
    return zstandard.ZstdCompressor(level=1, **options).compress(plain)


def frame_header(descriptor, *fields):
    return frames.FRAME_MAGIC + bytes([descriptor]) + b"".join(fields)


def raw_block(content, *, last=True):
    return (len(content) << 3 | last).to_bytes(3, "little") + content


@pytest.fixture
def payload(recipe):
    return recipe.tape()


def test_a_sound_bundle_is_accepted(bundle, verified, trusting_alice):
    """The builder of all defects makes none of its own."""
    found = verified(bundle, trusting_alice)
    found.bundle.check_frames()
    found.bundle.check_contents()


def test_two_frames_in_one_slot(recipe, alice, refused, payload):
    """Some libraries stop after the first, the zstd command outputs both: a differential."""
    half = len(payload) // 2
    two = frames.compress(payload[:half]) + frames.compress(payload[half:])
    refused(recipe.but(stored={1: two}).build(alice), "frame.form", "another size", deep=True)


def test_a_second_frame_behind_a_whole_one(recipe, alice, refused, payload):
    two = frames.compress(payload) + frames.compress(b"more")
    refused(recipe.but(stored={1: two}).build(alice), "frame.form", "frame 1", deep=True)


@pytest.mark.parametrize(
    "tail",
    [b"\0", b"x" * 100, frames.skippable(b"\x50\x2a\x4d\x18", b""), frames.FRAME_MAGIC],
    ids=["zero", "bytes", "skippable", "magic"],
)
def test_something_behind_the_frame(recipe, alice, refused, payload, tail):
    stored = frames.compress(payload) + tail
    refused(recipe.but(stored={1: stored}).build(alice), "frame.form", "frame 1", deep=True)


def test_something_behind_frame_0(recipe, alice, refused):
    """The manifest's own frame is read before anything else, by every check."""
    sound = recipe.build(alice)
    start = limits.HEAD_SLOT + 8 + frames.table_size("sha256", 2)
    size = struct.unpack_from("<I", sound, limits.HEAD_SLOT + 8 + 32)[0]
    stored = sound[start : start + size] + b"\0"
    refused(recipe.but(stored={0: stored}).build(alice), "frame.form", "frame 0")


def test_no_content_size(recipe, alice, refused, payload):
    stored = zstd(payload, write_content_size=False)
    refused(recipe.but(stored={1: stored}).build(alice), "frame.form", "another size", deep=True)


@pytest.mark.parametrize("claimed", [1, 10_000, FRAME_PLAIN])
def test_the_table_claims_another_size_than_the_frame(recipe, alice, refused, payload, claimed):
    stored = frames.compress(payload)
    wrong = recipe.but(stored={1: stored}, slots={1: (len(stored), claimed)}).build(alice)
    refused(wrong, "archive.digest", f"and the frames hold {claimed}")


@pytest.mark.parametrize("by", [-512, -1, 1, 4096])
def test_the_frame_declares_the_right_size_and_holds_another(recipe, alice, refused, payload, by):
    """A frame header that lies to the decompressor, in both directions."""
    held = payload[:by] if by < 0 else payload + bytes(by)
    size = len(payload).to_bytes(4, "little")
    blocks = [held[at : at + 1024] for at in range(0, len(held), 1024)]
    stored = frame_header(0xA0, size) + b"".join(
        raw_block(block, last=block is blocks[-1]) for block in blocks
    )
    refused(recipe.but(stored={1: stored}).build(alice), "frame.form", "frame 1", deep=True)


def test_one_mebibyte_that_claims_four(large_recipe, alice, refused):
    """A full frame of the table whose bytes are a quarter of it."""
    tape = large_recipe.tape()
    stored = frame_header(0xA0, FRAME_PLAIN.to_bytes(4, "little")) + b"".join(
        raw_block(tape[at : at + 65536], last=at == (1 << 20) - 65536)
        for at in range(0, 1 << 20, 65536)
    )
    wrong = large_recipe.but(stored={1: stored}).build(alice)
    refused(wrong, "frame.form", "frame 1", deep=True)


def test_a_bomb_behind_an_honest_size(recipe, alice, refused, payload):
    """256 MiB of zeros in a slot for some KiB: the declared size is compared first."""
    stored = zstd(bytes(256 << 20))
    assert len(stored) < 32_768
    refused(recipe.but(stored={1: stored}).build(alice), "frame.form", "another size", deep=True)


def test_a_bomb_behind_a_forged_size(recipe, alice, refused, payload):
    """RLE blocks for 4 GiB behind a header that declares what the table says."""
    bomb = (128 * 1024 << 3 | 2).to_bytes(3, "little") + b"\0"
    size = len(payload).to_bytes(4, "little")
    stored = frame_header(0xA0, size) + bomb * 1000 + raw_block(b"")
    refused(recipe.but(stored={1: stored}).build(alice), "frame.form", "frame 1", deep=True)


def test_a_window_beyond_the_limit(recipe, alice, refused, payload):
    """16 MiB: descriptor without single-segment, exponent 14 in the window byte."""
    size = len(payload).to_bytes(4, "little")
    stored = frame_header(0x80, bytes([14 << 3]), size) + raw_block(payload)
    refused(recipe.but(stored={1: stored}).build(alice), "frame.form", "window", deep=True)


def test_a_window_of_exactly_the_limit_is_read(recipe, alice, verified, payload, trusting_alice):
    size = len(payload).to_bytes(4, "little")
    stored = frame_header(0x80, bytes([13 << 3]), size) + raw_block(payload)
    bundle = recipe.but(stored={1: stored}).build(alice)
    verified(bundle, trusting_alice).bundle.check_contents()


def test_a_dictionary(recipe, alice, refused, payload):
    size = len(payload).to_bytes(4, "little")
    stored = frame_header(0xA1, b"\x07", size) + raw_block(payload)
    refused(recipe.but(stored={1: stored}).build(alice), "frame.form", "dictionary", deep=True)


def test_a_skippable_frame_among_the_payload(recipe, alice, refused, payload):
    stored = frames.skippable(b"\x50\x2a\x4d\x18", payload)
    refused(recipe.but(stored={1: stored}).build(alice), "frame.form", "no zstd frame", deep=True)


@pytest.mark.parametrize("stored", [b"\x28", b"PK\x03\x04", b"\x28\xb5\x2f\xfd"])
def test_no_frame_at_all(recipe, alice, refused, stored):
    refused(recipe.but(stored={1: stored}).build(alice), "frame.form", "frame 1", deep=True)


def test_a_corrupt_block(recipe, alice, refused, payload):
    """The reserved block type, 3."""
    size = len(payload).to_bytes(4, "little")
    stored = frame_header(0xA0, size) + (len(payload) << 3 | 7).to_bytes(3, "little") + payload
    refused(recipe.but(stored={1: stored}).build(alice), "frame.form", "frame 1", deep=True)


def test_a_frame_with_a_checksum_of_its_own_is_one_frame(
    recipe, alice, verified, payload, trusting_alice
):
    """RFC 8878 allows it, the signers vouch for it; a wrong one is an error of the frame."""
    bundle = recipe.but(stored={1: zstd(payload, write_checksum=True)}).build(alice)
    verified(bundle, trusting_alice).bundle.check_contents()


def test_a_wrong_checksum(recipe, alice, refused, payload):
    stored = zstd(payload, write_checksum=True)
    stored = stored[:-1] + bytes([stored[-1] ^ 1])
    refused(recipe.but(stored={1: stored}).build(alice), "frame.form", "frame 1", deep=True)


@pytest.mark.parametrize(
    ("edit", "saying"),
    [
        (lambda table: b"AIRGAPT2" + table[8:], "its header is another"),
        (lambda table: table[:8] + b"sha384".ljust(16, b"\0") + table[24:], "its header is"),
        (lambda table: table[:8] + b"sha256".ljust(16, b" ") + table[24:], "its header is"),
        (lambda table: table[:24] + struct.pack("<Q", 3) + table[32:], "its header is"),
        (lambda table: table[:24] + struct.pack("<Q", 1 << 63) + table[32:], "its header is"),
    ],
    ids=["name", "hash", "hash-padding", "count", "huge-count"],
)
def test_another_table_header(recipe, alice, refused, edit, saying):
    refused(recipe.but(table=edit).build(alice), "table.form", saying)


@pytest.mark.parametrize(
    "edit",
    [lambda table: table + b"\0", lambda table: table[:-1], lambda table: table + table[-40:]],
    ids=["longer", "shorter", "one-line-more"],
)
def test_another_table_size(recipe, alice, refused, edit):
    refused(recipe.but(table=edit).build(alice), "archive.digest", "its size or kind is another")


@pytest.mark.parametrize(
    ("wrong", "saying"),
    [
        ({0: (100, 0)}, "frame 0 holds 0 bytes"),
        ({0: (100, limits.WINDOW + 1)}, "frame 0 holds 8388609 bytes"),
        ({0: (0, 4096)}, "frame 0 takes 0 bytes"),
        ({0: (limits.WINDOW + 4097, 4096)}, "frame 0 takes 8392705 bytes"),
        ({1: (100, 0)}, "frame 1 holds 0 bytes"),
        ({1: (100, FRAME_PLAIN - 1)}, "frame 1 holds 4194303 bytes"),
        ({1: (100, FRAME_PLAIN + 1)}, "frame 1 holds 4194305 bytes"),
        ({1: (0, FRAME_PLAIN)}, "frame 1 takes 0 bytes"),
        ({1: (limits.FRAME_STORED + 1, FRAME_PLAIN)}, "frame 1 takes 4198401 bytes"),
        ({3: (100, 0)}, "frame 3 holds 0 bytes"),
        ({3: (100, FRAME_PLAIN + 1)}, "frame 3 holds 4194305 bytes"),
        ({3: ((1 << 32) - 1, 5)}, "frame 3 takes 4294967295 bytes"),
    ],
)
def test_a_size_out_of_bounds(large_recipe, alice, refused, wrong, saying):
    refused(large_recipe.but(slots=wrong).build(alice), "table.form", saying)


def test_every_size_at_its_bound():
    """The largest that may be is read back as it was."""
    full = Slot(limits.FRAME_STORED, FRAME_PLAIN, b"\1" * 32)
    first = Slot(limits.WINDOW + 4096, limits.WINDOW, b"\2" * 32)
    last = Slot(1, 1, b"\3" * 32)
    table = Table("sha256", (first, full, full, last))
    assert table.defect() is None
    assert Table.parse(table.to_bytes(), "sha256", 4) == table


def test_a_payload_that_is_cut_elsewhere(large_recipe, alice, refused):
    tape = large_recipe.tape()
    cut = (tape[:1000], tape[1000 : 1000 + FRAME_PLAIN], tape[1000 + FRAME_PLAIN :])
    refused(large_recipe.but(cut=cut).build(alice), "table.form", "frame 1 holds 1000 bytes")


def test_frames_in_another_order(large_recipe, alice, refused):
    """Two full frames change places, table and all: files and headers no longer stand there."""
    tape = large_recipe.tape()
    cut = [tape[at : at + FRAME_PLAIN] for at in range(0, len(tape), FRAME_PLAIN)]
    wrong = large_recipe.but(cut=(cut[1], cut[0], cut[2])).build(alice)
    refused(wrong, "archive.digest", "the tar header of 'README.txt'", deep=True)


def test_another_total(recipe, alice, refused):
    def more(statement):
        statement["predicate"]["plain_total"] += 1
        return statement

    refused(recipe.but(statement=more).build(alice), "archive.digest", "its total is another")


def test_another_frame_count(recipe, alice, refused):
    def more(statement):
        statement["predicate"]["frames"] += 1
        return statement

    refused(recipe.but(statement=more).build(alice), "archive.digest", "its size or kind")


def test_frames_that_nobody_signed(bundle, refused):
    """Bytes changed after signing are named by frame, range and file."""
    at = len(bundle) - 5
    broken = bytearray(bundle)
    broken[at] ^= 1
    refused(bytes(broken), "frame.digest", f"to {len(bundle) - 1}; 'README.txt', 'hf/hub/")


def test_damage_is_named_by_frame_range_and_file(large_bundle, refused):
    start = limits.HEAD_SLOT + 8 + frames.table_size("sha256", 4)
    slots = struct.unpack_from("<" + "II32s" * 4, large_bundle, limits.HEAD_SLOT + 8 + 32)[::3]
    second = start + slots[0] + slots[1]
    broken = bytearray(large_bundle)
    broken[second + 1234] ^= 1
    refused(
        bytes(broken), "frame.digest", f"frame 2 (bytes {second} to {second + slots[2] - 1}; 'hf/"
    )


def test_only_the_files_of_a_damaged_frame_are_named(large_bundle, verified, trusting_alice):
    broken = bytearray(large_bundle)
    broken[-100] ^= 1
    with pytest.raises(DamagedError) as caught:
        verified(broken, trusting_alice).bundle.check_frames()
    assert "model.bin" in caught.value.message
    assert "vocabulary.txt" in caught.value.message
    assert "README.txt" not in caught.value.message


def test_many_damaged_frames_are_counted(large_bundle, verified, monkeypatch, trusting_alice):
    monkeypatch.setattr("airgap.limits.NAMED", 1)
    broken = bytearray(large_bundle)
    broken[-100] ^= 1
    broken[-100_000 - FRAME_PLAIN] ^= 1
    with pytest.raises(DamagedError, match=r"frame 2 .*, and 1 more"):
        verified(broken, trusting_alice).bundle.check_frames()


def test_offsets_are_computed_beyond_four_gibibytes(large_bundle, verified, trusting_alice):
    """1100 full frames end above 4 GiB; a reader that counts in 32 bits would wrap around."""
    bundle = verified(large_bundle, trusting_alice).bundle
    slots = (bundle.table.slots[0], *[Slot(FRAME_PLAIN, FRAME_PLAIN, b"\0" * 32)] * 1100)
    object.__setattr__(bundle, "table", Table("sha256", slots))
    start = limits.HEAD_SLOT + 8 + frames.table_size("sha256", 4) + slots[0].stored
    assert bundle.offsets[-1] == bundle.end == start + 1100 * FRAME_PLAIN > 1 << 32
    assert bundle.offsets[1051] == start + 1050 * FRAME_PLAIN


def test_sha384_serves_as_sha256_does(recipe, alice, verified, trusting_alice):
    bundle = recipe.but(algorithm="sha384").build(alice)
    found = verified(bundle, trusting_alice).bundle
    found.check_contents()
    assert {len(slot.digest) for slot in found.table.slots} == {48}
    broken = bytearray(bundle)
    broken[-1] ^= 1
    with pytest.raises(DamagedError, match="frame 1"):
        verified(broken, trusting_alice).bundle.check_frames()
