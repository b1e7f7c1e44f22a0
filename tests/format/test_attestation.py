"""An attestation proves that one host made one transcript of one recording, and nothing else."""

import copy
import hashlib
import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap import attestation as attestations
from airgap.attestation import BYTES_FORM, PREDICATE_TYPE, Attestation, Transcribed
from airgap.checkpoint import Checkpoint
from airgap.envelope import Envelope
from airgap.errors import DamagedError, RefusedError, UntrustedError, UsageError
from airgap.host_key import HostKey
from airgap.provenance import Provenance, UsedModel
from airgap.receipt import Receipt
from airgap.response import Response
from airgap.statement import Statement

AUDIO = hashlib.sha256(b"RIFF").hexdigest()
MADE = Provenance(
    "ward",
    "1.0.0",
    "a" * 64,
    (
        UsedModel("tiny.en", "asr", "Systran/faster-whisper-tiny.en", "c" * 40),
        UsedModel("two-voices", "diarization", None, None),
    ),
    {"airgap": "1.0", "device": "cpu"},
    {"task": "transcribe", "beam_size": 5, "word_timestamps": False},
)
ANSWER = {
    "text": "Ask not. Grüße 👋",
    "duration": 11.0,
    "segments": [
        {"start": 0.0, "end": 1.25, "text": "Ask not.", "speaker": "SPEAKER_00"},
        {"start": 1.5, "end": 2.0, "text": "Grüße 👋", "speaker": "SPEAKER_01", "tokens": [1, 2]},
    ],
    "usage": {"type": "duration", "seconds": 11.0},
    "airgap": {**MADE.to_json(), "audio": {"sha256": AUDIO}},
}


@pytest.fixture
def key(tmp_path):
    return HostKey.of(tmp_path)


@pytest.fixture
def signed(key):
    """The answer's envelope, or another transcript's."""

    def signed(transcript=None, form="verbose_json"):
        return attestations.make(key, MADE, AUDIO, transcript or Transcribed.of_json(ANSWER), form)

    return signed


def test_what_it_says(key, signed):
    said = attestations.check(signed(), [key.public])
    assert (said.audio, said.format, said.host) == (AUDIO, "verbose_json", key.public.key_id)
    assert said.provenance == MADE
    value = json.loads(said.statement())
    assert value["_type"] == "https://in-toto.io/Statement/v1"
    assert value["predicateType"] == PREDICATE_TYPE
    assert [one["name"] for one in value["subject"]] == ["audio", "transcript"]
    assert Attestation.parse(said.statement()) == said
    assert "Grüße" not in said.statement().decode("unicode_escape")


def changed(path, value):
    """The answer with one place of it set to something else."""
    document = copy.deepcopy(ANSWER)
    place = document
    for part in path[:-1]:
        place = place[part]
    assert place.get(path[-1]) != value
    place[path[-1]] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "part"),
    [
        (["text"], "Ask now. Grüße 👋", "text"),
        (["duration"], 11.000000000000002, "duration"),
        (["segments", 0, "start"], 0.001, "segments.start"),
        (["segments", 1, "end"], 2.0000000000000004, "segments.end"),
        (["segments", 1, "text"], "Grüsse 👋", "segments.text"),
        (["segments", 1, "speaker"], "SPEAKER_00", "segments.speaker"),
        (["segments", 1, "tokens"], [1, 3], "segments.tokens"),
        (["segments", 0, "note"], "", "segments.note"),
        (["usage", "seconds"], 12, "usage.seconds"),
        (["airgap", "bundle", "version"], "1.0.1", "airgap.bundle"),
        (["airgap", "bundle", "statement"], "b" * 64, "airgap.bundle"),
        (["airgap", "models", 0, "commit"], "d" * 40, "airgap.models"),
        (["airgap", "options", "beam_size"], 6, "airgap.options"),
        (["airgap", "engine", "device"], "cuda", "airgap.engine"),
        (["airgap", "audio", "sha256"], "b" * 64, "airgap.audio"),
        (["more"], 1, "more"),
    ],
)
def test_a_change_is_found_and_its_part_named(*, key, signed, path, value, part):
    said = attestations.check(signed(), [key.public])
    found = Transcribed.of_json(changed(path, value))
    assert said.transcript.differing(found) == [part]
    with pytest.raises(DamagedError, match=rf"do not fit: its {part}$") as refused:
        attestations.require_fits(said, found, AUDIO, "answer.json")
    assert refused.value.rule == "attestation.transcript"


def test_a_segment_less_and_another_order_are_found(key, signed):
    said = attestations.check(signed(), [key.public])
    for rows in ([], ANSWER["segments"][:1], ANSWER["segments"][::-1]):
        differing = said.transcript.differing(Transcribed.of_json({**ANSWER, "segments": rows}))
        assert all(part.startswith("segments") for part in differing)
        assert differing


@given(st.data())
def test_no_two_documents_have_one_digest_by_their_parts(data):
    """The parts explain; the whole decides: whatever differs is found, though no part may say."""
    values = st.recursive(
        st.integers(0, 2) | st.sampled_from(["", "a"]),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["a", "b", "a.b"]), inner, max_size=2)
        ),
    )
    documents = st.dictionaries(st.sampled_from(["a", "b", "a.b"]), values, max_size=3)
    one, other = data.draw(documents), data.draw(documents)
    same = Transcribed.of_json(one).differing(Transcribed.of_json(other)) == []
    assert same == (one == other)


def test_the_audio_is_named_as_well(key, signed):
    said = attestations.check(signed(), [key.public])
    whole = Transcribed.of_json(ANSWER)
    attestations.require_fits(said, whole, None, "answer.json")
    with pytest.raises(DamagedError, match=r"do not fit: the audio \(expected SHA-256") as refused:
        attestations.require_fits(said, whole, "b" * 64, "answer.json")
    assert refused.value.rule == "attestation.audio"
    with pytest.raises(DamagedError, match="its text; the audio"):
        attestations.require_fits(
            said, Transcribed.of_json(changed(["text"], "")), "b" * 64, "answer.json"
        )


def test_a_text_is_signed_byte_for_byte(key, signed):
    said = attestations.check(signed(Transcribed.of_bytes(b"1\n"), "srt"), [key.public])
    assert said.transcript.form == BYTES_FORM
    attestations.require_fits(said, Transcribed.of_bytes(b"1\n"), AUDIO, "a.srt")
    with pytest.raises(DamagedError, match=r"its content$"):
        attestations.require_fits(said, Transcribed.of_bytes(b"1\r\n"), AUDIO, "a.srt")


@settings(max_examples=300)
@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_every_bit_of_the_envelope_counts(tmp_path_factory, at, bit):
    folder = tmp_path_factory.getbasetemp() / "attesting"
    folder.mkdir(exist_ok=True)
    key = HostKey.of(folder)
    content = bytearray(
        attestations.make(key, MADE, AUDIO, Transcribed.of_json(ANSWER), "json").to_json()
    )
    content[at % len(content)] ^= 1 << bit
    with pytest.raises(RefusedError):
        attestations.check(Envelope.from_json(bytes(content)), [key.public])


def test_another_host_is_not_this_one(tmp_path, key, signed):
    other = HostKey.of(tmp_path / "other")
    with pytest.raises(UntrustedError, match="expected a signature of") as refused:
        attestations.check(signed(), [other.public])
    assert refused.value.rule == "attestation.key"
    assert "--role attestation" in refused.value.hint
    with pytest.raises(UntrustedError, match="with the role attestation, and there is none"):
        attestations.check(signed(), [])
    # Enrolled as well, it still cannot speak in this one's name.
    forged = other.sign(Envelope(signed().statement, ()))
    with pytest.raises(UntrustedError, match="it speaks for the host") as refused:
        attestations.check(forged, [other.public, key.public])
    assert refused.value.rule == "attestation.host"


def test_no_kind_of_statement_stands_for_another(key, signed):
    with pytest.raises(UntrustedError):
        Receipt.parse(signed().statement)
    with pytest.raises(UntrustedError):
        Checkpoint.parse(signed().statement)
    with pytest.raises(UntrustedError):
        Statement.parse(signed().statement)
    checkpoint = Checkpoint(1, "0" * 64, "2026-01-01T00:00:00Z").sign(key)
    with pytest.raises(UntrustedError, match="expected a statement of the type") as refused:
        attestations.check(checkpoint, [key.public])
    assert refused.value.rule == "attestation.predicate"


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value["predicate"].update(more=1),
        lambda value: value["predicate"].pop("time"),
        lambda value: value["predicate"].update(form="sorted"),
        lambda value: value["predicate"]["provenance"]["options"].update(beam_size=None),
        lambda value: value["predicate"]["provenance"]["bundle"].update(name="../ward"),
        lambda value: value["predicate"]["parts"].update(text="no digest"),
        lambda value: value["subject"].reverse(),
        lambda value: value["subject"].pop(),
        lambda value: value["subject"].append(value["subject"][0]),
        lambda value: value.update(_type="https://in-toto.io/Statement/v0.1"),
    ],
)
def test_what_is_not_understood_is_refused_though_it_is_signed(key, signed, change):
    value = json.loads(signed().statement)
    change(value)
    content = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(UntrustedError) as refused:
        attestations.check(key.sign(Envelope(content, ())), [key.public])
    assert refused.value.rule == "attestation.form"


# --- the transcript in a file ------------------------------------------------------------------


def embedded(envelope):
    return {**ANSWER, "attestation": json.loads(envelope.to_json())}


@pytest.mark.parametrize("options", [{}, {"indent": 2, "sort_keys": True}, {"ensure_ascii": False}])
def test_json_may_be_reformatted(tmp_path, key, signed, options):
    path = tmp_path / "answer.json"
    path.write_text(json.dumps(embedded(signed()), **options))
    response = Response.read(path, None)
    said = attestations.check(response.envelope, [key.public])
    attestations.require_fits(said, response.transcribed(said.transcript.form), AUDIO, str(path))


def test_the_file_beside_goes_before_the_member(tmp_path, key, signed):
    path = tmp_path / "answer.json"
    path.write_text(json.dumps(embedded(signed())))
    beside = tmp_path / "answer.json.attestation.json"
    beside.write_bytes(signed().to_json() + b"\r\n")  # as a shell takes it out of a header
    response = Response.read(path, None)
    said = attestations.check(response.envelope, [key.public])
    attestations.require_fits(said, response.transcribed(said.transcript.form), None, str(path))


def test_what_no_digest_covers_is_refused(tmp_path, key, signed):
    """The member `attestation`, where another envelope is what the file is checked by."""
    path = tmp_path / "answer.json"
    (tmp_path / "answer.json.attestation.json").write_bytes(signed().to_json())
    other = signed(Transcribed.of_bytes(b"another"), "srt").to_json()
    for member in ("anything", None, json.loads(other), json.loads(signed().to_json()) | {"a": 1}):
        path.write_text(json.dumps({**ANSWER, "attestation": member}))
        with pytest.raises(DamagedError, match="holds another 'attestation'") as refused:
            Response.read(path, None).transcribed("rfc8785")
        assert refused.value.rule == "attestation.transcript"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("11.0", "NaN", 1),
        lambda text: text.replace("11.0", "1e400", 1),
        lambda text: text.replace("11.0", "11" + "0" * 30, 1),
        lambda text: text.replace('"duration": 11.0', '"duration": 11.0, "duration": 11.0'),
        lambda text: text.replace("Ask", "\\ud800Ask", 1),
        lambda text: f"\ufeff{text}",
        lambda text: f"{text}{{}}",
        lambda text: "[" * 100_000,
    ],
)
def test_json_that_two_readers_may_read_in_two_ways_is_refused(tmp_path, signed, change):
    path = tmp_path / "answer.json"
    (tmp_path / "answer.json.attestation.json").write_bytes(signed().to_json())
    text = json.dumps(ANSWER)
    assert change(text) != text
    path.write_text(change(text))
    with pytest.raises(DamagedError, match="was signed as JSON, and is none"):
        Response.read(path, None).transcribed("rfc8785")


def test_letters_of_another_normal_form_are_others(key, signed):
    said = attestations.check(signed(), [key.public])
    decomposed = unicodedata.normalize("NFD", ANSWER["text"])
    found = Transcribed.of_json({**ANSWER, "text": decomposed})
    assert said.transcript.differing(found) == ["text"]


@pytest.mark.parametrize("content", [b"1\n00:00", b"[]", b"{}", b"{", b'{"text":"a","text":"b"}'])
def test_without_an_attestation_nothing_is_said(tmp_path, content):
    path = tmp_path / "answer.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="came without an attestation") as refused:
        Response.read(path, None)
    assert "--attestation FILE" in refused.value.hint


@pytest.mark.parametrize("member", ["x", None, {}, {"payload": "", "payloadType": "x"}])
def test_a_member_that_is_no_envelope_is_refused(tmp_path, member):
    path = tmp_path / "answer.json"
    path.write_text(json.dumps({**ANSWER, "attestation": member}))
    with pytest.raises(UntrustedError, match="holds no attestation"):
        Response.read(path, None)


def test_json_that_is_none_any_more_is_damaged(tmp_path, signed):
    path = tmp_path / "answer.json"
    path.write_text('{"text":')
    beside = tmp_path / "answer.json.attestation.json"
    beside.write_bytes(signed().to_json())
    with pytest.raises(DamagedError, match="was signed as JSON, and is none"):
        Response.read(path, None).transcribed("rfc8785")
