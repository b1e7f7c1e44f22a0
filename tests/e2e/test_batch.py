"""A folder of recordings: done once, taken up after a kill, and its texts signed for."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import wave

import pytest

pytestmark = pytest.mark.heavy

RECORD = "airgap-run.json"
JOURNAL = ".airgap-run.journal"


@pytest.fixture(scope="session")
def speech(jfk, tmp_path_factory):
    """Kennedy's sentence in pieces of some seconds, in two folders."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "day").mkdir()
    with wave.open(str(jfk)) as whole:
        parameters, samples = whole.getparams(), whole.readframes(whole.getnframes())
    second = parameters.framerate * parameters.sampwidth * parameters.nchannels
    for number in range(6):
        place = folder / "day" if number % 2 else folder
        with wave.open(str(place / f"{number}.wav"), "wb") as piece:
            piece.setparams(parameters)
            piece.writeframes(samples[number * second : (number + 5) * second])
    return folder


@pytest.fixture
def recordings(speech, tmp_path):
    """The same, for a test to write beside."""
    return shutil.copytree(speech, tmp_path / "recordings")


def texts(folder):
    """Every text below a folder, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in {".txt", ".srt"}
    }


@pytest.fixture(scope="session")
def uninterrupted(demo_host, speech, tmp_path_factory):
    """The texts of a run that nobody disturbed."""
    out = tmp_path_factory.mktemp("uninterrupted")
    said = demo_host.airgap("transcribe", speech, "-f", "text", "-f", "srt", "--out", out)
    assert said.code == 0, said.err
    found = texts(out)
    assert len(found) == 12
    return found


def test_a_folder_beside_its_recordings(demo_host, recordings, uninterrupted):
    said = demo_host.airgap("transcribe", recordings, "-f", "text", "-f", "srt", "--jobs", "1")
    assert said.code == 0, said.err
    assert said.out == ""
    assert "6 recordings: 6 transcribed, 0 done before, 0 failed" in said.err
    assert "(6 of 6; 0:30 of 0:30 of audio, about 0:00 to go)" in said.err
    assert texts(recordings) == uninterrupted
    record = json.loads((recordings / "day" / RECORD).read_text())
    assert record["schema"] == "airgap/run/v1"
    assert [one["file"] for one in record["texts"]] == [
        *("1.srt", "1.txt", "3.srt", "3.txt", "5.srt", "5.txt")
    ]
    (made_by,) = record["made_by"].values()
    (mount,) = demo_host.airgap("list", "--json").document["mounts"]
    assert made_by["bundle"]["statement"] == mount["approval_code"].replace(" ", "")
    assert {one["made_by"] for one in record["texts"]} == set(record["made_by"])


def test_what_is_done_loads_no_model(demo_host, recordings):
    (recordings / "day/letter.mp3").write_text("Dear Sir or Madam,\n" * 500)
    assert demo_host.airgap("transcribe", recordings, "--attest").code == 1
    (recordings / "day/letter.mp3").unlink()
    before = (recordings / RECORD).read_bytes()
    again = demo_host.airgap("transcribe", recordings, "--attest")
    assert again.code == 0, again.err
    assert "6 recordings: 0 transcribed, 6 done before, 0 failed" in again.err
    assert "Model loaded" not in again.err
    assert (recordings / RECORD).read_bytes() == before
    assert json.loads((recordings / "day" / RECORD).read_text())["failed"] == {}


def test_what_cannot_be_opened_is_told_and_the_rest_is_done(demo_host, speech, tmp_path):
    out = tmp_path / "texts"
    odd = os.fsdecode(b"\xff.wav")
    named = ["missing.wav", "nowhere/a.wav", "/dev/null", odd, speech / "0.wav"]
    shutil.copy(speech / "0.wav", demo_host.folder / odd)
    try:
        said = demo_host.airgap("transcribe", *named, "--out", out)
    finally:
        (demo_host.folder / odd).unlink()
    assert said.code == 1
    assert "5 recordings: 1 transcribed, 0 done before, 4 failed" in said.err
    assert (
        "warning: cannot read 'missing.wav' as audio: No such file or directory; next: check the "
        "path, and that you may read it (1 of 5)\n"
    ) in said.err
    assert "'/dev/null' as audio: it is not a regular file; next: copy it into one" in said.err
    assert r"the name of '\udcff.wav' is not UTF-8; next: rename it" in said.err
    assert sorted(path.name for path in out.iterdir()) == ["0.txt", RECORD]
    failed = json.loads((out / RECORD).read_text())["failed"]
    assert {path.rpartition("/")[2] for path in failed} == {
        *("missing.wav", "a.wav", "null", r"\xff.wav")
    }


def test_where_none_can_be_opened_nothing_is_written_or_loaded(demo_host, tmp_path):
    missing = (tmp_path / "a.wav", tmp_path / "nowhere/b.wav")
    said = demo_host.airgap("transcribe", *missing)
    assert said.code == 1
    assert "error: 2 of 2 recordings failed: " in said.err
    assert "Model loaded" not in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_recordings_name_forges_no_line(demo_host, speech, tmp_path):
    name = "a\nerror: all of it failed"
    shutil.copy(speech / "0.wav", tmp_path / f"{name}.wav")
    (tmp_path / f"{name}.mp3").write_text("Dear Sir or Madam,\n" * 500)
    said = demo_host.airgap("transcribe", tmp_path / f"{name}.wav", tmp_path / f"{name}.mp3")
    assert said.code == 2, "both would become one text"
    (tmp_path / f"{name}.mp3").rename(tmp_path / f"b{name}.mp3")
    said = demo_host.airgap("transcribe", tmp_path)
    assert said.code == 1
    assert r"wrote " + str(tmp_path / r"a\nerror: all of it failed.txt") in said.err
    assert [line for line in said.err.splitlines() if line.startswith("error: all")] == []
    assert (tmp_path / f"{name}.txt").exists()


def test_what_is_done_is_skipped_until_something_else_is_asked(demo_host, recordings):
    run = ("transcribe", recordings, "-f", "text")
    assert demo_host.airgap(*run).code == 0
    mended = recordings / "0.txt"
    mended.write_text("mended by a person\n")
    (recordings / "day/1.txt").unlink()
    again = demo_host.airgap(*run)
    assert again.code == 0, again.err
    assert "6 recordings: 1 transcribed, 5 done before, 0 failed" in again.err
    other = demo_host.airgap(*run, "--beam-size", "2")
    assert other.code == 1
    told = "was changed since a run wrote it; next: move it away, or give another --out ("
    assert f"warning: '{mended}' {told}" in other.err
    assert "6 recordings: 5 transcribed, 0 done before, 1 failed" in other.err
    assert f"error: 1 of 6 recordings failed: '{recordings / '0.wav'}'" in other.err
    assert mended.read_text() == "mended by a person\n"


def test_what_fails_is_told_and_the_rest_is_done(demo_host, recordings, tmp_path):
    (recordings / "letter.mp3").write_text("Dear Sir or Madam,\n" * 500)
    (recordings / "day/3.txt").write_text("notes of my own\n")
    named = "\n".join([str(recordings), str(recordings / "0.wav")])
    said = demo_host.airgap("transcribe", "--from-file", "-", "-f", "text", stdin=named.encode())
    assert said.code == 1
    assert "7 recordings: 5 transcribed, 0 done before, 2 failed" in said.err
    assert f"warning: '{recordings / 'letter.mp3'}' is not audio that can be decoded: " in said.err
    assert "day/3.txt' is there already, and no run wrote it; next: move it away" in said.err
    assert (recordings / "day/3.txt").read_text() == "notes of my own\n"
    assert not (recordings / "letter.txt").exists()
    failed = json.loads((recordings / RECORD).read_text())["failed"]
    assert list(failed) == ["letter.mp3"]
    (recordings / "letter.mp3").unlink()
    (recordings / "day/3.txt").unlink()
    again = demo_host.airgap("transcribe", recordings)
    assert again.code == 0, again.err
    assert "6 recordings: 1 transcribed, 5 done before, 0 failed" in again.err


def test_two_recordings_with_one_name_are_told_before_anything(demo_host, recordings):
    shutil.copy(recordings / "0.wav", recordings / "0.flac")
    said = demo_host.airgap("transcribe", recordings)
    assert said.code == 2
    assert "would both be written to" in said.err
    assert texts(recordings) == {}
    assert not (recordings / RECORD).exists()


def test_two_runs_in_one_folder_do_not_mix(demo_host, speech, tmp_path):
    out = tmp_path / "texts"
    first = started(demo_host, speech, "--out", out, "--jobs", "1")
    try:
        while first.poll() is None and not texts(out):
            time.sleep(0.005)
        first.send_signal(signal.SIGSTOP)
        there = texts(out)
        second = demo_host.airgap("transcribe", speech, "--out", out)
        assert second.code == 2
        assert f"another run is writing into '{out}'" in second.err
        assert "next: wait until it has ended" in second.err
        assert texts(out) == there
    finally:
        first.send_signal(signal.SIGCONT)
    assert first.wait(300) == 0
    assert len(texts(out)) == 6


def test_a_disk_that_is_full_ends_the_run_and_leaves_it_whole(demo_host, speech, uninterrupted):
    """In a file system of four pages; where there is space again, the rest is done."""
    script = f"""
        mount -t tmpfs -o size=16k tmpfs /mnt || exit 98
        run="'{sys.executable}' -m airgap transcribe '{speech}' --out /mnt/texts --jobs 1"
        eval "$run"; echo "=$?"
        find /mnt -name '*.tmp' | grep . && exit 99
        cp -a /mnt/texts '{demo_host.folder}/full'
        mount -o remount,size=1m /mnt
        eval "$run"; echo "=$?"
        cp -a /mnt/texts '{demo_host.folder}/then'
    """
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        env=demo_host.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare failed" in done.stderr or done.returncode == 98:
        pytest.skip("needs a mount namespace: run as root")
    full, then = demo_host.folder / "full", demo_host.folder / "then"
    try:
        assert done.stdout.splitlines() == ["=1", "=0"], done.stderr
        assert done.stderr.count("No space left on device") == 1  # not once for each that is left
        assert "next: free some space, then run it again" in done.stderr
        alone = {name: text for name, text in uninterrupted.items() if name.endswith(".txt")}
        assert 0 < len(texts(full)) < len(alone)
        assert texts(full).items() < alone.items()
        assert texts(then) == alone
        assert list(then.rglob(JOURNAL)) == []
    finally:
        for folder in (full, then):
            shutil.rmtree(folder, ignore_errors=True)


def started(host, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "airgap", "transcribe", *map(str, arguments)],
        cwd=host.folder,
        env=host.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_killed_run_is_taken_up(*, demo_host, speech, uninterrupted, tmp_path, jobs):
    """Killed three times, each time at another moment; whatever lies there then is whole."""
    out = tmp_path / "texts"
    run = (speech, "-f", "text", "-f", "srt", "--out", out, "--jobs", jobs)
    chance = random.Random(int(jobs))  # noqa: S311 - a moment, no secret
    for after in (1, 3, 5):
        process = started(demo_host, *run)
        while process.poll() is None and len(texts(out)) < 2 * after - chance.randrange(2):
            time.sleep(0.005)
        time.sleep(chance.random() / 20)
        process.kill()
        process.wait()
        for name, content in texts(out).items():
            assert content == uninterrupted[name]
    again = demo_host.airgap("transcribe", *run)
    assert again.code == 0, again.err
    assert texts(out) == uninterrupted
    assert list(out.rglob("*.tmp")) == []
    assert list(out.rglob(JOURNAL)) == []
    done_before = int(again.err.partition(" done before")[0].rpartition(" ")[2])
    assert done_before >= 4
    for folder, count in ((out, 6), (out / "day", 6)):
        assert len(json.loads((folder / RECORD).read_text())["texts"]) == count


def test_an_interrupted_run_keeps_its_record(demo_host, speech, tmp_path):
    out = tmp_path / "texts"
    process = started(demo_host, speech, "--out", out, "--jobs", "1")
    while process.poll() is None and not texts(out):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == 130
    recorded = {
        one["file"] for path in out.rglob(RECORD) for one in json.loads(path.read_text())["texts"]
    }
    assert recorded == {path.rpartition("/")[2] for path in texts(out)}
    assert list(out.rglob(JOURNAL)) == []


# --- signed for ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def attested(demo_host, jfk, tmp_path_factory):
    """Kennedy's sentence in three formats, each with this host's signature. Do not change it."""
    out = tmp_path_factory.mktemp("attested")
    said = demo_host.airgap(
        *("transcribe", jfk, "--attest", "--out", out),
        *("-f", "srt", "-f", "json", "-f", "text"),
    )
    assert said.code == 0, said.err
    return out


@pytest.fixture
def answers(attested, tmp_path):
    """The same, for a test to change."""
    return shutil.copytree(attested, tmp_path / "answers")


@pytest.mark.parametrize("name", ["jfk.srt", "jfk.json", "jfk.txt"])
def test_a_signed_text_holds(demo_host, attested, jfk, name):
    said = demo_host.airgap("verify", "--response", attested / name, "--audio", jfk)
    assert said.code == 0, said.err
    (mount,) = demo_host.airgap("list", "--json").document["mounts"]
    assert f"{attested / name}: signed by this host on 20" in said.out
    assert "  bundle         demo-1.0.0\n" in said.out
    assert f"  approval code  {mount['approval_code']}\n" in said.out
    assert "tiny.en (Systran/faster-whisper-tiny.en@" in said.out
    alone = demo_host.airgap("verify", "--response", attested / name, "--json")
    assert alone.document["audio_compared"] is False
    assert alone.document["provenance"]["options"]["beam_size"] == 5


def flipped(path, at=20):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("jfk.srt", lambda text: text.replace("ask not", "ask now"), "do not fit: its content"),
        ("jfk.json", lambda text: text.replace("ask not", "ask now"), "its segments.text, text"),
        (
            "jfk.json",
            lambda text: text.replace('"start": 0.0', '"start": 0.1'),
            "its segments.start",
        ),
        ("jfk.json", lambda text: text.replace("tiny.en", "tiny.de"), "its airgap.models, model"),
    ],
)
def test_one_character_of_a_text_is_found(*, demo_host, answers, jfk, name, change, told):
    path = answers / name
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text))
    said = demo_host.airgap("verify", "--response", path, "--audio", jfk)
    assert said.code == 3
    assert told in said.err
    assert "the audio" not in said.err
    assert said.out == ""


def test_a_text_made_anew_without_a_signature_has_none(demo_host, jfk, tmp_path):
    """Beside it the old one would accuse whoever reads it, and stand in the way of a new one."""
    shutil.copyfile(jfk, tmp_path / "m.wav")
    beside, text = tmp_path / "m.srt.attestation.json", tmp_path / "m.srt"
    command = ("transcribe", tmp_path / "m.wav", "-f", "srt")
    assert demo_host.airgap(*command, "--attest").code == 0
    assert demo_host.airgap("verify", "--response", text).code == 0
    assert demo_host.airgap("transcribe", tmp_path, "-f", "srt", "--beam-size", "1").code == 0
    assert not beside.exists()
    unsigned = demo_host.airgap("verify", "--response", text)
    assert unsigned.code == 2
    assert "came without an attestation" in unsigned.err
    again = demo_host.airgap(*command, "--attest")
    assert again.code == 0, again.err
    assert demo_host.airgap("verify", "--response", text).code == 0


def test_one_bit_of_the_audio_is_found(demo_host, answers, jfk, tmp_path):
    audio = tmp_path / "jfk.wav"
    shutil.copyfile(jfk, audio)
    flipped(audio, 5000)
    said = demo_host.airgap("verify", "--response", answers / "jfk.srt", "--audio", audio)
    assert said.code == 3
    assert "these do not fit: the audio (expected SHA-256 " in said.err
    assert "its content" not in said.err


@pytest.mark.parametrize("part", ["payload", "sig", "keyid"])
def test_the_signature_itself_is_guarded(demo_host, answers, jfk, part):
    beside = answers / "jfk.srt.attestation.json"
    envelope = json.loads(beside.read_text())
    place = envelope if part == "payload" else envelope["signatures"][0]
    place[part] = place[part][:8] + ("B" if part != "keyid" else "0") * 2 + place[part][10:]
    beside.write_text(json.dumps(envelope, sort_keys=True, separators=(",", ":")))
    said = demo_host.airgap("verify", "--response", answers / "jfk.srt", "--audio", jfk)
    assert said.code == 3, said.err
    assert said.out == ""


def test_another_texts_signature_does_not_fit(demo_host, answers):
    other = answers / "jfk.txt.attestation.json"
    said = demo_host.airgap("verify", "--response", answers / "jfk.srt", "--attestation", other)
    assert said.code == 3
    assert "these do not fit: its content" in said.err


def test_elsewhere_the_host_is_enrolled_on_paper(demo_host, answers, jfk, make_host):
    elsewhere, path = make_host(), answers / "jfk.json"
    refused = elsewhere.airgap("verify", "--response", path)
    assert refused.code == 3
    assert "rule: attestation.key" in refused.err
    assert "--role attestation" in refused.err
    shown = demo_host.airgap("audit", "key", "--json").document
    add = ("trust", "add", shown["file"], "--signer", "ward-7")
    paper = ("--fingerprint", shown["fingerprint"])
    assert elsewhere.airgap(*add, *paper, "--role", "receipt").code == 0
    assert elsewhere.airgap("verify", "--response", path).code == 3, "another role"
    fresh = make_host()
    assert fresh.airgap(*add, *paper, "--role", "attestation").code == 0
    said = fresh.airgap("verify", "--response", path, "--audio", jfk)
    assert said.code == 0, said.err
    assert "signed by ward-7 on " in said.out
    by_key = elsewhere.airgap("verify", "--response", path, "--key", shown["file"])
    assert by_key.code == 0, by_key.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--audio", "a.wav"], "--audio and --attestation belong to a transcript"),
        (["BUNDLE", "--response", "a"], "--response looks at a transcript, and BUNDLE at a bundle"),
        (["--response", "a", "--deep"], "and --deep at a bundle"),
        (["--mounted", "--response", "a"], "--mounted looks at what is mounted, and --response"),
        (["--response", "missing"], "cannot read 'missing' as a transcript"),
        (["--response", "JFK"], "came without an attestation"),
        (["--response", "SRT", "--audio", "missing"], "cannot read 'missing'"),
    ],
)
def test_a_wrong_command_line_is_told(demo_host, attested, jfk, arguments, told):
    known = {"JFK": str(jfk), "SRT": str(attested / "jfk.srt")}
    said = demo_host.airgap("verify", *(known.get(one, one) for one in arguments))
    assert said.code == 2
    assert told in said.err
    assert said.out == ""


def test_the_key_is_asked_for_before_the_work(demo_host, make_host, demo_site, jfk, tmp_path):
    host = make_host()
    assert host.airgap("mount", demo_site.bundle).code == 0
    (host.root / "audit/host.key").chmod(0o644)
    said = host.airgap("transcribe", jfk, "--attest", "--out", tmp_path / "out")
    assert said.code == 1
    assert "others may read it; expected 0600" in said.err
    assert "Model loaded" not in said.err
    assert list((tmp_path / "out").iterdir()) == []
