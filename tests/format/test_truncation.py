"""Bundles that end too early, go on too long, or never end; as a file and through a pipe."""

import io
import os
import struct
import threading
from contextlib import contextmanager
from itertools import pairwise

import pytest

from airgap import frames, limits, verify, volumes
from airgap.errors import AirgapError, DamagedError


def borders(bundle, count):
    """Where each part of a bundle starts, and where it ends."""
    lines = limits.HEAD_SLOT + 8 + 32
    table_end = limits.HEAD_SLOT + 8 + frames.table_size("sha256", count)
    places = [0, 8, limits.HEAD_SLOT, limits.HEAD_SLOT + 8, lines, table_end]
    for number in range(count):
        places.append(places[-1] + struct.unpack_from("<I", bundle, lines + 40 * number)[0])
    assert places[-1] == len(bundle)
    return places


@contextmanager
def piped(data, *, endless=False):
    """A pipe that a thread fills; an endless one goes on until its reader leaves."""
    ends = os.pipe()
    sent = []

    def fill():
        with os.fdopen(ends[1], "wb", buffering=0) as writer:
            try:
                left = memoryview(data)
                while left:
                    left = left[writer.write(left) :]
                while endless:
                    sent.append(writer.write(b"\0" * 65536))
            except BrokenPipeError:
                pass

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        with os.fdopen(ends[0], "rb") as reader:
            yield volumes.Pipe("-", reader), sent
    finally:
        thread.join()


def check(bundle, *, deep):
    """The shallow check, or the deep one."""
    if deep:
        bundle.check_contents()
    else:
        bundle.check_frames()


def check_pipe(data, policy, now, *, deep):
    with piped(data) as (source, _sent):
        found = verify.verify(source, policy, None, now)
        check(found.bundle, deep=deep)
        return found


def cuts(bundle, count):
    places = borders(bundle, count)
    middles = [(start + end) // 2 for start, end in pairwise(places)]
    return sorted({*places[:-1], *middles, len(bundle) - 1, 1, limits.HEAD_SLOT - 1})


def test_cut_at_every_border_and_in_every_part(bundle, refused):
    for at in cuts(bundle, 2):
        rule = "head.magic" if at < limits.HEAD_SLOT else "archive.size"
        refused(bundle[:at], rule, f"{at} bytes" if rule == "head.magic" else "bundle.tar.zst")


@pytest.mark.parametrize("deep", [False, True])
def test_cut_in_a_pipe(bundle, now, deep, trusting_alice):
    for at in cuts(bundle, 2):
        with pytest.raises(DamagedError, match=f"'-' ends at byte {at}, ") as caught:
            check_pipe(bundle[:at], trusting_alice, now, deep=deep)
        assert caught.value.rule == "archive.size"
        assert "copy it again" in caught.value.hint


def test_cut_at_every_border_of_a_large_bundle(large_bundle, memory, verified, trusting_alice):
    for at in cuts(large_bundle, 4):
        with pytest.raises(DamagedError):
            verified(memory(large_bundle[:at]), trusting_alice)
        with pytest.raises(DamagedError):
            verified(memory(large_bundle[:at], sized=False), trusting_alice).bundle.check_frames()


@pytest.mark.parametrize("tail", [b"\0", b"\n", b"x" * 5000], ids=["zero", "newline", "many"])
def test_bytes_after_the_end(bundle, refused, tail):
    refused(bundle + tail, "archive.size", f"{len(tail)} bytes that nobody signed")


def test_a_whole_second_bundle_after_the_end(bundle, refused):
    refused(bundle + bundle, "archive.size", f"the bundle's end at byte {len(bundle)}")


@pytest.mark.parametrize("deep", [False, True])
def test_one_byte_more_in_a_pipe(bundle, now, deep, trusting_alice):
    with pytest.raises(DamagedError, match=f"goes on after the bundle's end at byte {len(bundle)}"):
        check_pipe(bundle + b"\0", trusting_alice, now, deep=deep)


@pytest.mark.parametrize("deep", [False, True])
def test_a_pipe_and_a_file_give_one_verdict(large_bundle, now, verified, deep, trusting_alice):
    piped = check_pipe(large_bundle, trusting_alice, now, deep=deep)
    there = verified(large_bundle, trusting_alice)
    assert piped.verdict == there.verdict
    assert piped.approval_code == there.approval_code
    assert piped.bundle.manifest == there.bundle.manifest
    assert piped.bundle.table == there.bundle.table


@pytest.mark.parametrize("deep", [False, True])
def test_a_damaged_frame_in_a_pipe_is_named_as_in_a_file(
    large_bundle, now, verified, deep, trusting_alice
):
    broken = bytearray(large_bundle)
    broken[-150_000] ^= 1
    with pytest.raises(DamagedError) as piped:
        check_pipe(bytes(broken), trusting_alice, now, deep=deep)
    bundle = verified(bytes(broken), trusting_alice).bundle
    with pytest.raises(DamagedError) as there:
        check(bundle, deep=deep)
    place = there.value.message.partition(" is not ")[2]
    assert place
    assert piped.value.message.partition(" is not ")[2] == place


@pytest.mark.parametrize("deep", [False, True])
def test_a_pipe_that_never_ends_is_left_at_its_first_byte_too_many(
    bundle, now, deep, trusting_alice
):
    """Returning at all is the proof; what was sent beyond the end fits the pipe and our buffer."""
    with piped(bundle, endless=True) as (source, sent):
        found = verify.verify(source, trusting_alice, None, now)
        with pytest.raises(DamagedError, match="goes on after the bundle's end"):
            check(found.bundle, deep=deep)
    assert sum(sent) < 4 << 20


@pytest.mark.parametrize("start", [b"", b"\x50\x2a\x4d\x18\xf8\xff\0\0"], ids=["zeros", "magic"])
def test_an_endless_pipe_of_nothing(now, start, trusting_alice):
    """No more than the head is read of what is no bundle."""
    with (
        pytest.raises(DamagedError) as caught,
        piped(start, endless=True) as (source, _sent),
    ):
        verify.verify(source, trusting_alice, None, now)
    assert caught.value.rule in {"head.magic", "head.form"}


def test_a_bundle_that_grows_while_it_is_read(tmp_path, bundle, now, trusting_alice):
    path = tmp_path / "b"
    path.write_bytes(bundle)
    with volumes.opened(path) as source:
        found = verify.verify(source, trusting_alice, None, now)
        with path.open("ab") as more:
            more.write(b"x")
        for check in (found.bundle.check_frames, found.bundle.check_contents):
            with pytest.raises(DamagedError, match="1 bytes that nobody signed"):
                check()


def test_a_bundle_that_shrinks_while_it_is_read(tmp_path, bundle, now, trusting_alice):
    path = tmp_path / "b"
    path.write_bytes(bundle)
    with volumes.opened(path) as source:
        found = verify.verify(source, trusting_alice, None, now)
        os.truncate(path, len(bundle) - 1)
        for check in (found.bundle.check_frames, found.bundle.check_contents):
            with pytest.raises(DamagedError, match=f"ends at byte {len(bundle) - 1}"):
                check()


class Failing(io.RawIOBase):
    """A pipe whose other end reports an error."""

    def readable(self):
        return True

    def readinto(self, _buffer):
        raise OSError(5, "Input/output error")


class Hasty(io.RawIOBase):
    """A pipe without data that does not wait for any (O_NONBLOCK)."""

    def __init__(self, data):
        super().__init__()
        self.left = data

    def readable(self):
        return True

    def readinto(self, buffer):
        if not self.left:
            return None
        piece, self.left = self.left[: len(buffer)], self.left[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


def test_a_pipe_that_fails_is_an_error_of_ours(now, trusting_alice):
    with pytest.raises(
        AirgapError, match="cannot read '-' at byte 0: Input/output error"
    ) as caught:
        verify.verify(volumes.Pipe("-", Failing()), trusting_alice, None, now)
    assert caught.value.exit_code == 1


def test_nothing_yet_does_not_pass_for_the_end(bundle, now, trusting_alice):
    """A standard input that was left non-blocking must not hide a byte that comes later."""
    found = verify.verify(volumes.Pipe("-", Hasty(bundle)), trusting_alice, None, now)
    with pytest.raises(AirgapError, match=f"does not wait for its bytes at byte {len(bundle)}"):
        found.bundle.check_frames()


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 65535])
def test_a_file_smaller_than_a_head(refused, size):
    refused(b"\0" * size, "head.magic", f"it has {size} bytes, and its head alone would take 65536")


def test_what_is_no_file(tmp_path, alice, policy_of, now):
    os.mkfifo(tmp_path / "fifo")
    for path, saying in (
        (tmp_path, "no bundle in"),
        (tmp_path / "fifo", "is not a file"),
        (tmp_path / "nowhere", "cannot open .*: No such file"),
    ):
        with pytest.raises(AirgapError, match=saying) as caught, volumes.opened(path):
            pass
        assert caught.value.exit_code == 1
