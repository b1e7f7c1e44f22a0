"""Profiles: what reads, and each defect with its file, line, column and nearest right word."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap import limits
from airgap.errors import UsageError
from bundler.profile import Profile, WantedModel, find_profile, read_profile

GOOD = """\
profile: 1
name: my-site
description: Whisper large-v3 with speakers by NeMo
device: gpu
diarization: nemo
hash: sha384
expires_after_days: 365
models:
  - asr: large-v3
    revision: v1
  - speaker-embedding: titanet-large
  - vad: marblenet-frame-vad
  - sample: jfk
"""


def parse(text: str) -> Profile:
    return Profile.parse(text.encode(), "p.yaml")


def defects(text: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert caught.value.exit_code == 2
    return caught.value.message.splitlines()


def test_a_whole_profile_reads() -> None:
    assert parse(GOOD) == Profile(
        name="my-site",
        description="Whisper large-v3 with speakers by NeMo",
        device="gpu",
        diarization="nemo",
        hash="sha384",
        expires_after_days=365,
        models=(
            WantedModel("asr", "large-v3", "v1"),
            WantedModel("speaker-embedding", "titanet-large"),
            WantedModel("vad", "marblenet-frame-vad"),
            WantedModel("sample", "jfk"),
        ),
        sha256=hashlib.sha256(GOOD.encode()).hexdigest(),
    )


def test_what_is_optional_has_a_default() -> None:
    text = GOOD.replace("hash: sha384\n", "").replace("expires_after_days: 365\n", "")
    assert (parse(text).hash, parse(text).expires_after_days) == ("sha256", None)


def test_a_repository_of_the_hub_may_stand_for_a_name() -> None:
    profile = parse(GOOD.replace("asr: large-v3", "asr: My-Org/faster_whisper.v2"))
    assert profile.models[0].name == "My-Org/faster_whisper.v2"


@pytest.mark.parametrize(
    ("right", "wrong", "place", "said"),
    [
        ("device:", "devise:", "4:1", "unknown key 'devise' in the profile: did you mean 'device'"),
        ("diarization: n", "diarisation: n", "5:1", "did you mean 'diarization'?"),
        ("device: gpu", "device: gpus", "4:9", "expected cpu | gpu, found 'gpus': did you mean"),
        ("hash: sha384", "hash: md5", "6:7", "'hash': expected sha256 | sha384, found 'md5'"),
        ("name: my-site", "name: My Site", "2:7", "'name': expected up to 64 of a-z"),
        ("name: my-site", "name: 12", "2:7", "'name': expected text, found a whole number ('12')"),
        ("name: my-site", "name: no", "2:7", "expected text, found true or false ('no'); put it"),
        ("name: my-site", "name:", "2:6", "'name': expected text, found nothing"),
        ("name: my-site", "name: ''", "2:7", "'name': expected text, found nothing"),
        ("name: my-site", "name: [a]", "2:7", "'name': expected text, found a list"),
        ("profile: 1", "profile: 2", "1:10", "'profile' (the schema): expected 1 to 1, found 2"),
        ("profile: 1", "profile: one", "1:10", "expected a whole number, found text ('one')"),
        ("_days: 365", "_days: 0", "7:21", "'expires_after_days': expected 1 to 36500, found 0"),
        ("_days: 365", "_days: 1.5", "7:21", "expected a whole number, found a number ('1.5')"),
        ("_days: 365", "_days: 0365", "7:21", "expected a whole number, found '0365'"),
        ("_days: 365", "_days: 1:30", "7:21", "expected a whole number, found '1:30'"),
        ("_days: 365", "_days: true", "7:21", "found true or false ('true')"),
        ("asr: large-v3", "asr: large-v4", "9:10", "unknown model 'large-v4': did you mean 'large"),
        ("asr: large-v3", "asr: titanet-large", "9:10", "of role 'speaker-embedding', not 'asr'"),
        ("asr: large-v3", "asr: ../etc", "9:10", "'../etc' is not ORG/NAME of a repository"),
        ("asr: large-v3", "asr: o/..", "9:10", "'o/..' is not ORG/NAME of a repository"),
        ("asr: large-v3", "asr: o/a--b", "9:10", "'o/a--b' is not ORG/NAME of a repository"),
        ("asr: large-v3", "asr: a/b/c", "9:10", "'a/b/c' is not ORG/NAME of a repository"),
        ("asr: large-v3", "asr: o/" + "x" * 64, "9:10", "is not ORG/NAME of a repository"),
        ("asr: large-v3", "asrs: large-v3", "9:5", "unknown key 'asrs' in a model: did you mean"),
        ("revision: v1", "revision: a b", "10:15", "'revision': expected"),
        ("    revision", "  - revision", "10:5", "expected one role and its name, found no role"),
        ("    revision: v1", "    vad: x/y", "9:5", "one role and its name, found asr, vad"),
        ("sample: jfk", "sample: o/n", "13:13", "a sample is one of the catalog's"),
        ("- sample: jfk", "- jfk", "13:5", "a model: expected a mapping, found text ('jfk')"),
        ("vad: marblenet-frame-vad", "asr: large-v3", "12:5", "'large-v3' stands twice"),
    ],
)  # fmt: skip
def test_a_defect_names_its_place_and_the_right_word(
    right: str, wrong: str, place: str, said: str
) -> None:
    assert right in GOOD
    found = defects(GOOD.replace(right, wrong, 1))
    assert any(line.startswith(f"p.yaml:{place}: ") and said in line for line in found), found


@pytest.mark.parametrize(
    "key", ["profile", "name", "description", "device", "diarization", "models"]
)
def test_a_missing_key_is_named(key: str) -> None:
    lines = GOOD.splitlines(keepends=True)
    start = next(i for i, line in enumerate(lines) if line.startswith(f"{key}:"))
    end = len(lines) if key == "models" else start + 1
    assert f"p.yaml:1:1: the profile lacks '{key}'" in defects("".join(lines[:start] + lines[end:]))


def test_all_defects_come_at_once_in_order_of_place() -> None:
    found = defects(GOOD.replace("gpu", "gpuu").replace("nemo\n", "neemo\n").replace("jfk", "jfq"))
    assert [line.split(":")[1] for line in found] == ["4", "5", "13"]


def test_a_file_of_defects_ends_somewhere() -> None:
    found = defects("\n".join(f"k{i}: 1" for i in range(200)))
    assert len(found) == 51
    assert found[-1] == "… and 156 more"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nname: b\n", "p.yaml:2:1: 'name' stands twice in the profile"),
        ("a: &x 1\nb: *x\n", "p.yaml:1:4: anchors and aliases (&, *) are not read here"),
        ("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "anchors and aliases"),
        ("a: !!python/object/apply:os.system [x]\n", "p.yaml:1:4: tags (!) are not read here"),
        ("a: 1\n---\nb: 2\n", "p.yaml:2:1: a second document"),
        ("[" * 5000, "p.yaml:1:9: nested deeper than 8"),
        ("{a: " * 5000, "nested deeper than 8"),
        ("", "p.yaml:1:1: expected a mapping, found an empty file"),
        ("# only a comment\n", "found an empty file"),
        ("just words\n", "p.yaml:1:1: the profile: expected a mapping, found text"),
        ("- a\n", "p.yaml:1:1: the profile: expected a mapping, found a list"),
        ("name: [a\n", "not YAML"),
        ("name: 'a\n", "not YAML"),
        ("\tname: a\n", "p.yaml:1:1: not YAML"),
        ("? [a, b]\n: c\n", "a key of the profile: expected a word, found a list"),
        ("a: b\x00c", "not YAML"),
    ],
)
def test_yaml_tricks_are_refused(text: str, said: str) -> None:
    assert any(said in line for line in defects(text)), defects(text)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UsageError, match=r"'p\.yaml' is not UTF-8: byte 6"):
        Profile.parse(b"name: \xff", "p.yaml")


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_any_bytes_are_a_profile_or_a_usage_error(content: bytes) -> None:
    with contextlib.suppress(UsageError):
        Profile.parse(content, "p.yaml")


@given(st.integers(0, len(GOOD) - 1), st.sampled_from("x:\n -[{&*!'\"#0\t\x85\u2028%@"))
def test_any_one_wrong_character_is_a_profile_or_a_usage_error(at: int, wrong: str) -> None:
    with contextlib.suppress(UsageError):
        parse(GOOD[:at] + wrong + GOOD[at + 1 :])


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ("  - asr: tiny\n", "needs models of nemo: diarization, or speaker-embedding with vad"),
        ("  - asr: tiny\n  - vad: marblenet-frame-vad\n", "needs models of nemo"),
        ("  - asr: tiny\n  - diarization: community-1\n", "needs models of nemo"),
    ],
)
def test_who_promises_speakers_must_carry_their_models(models: str, said: str) -> None:
    head = GOOD[: GOOD.index("  - asr")]
    (found,) = defects(head + models)
    assert found.startswith("p.yaml:5:14: 'diarization: nemo' ")
    assert said in found


def test_a_speaker_model_of_the_hub_is_the_chosen_back_ends() -> None:
    head = GOOD[: GOOD.index("  - asr")]
    assert parse(head + "  - asr: tiny\n  - diarization: nvidia/sortformer\n").models


def test_a_profile_without_speech_recognition_is_refused() -> None:
    head = GOOD[: GOOD.index("  - asr")].replace("diarization: nemo", "diarization: none")
    assert defects(head + "  - sample: jfk\n") == [
        "p.yaml:9:3: 'models': expected one of role asr, found none"
    ]
    assert "expected at least one entry, found none" in defects(head[:-1] + " []\n")[0]


def test_a_shipped_profile_needs_no_path() -> None:
    path, profile = read_profile("demo")
    assert (path.name, profile.name) == ("demo.yaml", "demo")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no profile is named 'gpu-ful': did you mean 'gpu-full'"):
        find_profile("gpu-ful")
    with pytest.raises(
        UsageError, match="no profile is named 'zzz'; known are cpu-emotion"
    ) as said:
        find_profile("zzz")
    assert "a file of your own is named by its path: ./zzz.yaml" in str(said.value.hint)


def test_a_lock_is_no_profile() -> None:
    with pytest.raises(UsageError, match=r"no profile is named 'demo\.lock'"):
        find_profile("demo.lock")


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(GOOD)
    assert read_profile(str(tmp_path / "mine.yaml"))[1] == parse(GOOD)
    with pytest.raises(UsageError, match=r"cannot read '.*/none.yaml' as a profile: No such file"):
        read_profile(str(tmp_path / "none.yaml"))


def test_a_profile_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_text("#" * (limits.PROFILE_FILE + 1))
    with pytest.raises(UsageError, match="is too large for a profile: more than 1048576 bytes"):
        read_profile(str(tmp_path / "big.yaml"))
