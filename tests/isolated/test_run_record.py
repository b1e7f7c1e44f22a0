"""The record of a run: whose each file is, what need not be done again, also after a crash."""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import AirgapError, UsageError
from airgap.provenance import Provenance, UsedModel
from runtime.batch.ledger import JOURNAL, JournalError, Ledger
from runtime.batch.record import NAME, Record, Text

MODEL = UsedModel("tiny.en", "asr", "Systran/faster-whisper-tiny.en", "c" * 40)
MADE = Provenance("demo", "1.0.0", "a" * 64, (MODEL,), {"airgap": "1"}, {"beam_size": 5})
AUDIO = "d" * 64


def text(name="a.txt", content=b"text\n", **changes):
    given = {
        "file": name,
        "format": "text",
        "sha256": hashlib.sha256(content).hexdigest(),
        "recording": "../a.wav",
        "audio": AUDIO,
        "milliseconds": 11_000,
        "damaged_packets": 0,
        "made_by": MADE.id,
        "time": "2026-01-31T12:00:00Z",
        "attestation": None,
    }
    return Text(**{**given, **changes})


def write(ledger, name="a.txt", content=b"text\n", **changes):
    """What a run does for one text."""
    one = text(name, content, **changes)
    ledger.begin([name], one.recording, one.audio)
    (ledger.folder / name).write_bytes(content)
    ledger.add(one, MADE)


@pytest.fixture
def folder(tmp_path):
    """A folder with one text of a run."""
    with Ledger.opened(tmp_path / "texts") as ledger:
        write(ledger)
    return tmp_path / "texts"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def done(folder, *, name="a.txt", audio=AUDIO, made=MADE, attested=False):
    with Ledger.opened(folder) as ledger:
        return ledger.heard([name], made.work, attested=attested) == audio


def test_nothing_done_leaves_nothing(tmp_path):
    with Ledger.opened(tmp_path / "texts"):
        pass
    assert names(tmp_path / "texts") == []


def test_what_need_not_be_done_again(folder):
    assert names(folder) == ["a.txt", NAME]
    assert done(folder)
    newer = replace(MADE, version="1.1.0", statement="b" * 64, engine={"airgap": "2"})
    assert done(folder, made=newer), "a newer bundle with the same model"
    (folder / "a.txt").write_text("mended by a person\n")
    assert done(folder)


@pytest.mark.parametrize(
    "other",
    [
        {"audio": "e" * 64},
        {"name": "a.srt"},
        {"attested": True},
        {"made": replace(MADE, options={"beam_size": 6})},
        {"made": replace(MADE, models=(replace(MODEL, commit="d" * 40),))},
    ],
)
def test_what_must_be(folder, other):
    assert not done(folder, **other)


def test_an_unpublished_model_is_the_same_in_one_bundle_alone(tmp_path):
    """Without a commit its name may stand for other bytes in the next one."""
    made = replace(MADE, models=(replace(MODEL, repository=None, commit=None),))
    with Ledger.opened(tmp_path) as ledger:
        ledger.begin(["a.txt"], "../a.wav", AUDIO)
        (tmp_path / "a.txt").write_text("text\n")
        ledger.add(text(made_by=made.id), made)
    assert done(tmp_path, made=made)
    assert not done(tmp_path, made=replace(made, version="1.1.0", statement="b" * 64))


def test_texts_of_two_recordings_are_those_of_none(folder):
    with Ledger.opened(folder) as ledger:
        write(ledger, "a.srt", audio="e" * 64)
        assert ledger.heard(["a.txt"], MADE.work, attested=False) == AUDIO
        assert ledger.heard(["a.txt", "a.srt"], MADE.work, attested=False) is None


def test_a_name_for_which_there_is_no_place_is_told(folder):
    name = f"{'ü' * 119}.txt"
    with Ledger.opened(folder) as ledger:
        write(ledger, name[1:])
        with pytest.raises(UsageError, match="would be too long: more than 241 bytes") as refused:
            ledger.begin([name], "../a.wav", AUDIO)
    assert refused.value.hint == "rename its recording"


def test_a_failure_is_forgotten_with_its_recording(tmp_path):
    (tmp_path / "there.wav").write_bytes(b"")
    with Ledger.opened(tmp_path) as ledger:
        ledger.fail("there.wav", "is no audio")
        ledger.fail("gone.wav", "cannot be read")
    assert set(Record.parse((tmp_path / NAME).read_bytes(), NAME).failed) == {
        "there.wav",
        "gone.wav",
    }
    with Ledger.opened(tmp_path):
        pass
    assert set(Record.parse((tmp_path / NAME).read_bytes(), NAME).failed) == {"there.wav"}
    (tmp_path / "there.wav").unlink()
    with Ledger.opened(tmp_path):
        pass
    assert Record.parse((tmp_path / NAME).read_bytes(), NAME) == Record()


def test_a_text_that_was_removed_is_made_again(folder):
    (folder / "a.txt").unlink()
    assert not done(folder)
    with Ledger.opened(folder) as ledger:
        write(ledger)
    assert done(folder)


def test_a_lost_attestation_is_made_again(tmp_path):
    with Ledger.opened(tmp_path) as ledger:
        write(ledger, attestation="a.txt.attestation.json")
    assert not done(tmp_path, attested=True)
    (tmp_path / "a.txt.attestation.json").write_text("{}")
    assert done(tmp_path, attested=True)
    with Ledger.opened(tmp_path) as ledger:
        ledger.begin(["a.txt", "a.txt.attestation.json"], "../a.wav", AUDIO)


def test_a_signature_goes_before_its_text_is_written_anew(tmp_path):
    """Beside other words it would say that somebody had changed them."""
    with Ledger.opened(tmp_path) as ledger:
        for name in ("a.txt", "b.txt"):
            write(ledger, name, attestation=f"{name}.attestation.json")
            (tmp_path / f"{name}.attestation.json").write_text("{}")
        write(ledger, "c.txt", attestation="notes.txt")  # as in a record that somebody made up
        (tmp_path / "notes.txt").write_text("mine\n")
        for name in ("a.txt", "c.txt", "unknown.txt"):
            ledger.unsign(name)
    assert names(tmp_path) == [
        *("a.txt", NAME, "b.txt", "b.txt.attestation.json", "c.txt", "notes.txt"),
    ]
    assert not done(tmp_path, attested=True)
    with Ledger.opened(tmp_path) as ledger:
        ledger.begin(["a.txt", "a.txt.attestation.json"], "../a.wav", AUDIO)


def test_a_journal_that_cannot_be_written_ends_the_run(folder):
    with Ledger.opened(folder) as ledger, Path("/dev/full").open("wb") as full:
        os.dup2(full.fileno(), ledger._journal)
        with pytest.raises(JournalError, match="No space left on device") as refused:
            ledger.begin(["b.txt"], "../b.wav", AUDIO)
        assert refused.value.hint == "free some space, then run it again"


def test_nothing_of_a_persons_is_written_over(folder):
    (folder / "notes.txt").write_text("mine\n")
    (folder / "link.txt").symlink_to("/nowhere")
    with Ledger.opened(folder) as ledger:
        for name in ("notes.txt", "link.txt"):
            with pytest.raises(
                UsageError, match="is there already, and no run wrote it"
            ) as refused:
                ledger.begin(["new.txt", name], "../notes.wav", AUDIO)
            assert "another --out" in refused.value.hint
        with pytest.raises(UsageError, match=r"is the text of '\.\./a\.wav'"):
            ledger.begin(["a.txt"], "../elsewhere/a.wav", "e" * 64)
        (folder / "a.txt").write_text("mended by a person\n")
        with pytest.raises(UsageError, match="was changed since a run wrote it"):
            ledger.begin(["a.txt"], "../a.wav", AUDIO)
    assert (folder / "a.txt").read_text() == "mended by a person\n"
    assert (folder / "notes.txt").read_text() == "mine\n"
    assert names(folder) == ["a.txt", NAME, "link.txt", "notes.txt"]


def test_the_same_recording_may_have_moved(folder):
    with Ledger.opened(folder) as ledger:
        ledger.begin(["a.txt"], "../elsewhere/a.wav", AUDIO)
        ledger.begin(["a.txt"], "../a.wav", "e" * 64)  # heard anew, because it was cut


def test_a_second_run_in_the_same_folder_is_refused(folder):
    with (
        Ledger.opened(folder),
        pytest.raises(UsageError, match="another run is writing into"),
        Ledger.opened(folder),
    ):
        pass
    assert done(folder)


def crash(folder, work):
    """The folder as a process leaves it that is gone in the middle of the block."""
    left = folder.with_name(f"{folder.name}-left")
    with Ledger.opened(folder) as ledger:
        work(ledger)
        shutil.copytree(folder, left)
    return left


def test_after_a_crash_everything_is_known(folder):
    def work(ledger):
        write(ledger, "b.txt", recording="../b.wav", audio="b" * 64)
        ledger.begin(["c.txt"], "../c.wav", "c" * 64)
        (ledger.folder / "c.txt").write_text("whole, and not noted yet")
        (ledger.folder / ".c.txt.0123abcd.tmp").write_text("half")
        (ledger.folder / ".other.txt.0123abcd.tmp").write_text("a person's")

    left = crash(folder, work)
    assert JOURNAL in names(left)
    assert done(left, name="b.txt", audio="b" * 64)
    there = [".other.txt.0123abcd.tmp", "a.txt", NAME, "b.txt", "c.txt"]
    assert names(left) == [JOURNAL, *there], "who else would know that c.txt is no person's"
    with Ledger.opened(left) as ledger:
        write(ledger, "c.txt", recording="../c.wav", audio="c" * 64)
    assert names(left) == there


def test_what_was_begun_before_a_crash_may_be_written_over(folder):
    def work(ledger):
        ledger.begin(["c.txt"], "../c.wav", "c" * 64)
        (ledger.folder / "c.txt").write_text("whole, and not noted yet")

    with Ledger.opened(crash(folder, work)) as ledger:
        assert ledger.heard(["c.txt"], MADE.work, attested=False) is None
        write(ledger, "c.txt", recording="../c.wav", audio="c" * 64)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_journal_that_was_cut_anywhere_is_taken_up(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("cut")

    def work(ledger):
        write(ledger, "b.txt")
        write(ledger, "c.txt")

    left = crash(folder / "texts", work)
    journal = (left / JOURNAL).read_bytes()
    cut = data.draw(st.integers(0, len(journal)))
    (left / JOURNAL).write_bytes(journal[:cut])
    with Ledger.opened(left) as ledger:
        promised = [
            name for name in ("b.txt", "c.txt") if ledger.heard([name], MADE.work, attested=False)
        ]
        if b'"begin":["b.txt"]}\n' in journal[:cut]:
            write(ledger, "b.txt")
        write(ledger, "d.txt")
    assert promised == sorted(promised)
    assert {*names(left)} - {JOURNAL} == {NAME, "b.txt", "c.txt", "d.txt"}
    record = Record.parse((left / NAME).read_bytes(), NAME)
    assert set(promised) | {"d.txt"} <= set(record.texts)


def test_a_record_reads_as_it_was_written():
    record = Record()
    record.add(text("ü.txt"), MADE)
    record.add(text("b.txt", attestation="b.txt.attestation.json"), MADE)
    record.failed["../bad.wav"] = "'../bad.wav' is not audio"
    content = record.to_bytes()
    assert Record.parse(content, NAME) == record
    assert Record.parse(content, NAME).to_bytes() == content


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"airgap/run/v1", b"airgap/run/v2", "schema: expected airgap/run/v1"),
        (b'"a.txt"', b'"../a.txt"', "expected a file's name"),
        (b'"milliseconds": 11000', b'"milliseconds": 1.5', "is not an integer"),
        (b'"beam_size": 5', b'"beam_size": 6', "made_by"),
        (b'"damaged_packets"', b'"packets"', "'damaged_packets' is missing"),
        (b'"texts"', b'"texts": [], "texts"', "names a key twice"),
        (b"{", b"", "line 2"),
    ],
)
def test_a_record_that_is_none_stops_the_run(folder, old, new, why):
    record = folder / NAME
    content = record.read_bytes().replace(old, new, 1)
    record.write_bytes(content)
    with pytest.raises(UsageError, match=why) as refused, Ledger.opened(folder):
        pass
    assert "move it away" in refused.value.hint
    assert record.read_bytes() == content


def test_a_journal_that_is_none_stops_the_run(folder):
    (folder / JOURNAL).write_bytes(b'{"begin":["a.txt"]}\nanything\n')
    with pytest.raises(UsageError, match="is no journal of a run"), Ledger.opened(folder):
        pass


def test_a_planted_link_leads_nowhere(tmp_path):
    aim = tmp_path / "aim"
    aim.write_text("precious")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / JOURNAL).symlink_to(aim)
    with pytest.raises(AirgapError, match="cannot write into"), Ledger.opened(tmp_path / "texts"):
        pass
    (tmp_path / "texts" / JOURNAL).unlink()
    with Ledger.opened(tmp_path / "texts") as ledger:
        ledger.fail("../a.wav", "why")
        (tmp_path / "texts" / NAME).symlink_to(aim)
    assert aim.read_text() == "precious"
