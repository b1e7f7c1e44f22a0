"""What a command line names -> recordings and the places of their texts."""

import errno
import os
from pathlib import Path

import pytest

from airgap.errors import AirgapError, UsageError
from runtime.batch.gathering import gather, listed, refuse_collisions
from runtime.recordings import open_recording


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A folder of recordings, and of much else."""
    monkeypatch.chdir(tmp_path)
    for name in (
        *("a.wav", "b.MP3", "day/c.m4a", "day/night/d.opus"),
        *("a.txt", "airgap-run.json", ".hidden.wav", ".trash/e.wav", "day/notes.pdf"),
    ):
        path = tmp_path / "archive" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "archive/loop").symlink_to(tmp_path / "archive")
    return Path("archive")


def found(items):
    return [(str(one.recording), str(one.folder), one.stem, one.named) for one in items]


def test_a_folder(archive):
    assert found(gather([archive], None)) == [
        ("archive/a.wav", "archive", "a", False),
        ("archive/b.MP3", "archive", "b", False),
        ("archive/day/c.m4a", "archive/day", "c", False),
        ("archive/day/night/d.opus", "archive/day/night", "d", False),
    ]


def test_a_folder_keeps_its_shape_below_out(archive):
    items = gather([archive], Path("texts"))
    assert [str(one.folder) for one in items] == ["texts", "texts", "texts/day", "texts/day/night"]
    assert items[2].relative() == "../../archive/day/c.m4a"


def test_a_file_is_taken_whatever_it_is_called(archive):
    assert found(gather([archive / "day/notes.pdf"], None)) == [
        ("archive/day/notes.pdf", "archive/day", "notes", True)
    ]
    assert gather([Path("missing.wav")], None)[0].named


def test_a_pattern_that_no_shell_has_filled_in(archive):
    items = gather([Path("archive/**/*.m4a"), Path("archive/*.wav")], Path("texts"))
    assert found(items) == [
        ("archive/day/c.m4a", "texts", "c", False),
        ("archive/a.wav", "texts", "a", False),
    ]
    absolute = gather([archive.absolute() / "[ab].*"], None)
    assert [one.recording.name for one in absolute] == ["a.txt", "a.wav", "b.MP3"]


def test_a_file_called_like_a_pattern_is_itself(archive):
    (archive / "[ab].wav").write_bytes(b"")
    assert [one.recording.name for one in gather([archive / "[ab].wav"], None)] == ["[ab].wav"]


def test_each_recording_comes_once(archive):
    named = [archive / "a.wav", archive, Path("archive/loop/a.wav"), archive / "a.wav"]
    items = gather(named, None)
    assert [one.recording.name for one in items] == ["a.wav", "b.MP3", "c.m4a", "d.opus"]
    assert items[0].named


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("archive/.trash/empty", "no recording in the folder 'archive/.trash/empty'"),
        ("archive/*.ogg", "no file fits the pattern"),
        ("archive/da?", "no file fits the pattern"),
    ],
)
def test_nothing_found_is_told(archive, named, why):
    (archive / ".trash/empty").mkdir()
    with pytest.raises(UsageError, match=why):
        gather([Path(named)], None)


def test_a_name_that_no_record_can_hold_is_found_and_does_not_open(archive):
    odd = Path(os.fsdecode(b"archive/\xff.wav"))
    odd.write_bytes(b"")
    item = gather([odd], None)[0]
    assert item.relative() == r"\xff.wav"
    with pytest.raises(UsageError, match="is not UTF-8"):
        open_recording(item.recording)


def test_a_folder_that_no_record_can_hold_is_escaped(archive):
    odd = Path(os.fsdecode(b"archive/\xff"))
    odd.mkdir()
    (odd / "a.wav").write_bytes(b"")
    (item,) = gather([odd], Path("texts"))
    assert item.relative() == r"../archive/\xff/a.wav"
    open_recording(item.recording).close()


@pytest.mark.parametrize(
    "name", ["missing.wav", "circle.wav", "circle.wav/a.wav", f"{'a' * 300}.wav"]
)
def test_what_cannot_be_opened_is_an_item_all_the_same(archive, name):
    """A run tells of it and goes on."""
    (archive / "circle.wav").symlink_to("circle.wav")
    (item,) = gather([archive / name], None)
    assert item.named
    with pytest.raises(AirgapError, match=r"cannot read '.*' as audio: ") as refused:
        open_recording(item.recording)
    assert refused.value.exit_code == 1
    assert "check the path" in refused.value.hint


def test_a_folder_that_cannot_be_looked_into_is_not_left_out(archive, monkeypatch):
    looked_into = os.scandir

    def forbidden(path):
        if str(path).endswith(("night", "trash")):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return looked_into(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    assert [str(one.recording) for one in gather([archive], None)][-2:] == [
        "archive/day/c.m4a",
        "archive/day/night",
    ]
    closed = Path("archive/.trash")
    assert found(gather([closed], Path("texts"))) == [("archive/.trash", "texts", ".trash", False)]


def test_lists(archive, tmp_path, monkeypatch):
    Path("list").write_bytes("archive/a.wav\r\n\n  \narchive/ü b.wav\n".encode())
    assert listed("list") == [Path("archive/a.wav"), Path("archive/ü b.wav")]
    with Path("list").open("rb") as stream:
        monkeypatch.setattr("sys.stdin", type("Piped", (), {"buffer": stream}))
        assert listed("-") == listed("list")
    Path("list").write_bytes(b"archive/a.wav\0archive/b.wav\0")
    with pytest.raises(UsageError, match=r"'list' is no list of recordings: it holds NUL") as nul:
        listed("list")
    assert "-print" in nul.value.hint


def test_no_text_takes_anothers_place(archive):
    (archive / "a.flac").write_bytes(b"")
    items = gather([archive], None)
    with pytest.raises(
        UsageError, match=r"'archive/a\.flac' and 'archive/a\.wav' would both"
    ) as two:
        refuse_collisions(items, [".txt"])
    assert "rename one" in two.value.hint
    (archive / "a.flac").rename(archive / "b.diarized.wav")
    items = gather([archive], None)
    refuse_collisions(items, [".txt", ".diarized.json"])
    with pytest.raises(UsageError, match="would both be written"):
        refuse_collisions(items, [".json", ".diarized.json"])


def test_a_name_cannot_forge_a_line(tmp_path):
    for ending in ("wav", "flac"):
        (tmp_path / f"x\nerror: y.{ending}").write_bytes(b"")
    with pytest.raises(UsageError, match=r"x\\nerror: y\.flac' and") as told:
        refuse_collisions(gather([tmp_path], None), [".txt"])
    assert "\n" not in told.value.message


def test_one_folder_by_two_names_is_one(archive):
    (archive / "a.flac").write_bytes(b"")
    items = gather([archive / "a.wav", Path("archive/loop/a.flac")], None)
    assert items[0].place == items[1].place
    assert [one.relative() for one in items] == ["a.wav", "a.flac"]
    with pytest.raises(UsageError, match="would both be written"):
        refuse_collisions(items, [".txt"])
