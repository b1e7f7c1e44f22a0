"""One open file from check to use, and each of its bytes read once.

The attack is RAUC's CVE-2020-25860: verified, then read again. Here the file behind the path is
swapped, and the very bytes are rewritten as soon as they have been read.
"""

import itertools
import os

import pytest

from airgap import verify, volumes
from airgap.errors import DamagedError


@pytest.fixture
def path(tmp_path, large_bundle):
    path = tmp_path / "bundle.tar.zst"
    path.write_bytes(large_bundle)
    return path


@pytest.fixture
def reads(monkeypatch):
    """Every range that is read through preadv, the only call that reads a bundle."""
    seen, real = [], os.preadv

    def counting(descriptor, buffers, offset):
        count = real(descriptor, buffers, offset)
        seen.append((offset, offset + count))
        return count

    monkeypatch.setattr(os, "preadv", counting)
    return seen


def use(bundle, *, deep):
    """Every byte of every file, as a mount would take them."""
    if not deep:
        bundle.check_frames()
        return None
    return {file.path: b"".join(pieces) for file, pieces in bundle.contents()}


@pytest.mark.parametrize("deep", [False, True])
def test_every_byte_is_read_exactly_once(path, now, reads, deep, trusting_alice):
    with volumes.opened(path) as source:
        use(verify.verify(source, trusting_alice, None, now).bundle, deep=deep)
    ranges = sorted(reads)
    assert [start for start, _end in ranges] == [0, *[end for _start, end in ranges[:-1]]]
    assert ranges[-1][1] == path.stat().st_size


@pytest.mark.parametrize("deep", [False, True])
def test_nothing_but_preadv_reads(path, now, monkeypatch, deep, trusting_alice):
    """The proof above counts the right call: with it gone, nothing can be read."""

    def broken(*_arguments):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", broken)
    with (
        volumes.opened(path) as source,
        pytest.raises(volumes.AirgapError, match="at byte 0: Input/output error"),
    ):
        verify.verify(source, trusting_alice, None, now)


def test_bytes_that_change_behind_the_reader(path, large_recipe, now, monkeypatch, trusting_alice):
    """A medium that answers differently the second time: what was hashed is what is used."""
    real = os.preadv
    with path.open("r+b") as attacker:

        def rewriting(descriptor, buffers, offset):
            count = real(descriptor, buffers, offset)
            os.pwrite(attacker.fileno(), b"\xee" * count, offset)
            return count

        monkeypatch.setattr(os, "preadv", rewriting)
        with volumes.opened(path) as source:
            found = use(verify.verify(source, trusting_alice, None, now).bundle, deep=True)
    assert found == large_recipe.contents
    assert set(path.read_bytes()) == {0xEE}


def test_bytes_that_change_ahead_of_the_reader(path, large_bundle, now, trusting_alice):
    """After the signatures were checked, a frame is replaced by one that is as long."""
    with volumes.opened(path) as source:
        bundle = verify.verify(source, trusting_alice, None, now).bundle
        with path.open("r+b") as attacker:
            attacker.seek(len(large_bundle) - 2_000_000)
            attacker.write(b"\xee")
        with pytest.raises(DamagedError, match="frame 2"):
            bundle.check_frames()
        taken = []
        with pytest.raises(DamagedError, match="frame 2"):
            take(bundle, taken)
        assert taken == ["README.txt"]


def take(bundle, taken):
    """Note each file whose bytes all came."""
    for file, pieces in bundle.contents():
        assert sum(len(piece) for piece in pieces) == file.size
        taken.append(file.path)


@pytest.mark.parametrize("deep", [False, True])
def test_a_path_that_comes_to_name_another_file(path, large_recipe, now, deep, trusting_alice):
    """Same path, same size, other content: the open file is what is used."""
    with volumes.opened(path) as source:
        bundle = verify.verify(source, trusting_alice, None, now).bundle
        evil = path.with_name("evil")
        evil.write_bytes(b"\xee" * path.stat().st_size)
        evil.replace(path)
        found = use(bundle, deep=deep)
    assert found is None or found == large_recipe.contents


def test_what_a_caller_does_not_take_is_checked_all_the_same(
    large_recipe, alice, verified, trusting_alice
):
    """A reader that skips a file, or stops within one, still learns that it was wrong."""
    wrong = large_recipe.but_file(1, sha256="0" * 64).build(alice)
    for taken in (0, 1):
        bundle = verified(wrong, trusting_alice).bundle
        with pytest.raises(DamagedError, match=r"model\.bin' has the SHA-256 [0-9a-f]{64}; the"):
            list(
                itertools.chain.from_iterable(
                    itertools.islice(pieces, taken) for _file, pieces in bundle.contents()
                )
            )


def test_progress_counts_every_stored_byte_of_the_payload(large_bundle, verified, trusting_alice):
    bundle = verified(large_bundle, trusting_alice).bundle
    for check in (bundle.check_frames, bundle.check_contents):
        done = []
        check(done.append)
        assert sum(done) == sum(slot.stored for slot in bundle.table.slots[1:])
