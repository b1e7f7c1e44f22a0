"""Profile -> Lock against a hub on loopback, spoken to by the real huggingface_hub."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airgap.errors import AirgapError, UsageError
from bundler.changes import Change
from bundler.fetch import fetch
from bundler.lock import Lock, LockedFile
from bundler.locking import lock_profile, next_version
from bundler.profile import Profile
from bundler.sources import Access
from bundler.sources.huggingface import HuggingFace
from bundler.sources.local import Local
from bundler.sources.pypi import Pypi
from bundler.terms import Terms, announce

REPOSITORY = "Systran/faster-whisper-tiny"

PROFILE = """\
profile: 1
name: my-site
description: A Whisper
device: cpu
diarization: none
models:
- asr: tiny
"""

Cached = Callable[[], list[str]]


def parse(text: str = PROFILE) -> Profile:
    return Profile.parse(text.encode(), "p.yaml")


@pytest.fixture(autouse=True)
def at_a_fixed_time(quiet_surroundings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767323045")


@pytest.fixture
def locked(whisper: Any, access: Access) -> Lock:
    return lock_profile(parse(), None, access).lock


def test_a_lock_pins_every_file_that_the_engine_loads(locked: Lock, kit: Any) -> None:
    (model,) = locked.models
    assert (model.id, model.role, model.engine) == ("tiny", "asr", "faster-whisper")
    assert (model.repository, model.commit) == (REPOSITORY, kit.COMMIT)
    assert (model.licence, model.gated) == ("MIT", False)
    assert model.sources == (HuggingFace(REPOSITORY),)
    assert model.files == tuple(
        LockedFile(
            path,
            len(kit.WHISPER[path]),
            kit.sha256(kit.WHISPER[path]),
            None if path == "model.bin" else kit.git_blob(kit.WHISPER[path]),
        )
        for path in ("config.json", "model.bin", "tokenizer.json", "vocabulary.txt")
    )
    assert locked.missing() == []
    assert (locked.name, locked.version, locked.sequence) == ("my-site", "1.0.0", 1)
    assert locked.created == "2026-01-02T03:04:05Z"


def test_large_files_are_not_downloaded_to_be_locked(locked: Lock, hub: Any) -> None:
    assert not any("model.bin" in path for _, path in hub.asked)


def test_what_was_downloaded_to_be_locked_is_there_for_the_build(
    locked: Lock, hub: Any, access: Access
) -> None:
    hub.asked.clear()
    fetch(locked, access)
    assert {path.rpartition("/")[2] for _, path in hub.asked} == {"model.bin"}


def test_locking_again_changes_nothing(locked: Lock, access: Access, hub: Any) -> None:
    hub.asked.clear()
    again = lock_profile(parse(), locked, access)
    assert again.lock is locked
    assert again.changes == ()
    assert not any("resolve" in path for _, path in hub.asked)  # known blobs are not downloaded


def test_two_locks_of_one_state_are_the_same_bytes(
    locked: Lock, access: Access, tmp_path: Path
) -> None:
    assert lock_profile(parse(), None, access).lock.to_bytes() == locked.to_bytes()


def test_a_change_raises_version_and_sequence_and_is_told(
    locked: Lock, access: Access, whisper: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767323046")
    del whisper.files["vocabulary.txt"]
    whisper.files |= {"vocabulary.json": b"[]", "config.json": b'{"a": 2}'}
    whisper.commit = "f" * 40
    new = lock_profile(parse(), locked, access)
    assert (new.lock.version, new.lock.sequence) == ("1.0.1", 2)
    assert new.lock.created == "2026-01-02T03:04:06Z"
    old, now = kit.sha256(kit.WHISPER["config.json"]), kit.sha256(b'{"a": 2}')
    assert new.changes == (
        Change("tiny commit", kit.COMMIT, "f" * 40),
        Change("tiny/config.json", f"8 B sha256 {old}", f"8 B sha256 {now}"),
        Change("tiny/vocabulary.json", None, f"2 B sha256 {kit.sha256(b'[]')}"),
        Change(
            "tiny/vocabulary.txt",
            f"4 B sha256 {kit.sha256(kit.WHISPER['vocabulary.txt'])}",
            None,
        ),
    )


def test_a_changed_profile_makes_a_new_lock(locked: Lock, access: Access) -> None:
    changed = parse(PROFILE + "# a comment\n")
    new = lock_profile(changed, locked, access)
    assert (new.lock.sequence, new.lock.profile_sha256) == (2, changed.sha256)
    assert [change.what for change in new.changes] == ["profile"]


def test_a_model_that_comes_or_goes_is_told(locked: Lock, access: Access) -> None:
    wider = lock_profile(parse(PROFILE + "- sample: jfk\n"), locked, access)
    assert str(wider.changes[0]) == "+ jfk  pypi pywhispercpp==1.5.1, 1 file, 352.1 kB"
    narrower = lock_profile(parse(), wider.lock, access)
    assert str(narrower.changes[0]) == "- jfk  pypi pywhispercpp==1.5.1"


def test_version_and_sequence_may_be_given(locked: Lock, access: Access) -> None:
    new = lock_profile(parse(), locked, access, version="2.0", sequence=40).lock
    assert (new.version, new.sequence) == ("2.0", 40)
    first = lock_profile(parse(), None, access, version="2.0", sequence=40).lock
    assert (first.version, first.sequence) == ("2.0", 40)


@pytest.mark.parametrize(
    ("version", "after"),
    [("1.0.0", "1.0.1"), ("1.9", "1.10"), ("2026b", "2027b"), ("beta", "beta.1"), ("7", "8")],
)
def test_the_next_version_raises_the_last_number(version: str, after: str) -> None:
    assert next_version(version) == after


def test_sources_that_a_person_added_stay_while_the_digests_do(
    locked: Lock, access: Access, whisper: Any
) -> None:
    sources = (Local("/models"), HuggingFace(REPOSITORY))
    edited = replace(locked, models=(replace(locked.models[0], sources=sources),))
    assert lock_profile(parse(), edited, access).lock is edited
    whisper.commit = "f" * 40
    assert lock_profile(parse(), edited, access).lock.models[0].sources == sources
    whisper.files["model.bin"] = b"new"
    changed = lock_profile(parse(), edited, access)
    assert changed.lock.models[0].sources == (HuggingFace(REPOSITORY),)
    assert Change("tiny source", "local /models", None) in changed.changes


def test_a_known_mirror_serves_the_commit_that_it_copied(
    hub: Any, access: Access, kit: Any
) -> None:
    name = "Systran/faster-whisper-tiny.en"
    copied = "0d3d19a32d3338f10357c0889762bd8d64bbdeba"
    hub.repositories[name] = kit.HubRepository(dict(kit.WHISPER), commit=copied)
    profile = parse(PROFILE.replace("tiny", "tiny.en"))
    model = lock_profile(profile, None, access).lock.models[0]
    assert [type(source) for source in model.sources] == [Pypi, HuggingFace]
    hub.repositories[name].commit = kit.COMMIT
    assert lock_profile(profile, None, access).lock.models[0].sources == (HuggingFace(name),)


def test_a_revision_is_resolved(whisper: Any, access: Access, hub: Any) -> None:
    lock_profile(parse(PROFILE + "  revision: v1\n"), None, access)
    assert any("/revision/v1" in path for _, path in hub.asked)
    with pytest.raises(AirgapError, match=f"'{REPOSITORY}' has no such revision"):
        lock_profile(parse(PROFILE + "  revision: v2\n"), None, access)


def test_a_repository_of_ones_own(
    hub: Any, access: Access, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["Acme/Our.Whisper"] = kit.HubRepository(
        dict(kit.WHISPER) | {"LICENSE": b"ours"}, licence="apache-2.0", gated="manual"
    )
    text = PROFILE.replace("asr: tiny", "asr: Acme/Our.Whisper")
    monkeypatch.setenv("HF_TOKEN", kit.GOOD_TOKEN)
    model = lock_profile(parse(text), None, access).lock.models[0]
    assert (model.id, model.licence, model.gated) == ("acme--our.whisper", "Apache-2.0", True)
    assert "LICENSE" in [file.path for file in model.files]


@pytest.mark.parametrize("needed", ["config.json", "model.bin", "tokenizer.json", "vocabulary.txt"])
def test_a_repository_that_would_send_the_engine_to_the_hub_is_refused(
    needed: str, whisper: Any, access: Access, cached: Cached
) -> None:
    del whisper.files[needed]
    said = re.escape(needed.replace(".txt", ".*"))
    with pytest.raises(AirgapError, match=f"cannot be loaded by faster-whisper .* no {said}"):
        lock_profile(parse(), None, access)
    assert cached() == []


def test_large_v3_without_its_preprocessor_is_refused(hub: Any, access: Access, kit: Any) -> None:
    hub.repositories["Systran/faster-whisper-large-v3"] = kit.HubRepository(dict(kit.WHISPER))
    with pytest.raises(AirgapError, match=r"no preprocessor_config\.json"):
        lock_profile(parse(PROFILE.replace("tiny", "large-v3")), None, access)


MOODS = f"{PROFILE}- emotion: tiny/moods\n"
MOOD_FILES = {
    "config.json": b"{}",
    "preprocessor_config.json": b"{}",
    "pytorch_model.bin": b"pickled",
    "vocab.json": b"{}",
}


def test_pickled_weights_are_locked_only_where_there_are_no_others(
    whisper: Any, hub: Any, access: Access, kit: Any
) -> None:
    files = MOOD_FILES | {"model.safetensors": b"safe"}
    hub.repositories["tiny/moods"] = kit.HubRepository(files)
    moods = lock_profile(parse(MOODS), None, access).lock.models[1]
    assert (moods.role, moods.engine) == ("emotion", "transformers")
    assert [file.path for file in moods.files] == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    del files["model.safetensors"]
    moods = lock_profile(parse(MOODS), None, access).lock.models[1]
    assert "pytorch_model.bin" in [file.path for file in moods.files]


def test_an_emotion_model_without_weights_is_refused(
    whisper: Any, hub: Any, access: Access, kit: Any
) -> None:
    files = {"config.json": b"{}", "preprocessor_config.json": b"{}", "flax_model.msgpack": b""}
    hub.repositories["tiny/moods"] = kit.HubRepository(files)
    with pytest.raises(AirgapError, match=r"no model\.safetensors or pytorch_model\.bin \(found"):
        lock_profile(parse(MOODS), None, access)


def test_a_small_file_that_differs_from_the_hubs_list_is_refused(
    whisper: Any, access: Access, kit: Any, cached: Cached
) -> None:
    whisper.served["config.json"] = kit.Reply(200, b'{"b": 1}')
    with pytest.raises(AirgapError, match="is not what the hub lists") as caught:
        lock_profile(parse(), None, access)
    assert kit.git_blob(kit.WHISPER["config.json"]) in caught.value.message
    assert kit.git_blob(b'{"b": 1}') in caught.value.message
    assert cached() == []


def test_a_model_that_is_gone_is_named(hub: Any, access: Access) -> None:
    with pytest.raises(AirgapError, match=f"'{REPOSITORY}' is not on the hub, or is private"):
        lock_profile(parse(), None, access)


def test_a_gated_model_cannot_be_locked_without_its_terms(
    whisper: Any, access: Access, hub: Any
) -> None:
    whisper.gated = "auto"
    with pytest.raises(AirgapError, match="is gated") as caught:
        lock_profile(parse(), None, access)
    assert f"{hub.url}/{REPOSITORY}" in str(caught.value.hint)


def test_the_lock_records_the_terms_that_were_accepted(
    whisper: Any, access: Access, hub: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", kit.GOOD_TOKEN)
    whisper.gated, whisper.card = "auto", {"extra_gated_prompt": "Be kind."}
    first = lock_profile(parse(), None, access).lock
    page = f"{hub.url}/{REPOSITORY}"
    assert first.models[0].terms == Terms(page, "auto", kit.sha256(b"Be kind."))
    assert Lock.parse(first.to_bytes(), "l") == first
    whisper.gated, whisper.card = (
        "manual",
        {"extra_gated_prompt": "Pay.", "extra_gated_heading": "H"},
    )
    second = lock_profile(parse(), first, access)
    assert second.lock.models[0].terms == Terms(page, "manual", kit.sha256(b"H\n\nPay."))
    [change] = [str(one) for one in second.changes]
    assert change.startswith(f"~ tiny terms  {page} (auto, sha256 ")
    assert second.lock.sequence == first.sequence + 1
    whisper.card = {"extra_gated_prompt": 1}
    third = lock_profile(parse(), second.lock, access).lock
    assert third.models[0].terms == Terms(page, "manual", None)


def test_a_build_says_whose_terms_hold(capsys: Any) -> None:
    announce([("open", None), ("shut", Terms("https://h/o/m", "manual", None))])
    told = capsys.readouterr().err.splitlines()
    terms = "https://h/o/m (manual, no text in the model card)"
    assert told == [f"Terms hold for shut, also behind the gap: {terms}"]


def test_a_hub_that_answers_nonsense(hub: Any, access: Access, kit: Any) -> None:
    for body in (b"<html>", b"[]", b'{"siblings": 1}', b"null"):
        hub.answer = lambda *_, body=body: kit.Reply(200, body)
        with pytest.raises(AirgapError, match=r"the hub at http://127\.0\.0\.1:\d+ failed"):
            lock_profile(parse(), None, access)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("LICENSE/../../x.json", "'LICENSE/../../x.json' has the part '..'"),
        ("NOTICE\\x", "which is not a plain character everywhere"),
        ("license", None),
        ("LICENSE/x", None),
    ],
)
def test_a_hub_that_lists_what_no_repository_holds(
    *, path: str, said: str | None, whisper: Any, access: Access, cached: Cached
) -> None:
    whisper.files[path] = b"x"
    if said is None:  # the engine does not want it, or it is plain
        assert lock_profile(parse(), None, access).lock.missing() == []
        return
    with pytest.raises(AirgapError, match=re.escape(said)):
        lock_profile(parse(), None, access)
    assert cached() == []


def test_a_hub_that_names_no_commit_is_refused(whisper: Any, access: Access) -> None:
    whisper.commit = "../../etc"
    with pytest.raises(AirgapError, match=r"the commit '\.\./\.\./etc' is not of 40 hex digits"):
        lock_profile(parse(), None, access)


def test_a_time_that_is_none(whisper: Any, access: Access, monkeypatch: Any) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(UsageError, match="expected seconds since 1970, found 'yesterday'"):
        lock_profile(parse(), None, access)
