"""A bundle in volumes: read in place like one file; whatever is wrong with the set is named."""

from __future__ import annotations

import os
from collections import defaultdict
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airgap import limits, verify, volumes
from airgap.errors import AirgapError, DamagedError, RefusedError, UsageError
from airgap.limits import FRAME_PLAIN, HEAD_SLOT

NAME = "demo-1.0.0.tar.zst"


def cut(data, size):
    """The bytes of each volume."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def lay(folder, pieces, name=NAME):
    """Write volumes; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{number:03}" for number in range(1, len(pieces) + 1)]
    for path, piece in zip(paths, pieces, strict=True):
        path.write_bytes(piece)
    return paths


@pytest.fixture(scope="session")
def noise(recipe_of, alice):
    """A bundle of seven frames of noise, the same with other noise, and sizes of volumes."""
    bundles = [
        recipe_of({"samples/noise.bin": os.urandom(7 * FRAME_PLAIN + more)}).build(alice)
        for more in (0, 99)
    ]
    return SimpleNamespace(
        data=bundles[0], other=bundles[1], half=len(bundles[0]) // 2 + 1000, quarter=7_500_000
    )


@pytest.fixture
def judge(now, trusting_alice):
    """Verify a bundle to its last frame, as the command does."""

    def judge(path, also=(), *, deep=False):
        with volumes.source(path, also) as source:
            found = verify.verify(source, trusting_alice, None, now)
            (found.bundle.check_contents if deep else found.bundle.check_frames)()
            return found

    return judge


@pytest.fixture
def refuses(judge, writes):
    """A set is refused by one rule, with one message, and nothing is written."""

    def refuses(path, rule, saying, also=()):
        with writes, pytest.raises(DamagedError) as caught:
            judge(path, also)
        assert caught.value.rule == rule
        assert saying in caught.value.message
        assert caught.value.hint
        assert caught.value.exit_code == 3
        assert writes.seen == []
        return caught.value

    return refuses


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("size", [HEAD_SLOT, 1 << 20, 3_000_001, FRAME_PLAIN])
def test_a_set_gives_the_verdict_of_the_whole(
    *, tmp_path, large_bundle, judge, verified, trusting_alice, size, deep
):
    paths = lay(tmp_path, cut(large_bundle, size))
    whole = verified(large_bundle, trusting_alice)
    for named in (tmp_path, paths[0], paths[-1]):
        found = judge(named, deep=deep)
        assert found.verdict == whole.verdict
        assert found.bundle.manifest == whole.bundle.manifest


def test_a_table_larger_than_the_volumes(tmp_path, recipe_of, alice, judge):
    """The table lies before the frames: with small volumes it spans several."""
    many = recipe_of({"samples/zero.bin": bytes(2000 * 512)}).build(alice)
    lay(tmp_path, cut(many, HEAD_SLOT))
    assert judge(tmp_path).bundle.statement.name == "demo"


def test_each_byte_of_a_set_is_read_once(tmp_path, large_bundle, judge, monkeypatch):
    paths = lay(tmp_path, cut(large_bundle, 3_000_001))
    seen, real = defaultdict(list), os.preadv

    def counting(descriptor, buffers, offset):
        count = real(descriptor, buffers, offset)
        seen[os.readlink(f"/proc/self/fd/{descriptor}")].append((offset, offset + count))  # noqa: PTH115 - a descriptor's
        return count

    monkeypatch.setattr(os, "preadv", counting)
    judge(tmp_path, deep=True)
    for path in paths:
        ranges = sorted(seen[str(path)])
        assert [start for start, _end in ranges] == [0, *[end for _start, end in ranges[:-1]]]
        assert ranges[-1][1] == path.stat().st_size


def test_a_set_over_several_folders(tmp_path, large_bundle, judge, refuses):
    pieces = cut(large_bundle, 3_000_000)
    paths = lay(tmp_path / "a", pieces)
    (tmp_path / "b").mkdir()
    for path in paths[1:]:
        path.rename(tmp_path / "b" / path.name)
    assert judge(tmp_path / "a", [tmp_path / "b"])
    assert judge(tmp_path / "b", [tmp_path / "a"])
    error = refuses(
        tmp_path / "b", "volumes.missing", f"missing in '{tmp_path / 'b'}': '{NAME}.001'"
    )
    assert "--also FOLDER" in error.hint


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_a_missing_volume_is_named(tmp_path, large_bundle, refuses, gone):
    """The last one too, which only the table tells."""
    paths = lay(tmp_path, cut(large_bundle, 3_000_000))
    assert len(paths) == 3
    paths[gone - 1].unlink()
    refuses(tmp_path, "volumes.missing", f"'{NAME}.{gone:03}'")


def test_all_that_is_missing_is_named_at_once(tmp_path, large_bundle, refuses):
    paths = lay(tmp_path, cut(large_bundle, 1_000_000))
    for path in paths[2:]:
        path.unlink()
    error = refuses(tmp_path, "volumes.missing", f"'{NAME}.003', '{NAME}.004'")
    assert f"'{paths[-1].name}'" in error.message


@pytest.mark.parametrize("true", [1, 2, 3, 5])
@pytest.mark.parametrize("stale", ["as large", "smaller", "larger", "three of another cut"])
def test_what_is_left_over_from_another_cut_is_named(
    *, tmp_path, large_bundle, judge, refuses, true, stale
):
    """The last true volume is shorter than the others, and no longer the last of the folder."""
    size = len(large_bundle) // true + 1000
    pieces = cut(large_bundle, size)
    assert len(pieces) == true
    sizes = {"as large": [size], "smaller": [99], "larger": [size + 1]}
    left = [bytes(one) for one in sizes.get(stale, [1_000_000, 1_000_000, 1_000_000])]
    paths = lay(tmp_path, [*pieces, *left])
    extra = ", ".join(f"'{path.name}'" for path in paths[true:])
    error = refuses(
        tmp_path, "volumes.extra", f"ends in volume {true}, and there are more: {extra}"
    )
    assert error.hint.startswith(f"take {extra} away")
    for path in paths[true:]:
        path.unlink()
    assert judge(tmp_path)


def test_what_is_left_over_beyond_a_gap_is_named(tmp_path, large_bundle, refuses):
    """Nothing is missing: the bundle ends before the gap."""
    paths = lay(tmp_path, [*cut(large_bundle, 3_000_000), b"x", bytes(3_000_000)])
    paths[3].unlink()
    refuses(tmp_path, "volumes.extra", f"ends in volume 3, and there are more: '{NAME}.005'")


def test_everything_that_is_wrong_with_a_set_is_named_at_once(tmp_path, large_bundle, refuses):
    size = 2_000_000
    paths = lay(tmp_path, [*cut(large_bundle, size), b"x"])
    assert len(paths) == 6
    os.truncate(paths[1], 5)
    paths[2].unlink()
    error = refuses(tmp_path, "volumes.size", f"{NAME}.002' has 5 bytes, expected {size}; missing")
    assert f"'{NAME}.003'; '{tmp_path / NAME}' ends in volume 5" in error.message
    assert f"copy '{NAME}.002' again" in error.hint
    assert f"copy '{NAME}.003' there" in error.hint
    assert f"take '{NAME}.006' away" in error.hint


def test_a_table_that_lies_in_a_volume_that_is_cut_short(tmp_path, recipe_of, alice, refuses):
    """It cannot be read, so the other volumes tell the size."""
    data = recipe_of({"samples/noise.bin": os.urandom(2 * HEAD_SLOT)}).build(alice)
    paths = lay(tmp_path, cut(data, HEAD_SLOT))
    assert len(paths) > 2
    os.truncate(paths[1], 7)
    refuses(tmp_path, "volumes.size", f"{NAME}.002' has 7 bytes, expected {HEAD_SLOT}")


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("change", [-1, 1])
def test_a_volume_of_another_size_is_named(tmp_path, large_bundle, refuses, number, change):
    paths = lay(tmp_path, cut(large_bundle, 2_500_000))
    assert len(paths) == 4
    size = paths[number - 1].stat().st_size
    content = paths[number - 1].read_bytes() + b"x"
    paths[number - 1].write_bytes(content[: size + change])
    refuses(tmp_path, "volumes.size", f".00{number}' has {size + change} bytes, expected {size}")


@pytest.mark.parametrize("number", [1, 2])
def test_one_of_two_full_volumes_that_is_cut_short(tmp_path, large_bundle, refuses, number):
    """Which of the two has the right size, only the bundle's end tells."""
    paths = lay(tmp_path, cut(large_bundle, 3_000_000))
    assert len(paths) == 3
    os.truncate(paths[number - 1], 2_900_000)
    error = refuses(tmp_path, "volumes.size", f"{number}' has 2900000 bytes, expected 3000000")
    assert error.hint.startswith(f"copy '{NAME}.00{number}' again")


def test_a_last_volume_that_is_cut_short(tmp_path, large_bundle, refuses):
    paths = lay(tmp_path, cut(large_bundle, 3_000_000))
    size = paths[-1].stat().st_size
    os.truncate(paths[-1], size - 1)
    error = refuses(tmp_path, "volumes.size", f".003' has {size - 1} bytes, expected {size}")
    assert error.hint.startswith(f"copy '{NAME}.003' again")


def test_a_first_volume_too_small_for_the_head(tmp_path, bundle, large_bundle, refuses):
    lay(tmp_path / "a", cut(bundle, 60_000))
    error = refuses(tmp_path / "a", "volumes.size", "must hold the bundle's head of 65536")
    assert error.hint.startswith(f"copy '{NAME}.001' again")
    paths = lay(tmp_path / "b", cut(large_bundle, 3_000_000))
    os.truncate(paths[0], 0)
    refuses(tmp_path / "b", "volumes.size", f"{NAME}.001' has 0 bytes")


def test_the_first_of_two_is_cut_short(tmp_path, large_bundle, refuses):
    """The last is never larger than the first, so it is the first that is wrong."""
    paths = lay(tmp_path, cut(large_bundle, 5_000_000))
    os.truncate(paths[0], 100_000)
    refuses(tmp_path, "volumes.size", f"{NAME}.001' has 100000 bytes, expected 5000000")


def test_swapped_volumes_are_told_apart_from_damaged_ones(tmp_path, noise, refuses):
    paths = lay(tmp_path / "swapped", cut(noise.data, noise.quarter))
    paths[1].rename(tmp_path / "x")
    paths[2].rename(paths[1])
    (tmp_path / "x").rename(paths[2])
    error = refuses(tmp_path / "swapped", "frame.digest", f"'{NAME}.002' holds what belongs into")
    assert f"'{NAME}.003' holds what belongs into '{NAME}.002'" in error.message
    assert error.hint.startswith(f"copy {NAME}.002, {NAME}.003 again")


def test_a_volume_of_another_version_is_told(tmp_path, noise, refuses):
    paths = lay(tmp_path, cut(noise.data, noise.quarter))
    paths[1].write_bytes(cut(noise.other, noise.quarter)[1])
    error = refuses(tmp_path, "frame.digest", "frame 3 (")
    assert error.hint.startswith(f"copy {NAME}.002 again")  # and not .001, which is sound


def test_a_first_volume_of_another_version(tmp_path, noise, refuses):
    paths = lay(tmp_path, cut(noise.data, noise.half))
    paths[0].write_bytes(cut(noise.other, noise.half)[0])
    error = refuses(tmp_path, "volumes.size", f"{NAME}.002' has")
    assert f"'{NAME}.002' again, or '{NAME}.001'" in error.hint  # which tells how large .002 is


def test_a_flipped_bit_names_frame_bytes_file_and_volume(tmp_path, noise, refuses):
    paths = lay(tmp_path, cut(noise.data, noise.half))
    with paths[1].open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        last = stream.read(1)
        stream.seek(-1, os.SEEK_END)
        stream.write(bytes([last[0] ^ 1]))
    error = refuses(tmp_path, "frame.digest", f"in '{NAME}.002'; 'samples/noise.bin')")
    assert "may be another bundle's" not in error.message
    assert error.hint.startswith(f"copy {NAME}.002 again")


def test_a_volume_in_two_folders(tmp_path, large_bundle, judge):
    pieces = cut(large_bundle, 3_000_000)
    lay(tmp_path / "a", pieces)
    lay(tmp_path / "b", pieces)
    with pytest.raises(UsageError, match=r"volume 1 is there twice: .*a/.* and .*b/"):
        judge(tmp_path / "a", [tmp_path / "b"])
    assert judge(tmp_path / "a", [tmp_path / "a"])


def test_what_a_folder_must_not_leave_open(tmp_path, large_bundle, judge):
    with pytest.raises(AirgapError, match="no bundle in"):
        judge(tmp_path)
    lay(tmp_path, cut(large_bundle, 3_000_000))
    (tmp_path / f".{NAME}.002.tmp").touch()
    (tmp_path / f"{NAME}.par2").touch()
    (tmp_path / f"{NAME}.000").touch()
    assert judge(tmp_path)
    (tmp_path / NAME).write_bytes(large_bundle)
    with pytest.raises(UsageError, match=f"more than one bundle: '{NAME}', '{NAME}.001'"):
        judge(tmp_path)
    assert judge(tmp_path / NAME)
    with pytest.raises(UsageError, match="is a bundle in one file"):
        judge(tmp_path / NAME, [tmp_path])
    (tmp_path / NAME).unlink()
    lay(tmp_path, [b"x"], "other-2.tar.zst")
    with pytest.raises(UsageError, match="more than one bundle"):
        judge(tmp_path)


def test_a_bundle_alone_in_a_folder_is_found(tmp_path, bundle, judge):
    (tmp_path / NAME).write_bytes(bundle)
    assert judge(tmp_path)


def test_a_link_among_volumes_is_not_followed(tmp_path, large_bundle, judge):
    paths = lay(tmp_path / "a", cut(large_bundle, 3_000_000))
    paths[1].rename(tmp_path / "elsewhere")
    paths[1].symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AirgapError, match=r"cannot open '.*002'") as caught:
        judge(tmp_path / "a")
    assert caught.value.exit_code == 1


def test_a_pipe_among_volumes_is_not_waited_for(tmp_path, large_bundle, judge):
    paths = lay(tmp_path, cut(large_bundle, 3_000_000))
    paths[1].unlink()
    os.mkfifo(paths[1])
    with pytest.raises(AirgapError, match=r"002' is not a file"):
        judge(tmp_path)


def test_a_claimed_size_makes_no_endless_list(tmp_path, bundle):
    """A head that nobody signed can claim a million million volumes; eight are named."""
    lay(tmp_path, [bundle[:HEAD_SLOT], bundle[HEAD_SLOT:]])
    with volumes.source(tmp_path) as source, pytest.raises(DamagedError) as caught:
        source.expect_end(1 << 60)
    assert f"'{NAME}.010' and {(1 << 44) - 10} more" in caught.value.message


def test_a_folder_with_many_names_is_read_once(tmp_path, bundle, judge, monkeypatch):
    """Whoever owns the medium may put a hundred thousand names there."""
    for number in range(50):
        lay(tmp_path, [bundle], f"demo-{number}.tar.zst")
    read, real = [], type(tmp_path).iterdir
    monkeypatch.setattr(type(tmp_path), "iterdir", lambda one: (read.append(one), real(one))[1])
    with pytest.raises(UsageError, match=r"bundle: 'demo-0\.tar\.zst', .* and 42 more"):
        judge(tmp_path)
    assert read == [tmp_path]


def test_a_volume_that_grows_while_it_is_read(tmp_path, large_bundle, now, trusting_alice):
    paths = lay(tmp_path, cut(large_bundle, 3_000_000))
    for path in paths:
        with volumes.source(tmp_path) as source:
            found = verify.verify(source, trusting_alice, None, now)
            with path.open("ab") as more:
                more.write(b"x")
            with pytest.raises(DamagedError, match=f"{path.name}' goes on"):
                found.bundle.check_frames()
        os.truncate(path, path.stat().st_size - 1)


def test_a_volume_swapped_behind_the_reader(tmp_path, large_bundle, now, trusting_alice):
    """The open files are what is used, of every volume."""
    paths = lay(tmp_path, cut(large_bundle, 3_000_000))
    with volumes.source(tmp_path) as source:
        found = verify.verify(source, trusting_alice, None, now)
        for path in paths:
            path.rename(path.with_suffix(".gone"))
            path.write_bytes(b"\xee" * 3_000_000)
        found.bundle.check_contents()


class Flipped:
    """Volumes in memory that can be changed; read as a set of files."""

    def __init__(self, data, size):
        self.data = bytearray(data)
        files = [Part(self, at, min(size, len(data) - at)) for at in range(0, len(data), size)]
        self.source = volumes.VolumeSet(NAME, files)


class Part(volumes.OpenFile):
    """One volume of `Flipped`."""

    def __init__(self, whole, start, size):
        self.name, self.size, self.volumes = f"{NAME}.{start}", size, ()
        self._whole, self._start = whole, start

    def read_into(self, offset, buffer):
        at = self._start + offset
        memoryview(buffer)[:] = memoryview(self._whole.data)[at : at + len(buffer)]

    def read_to_end(self, offset):
        assert offset == self.size


def test_every_byte_of_a_small_set_flipped(recipe_of, alice, trusting_alice, verified):
    data = recipe_of({"README.txt": b"flip me\n"}).build(alice)
    split = Flipped(data, HEAD_SLOT)
    assert len(split.source.volumes) == 2
    verified(split.source, trusting_alice).bundle.check_contents()
    said = range(len(data[:HEAD_SLOT].rstrip(b" ")) + 1)
    for at in [*said, *range(HEAD_SLOT - 50, len(data))]:
        split.data[at] ^= 0x01
        with pytest.raises(RefusedError):
            verified(split.source, trusting_alice).bundle.check_frames()
        split.data[at] ^= 0x01


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_cut_drop_swap_damage(tmp_path_factory, large_bundle, judge, data):
    """However a set is cut, it is accepted; however it is changed after that, it is not."""
    folder = tmp_path_factory.mktemp("set")
    size = data.draw(st.integers(HEAD_SLOT, len(large_bundle) - 1), "size of a volume")
    if len(large_bundle) // size > 200:
        size *= 8
    pieces = cut(large_bundle, size)
    paths = lay(folder, pieces)
    judge(folder)
    number = data.draw(st.integers(0, len(paths) - 1), "volume")
    path, piece = paths[number], pieces[number]
    match data.draw(st.sampled_from(["drop", "flip", "cut", "grow", "swap", "double"]), "change"):
        case "drop":
            path.unlink()
        case "flip":
            at = data.draw(st.integers(0, len(piece) - 1), "byte")
            path.write_bytes(piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :])
        case "cut":
            os.truncate(path, data.draw(st.integers(0, len(piece) - 1), "bytes left"))
        case "grow":
            path.write_bytes(piece + b"\0")
        case "swap":
            other = paths[number - 1]
            path.write_bytes(pieces[number - 1])
            other.write_bytes(piece)
        case "double":
            (folder / f"{NAME}.{len(paths) + 1:03}").write_bytes(piece)
            surplus = f"'{NAME}.{len(paths) + 1:03}'"
            with pytest.raises(DamagedError, match=f"there are more: {surplus}$"):
                judge(folder)
    with pytest.raises((RefusedError, AirgapError)):
        judge(folder)


def test_more_than_the_numbers_is_not_a_set(tmp_path, bundle, judge):
    assert limits.VOLUMES == 999
    lay(tmp_path, [bundle])
    (tmp_path / f"{NAME}.1000").touch()  # four digits name no volume
    assert judge(tmp_path)
