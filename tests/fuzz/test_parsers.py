"""What an attacker's bytes reach, each parser as a property over bytes.

Either the bytes are refused with an error of ours, or they give an object whose own
serialisation is exactly these bytes. Nothing else comes out: no other exception, no second form.

Every property starts from a real part of the frozen bundle and edits it, since bytes out of thin
air never get past the first check. For a longer run than the suite's, by hand:

    FUZZ_EXAMPLES=100000 python -m pytest tests/fuzz

Each property also is a target for a coverage-guided fuzzer, through `.hypothesis.fuzz_one_input`.
"""

import json
import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from airgap import frames, limits, policy_file, strict_json
from airgap.accepted import Accepted, Last
from airgap.attestation import Attestation, Transcribed
from airgap.envelope import Envelope
from airgap.errors import RefusedError, UsageError
from airgap.frames import FRAME_MAGIC, Table
from airgap.keys import load_public_keys, lowest_form
from airgap.manifest import Manifest
from airgap.paths import collisions, member_defect
from airgap.provenance import Provenance, UsedModel
from airgap.statement import Statement
from runtime.batch.record import Record, Text

bounded = settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "200")), deadline=None)

BUNDLES = Path(__file__).parents[1] / "data/bundles"
BUNDLE = (BUNDLES / "v1-minimal.tar.zst").read_bytes()
HEAD = BUNDLE[: limits.HEAD_SLOT]
STATEMENT = Envelope.from_head(HEAD).statement
TABLE = BUNDLE[65544 : 65544 + 112]
STORED = BUNDLE[-287:]
FIRST = frames.decompress(BUNDLE[65656:66423], 2048, "frame 0")
MANIFEST = FIRST[512 : 512 + 1525]
KEYS = load_public_keys((BUNDLES / "v1-minimal.ed25519.pub").read_bytes(), "x")
PEM = KEYS[0].pem.encode()
POLICY = f"""\
policy: 1
version: 3
threshold: 1
bundles: ["*"]
expired: serve
signers:
  alice:
    algorithms: [ed25519]
    keys:
      {KEYS[0].key_id}: {{roles: [bundle], expires: "2030-01-01T00:00:00Z"}}
""".encode()
ACCEPTED = Accepted({"demo": Last(1, "0" * 64, "2026-01-01T00:00:00Z")}).to_bytes()

MADE = Provenance(
    "demo", "1.0.0", "a" * 64, (UsedModel("tiny.en", "asr", None, None),), {"airgap": "1"}, {"n": 5}
)
ATTESTATION = Attestation(
    "b" * 64,
    Transcribed.of_json({"text": "a", "segments": [{"start": 0.5}]}),
    "verbose_json",
    MADE,
    "2026-01-01T00:00:00Z",
    KEYS[0].key_id,
).statement()
WRITTEN = Record()
WRITTEN.add(
    Text(
        "a.txt", "text", *("c" * 64, "a.wav", "b" * 64), 9, 0, MADE.id, "2026-01-01T00:00:00Z", None
    ),
    MADE,
)
RUN = WRITTEN.to_bytes()

PIECES = [
    *(b'{}[]",:\\ \n\t\0\xff'[at : at + 1] for at in range(13)),
    *(b"null", b"true", b"-1", b"1.5", b"1e9", b"NaN", b"9" * 30, b"\\ud800", b"\\u0000"),
    *(b'"sequence"', b'"path"', b'"../x"', b"\xef\xbb\xbf", b"[" * 20, b"==", b"\xc3\xa9"),
    *(b"&a ", b"*a", b"!!int ", b"---\n", b"? ", b"<<: ", b"- ", b"|\n ", b"\xed\xa0\x80"),
]


@st.composite
def edited(draw, seed, reach=None):
    """A seed with one to four pieces of it overwritten, put in, taken out or doubled."""
    content = bytearray(seed)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, min(len(content), reach or len(content))))
        until = min(at + draw(st.integers(0, 12)), len(content))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=8))
        match draw(st.sampled_from(["overwrite", "insert", "delete", "double"])):
            case "overwrite":
                content[at : at + len(piece)] = piece
            case "insert":
                content[at:at] = piece
            case "delete":
                del content[at:until]
            case _:
                content[at:at] = content[at:until]
    return bytes(content)


@st.composite
def edited_json(draw, seed, render):
    """A seed whose JSON was edited as a value, then rendered in its canonical form."""
    value = json.loads(seed)
    place = value
    for _ in range(draw(st.integers(0, 4))):
        inner = list(place.values() if isinstance(place, dict) else place)
        deeper = [one for one in inner if isinstance(one, dict | list) and one]
        if not deeper:
            break
        place = draw(st.sampled_from(deeper))
    key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    place[key] = draw(ODD)
    return render(value)


ODD = st.recursive(
    st.sampled_from(
        [None, True, False, 0, -1, 7, 1 << 53, (1 << 53) + 1, "", "x", "hf/x", "..", []]
    )
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner),
    max_leaves=4,
)


def outcome(parse, *arguments):
    """What a parser gives, and the rule by which it refuses; one of the two is None."""
    try:
        return parse(*arguments), None
    except RefusedError as error:
        return None, error.rule


def test_the_seeds_are_sound():
    """Unedited, each is accepted: the properties below start where parsing succeeds."""
    assert Statement.parse(STATEMENT).to_bytes() == STATEMENT
    assert Table.parse(TABLE, "sha256", 2).to_bytes() == TABLE
    assert Manifest.parse(MANIFEST).to_bytes() == MANIFEST
    assert len(frames.decompress(STORED, 5120, "frame 1")) == 5120
    assert read_policy(POLICY).signers["alice"].keys.keys() == {KEYS[0].key_id}


@given(edited(ATTESTATION) | edited_json(ATTESTATION, strict_json.compact))
@bounded
def test_an_attestation_is_refused_or_in_its_one_form(content):
    said, refused = outcome(Attestation.parse, content)
    if refused:
        assert refused in {"attestation.form", "attestation.predicate"}
        return
    assert said.statement() == content


@given(edited(RUN) | edited_json(RUN, strict_json.readable))
@bounded
def test_a_record_of_a_run_is_refused_or_reads_as_it_is_written(content):
    try:
        record = Record.parse(content, "airgap-run.json")
    except UsageError:
        return
    written = record.to_bytes()
    assert Record.parse(written, "airgap-run.json").to_bytes() == written


@given(edited(HEAD, reach=1400) | st.binary(max_size=64) | st.just(HEAD))
@bounded
def test_a_head_is_refused_or_in_its_one_form(head):
    envelope, refused = outcome(Envelope.from_head, head)
    if refused:
        assert refused in {"head.form", "head.magic"}
        return
    assert envelope.to_head() == head


@given(edited_json(HEAD[8:].rstrip(), strict_json.compact))
@bounded
def test_a_head_of_other_values_is_refused_or_in_its_one_form(content):
    head = HEAD[:8] + content.ljust(limits.HEAD_SLOT - 8)
    envelope, refused = outcome(Envelope.from_head, head)
    if refused:
        assert refused in {"head.form", "head.magic"}
        return
    assert envelope.to_head() == head


@given(edited(STATEMENT) | edited_json(STATEMENT, strict_json.compact) | st.binary(max_size=64))
@bounded
def test_a_statement_is_refused_or_in_its_one_form(content):
    statement, refused = outcome(Statement.parse, content)
    if refused:
        assert refused == "statement.form"
        return
    assert statement.to_bytes() == content


@given(edited(MANIFEST) | edited_json(MANIFEST, strict_json.readable) | st.binary(max_size=64))
@bounded
def test_a_manifest_is_refused_or_in_its_one_form(content):
    manifest, refused = outcome(Manifest.parse, content)
    if refused:
        assert refused == "manifest.form"
        return
    assert manifest.to_bytes() == content
    paths = [file.path for file in manifest.files]
    assert not [path for path in paths if member_defect(path)]
    assert not collisions(["manifest.json", *paths])


@given(edited(TABLE).map(lambda content: content[:112].ljust(112, b"\0")))
@bounded
def test_a_table_is_refused_or_in_its_one_form(content):
    table, refused = outcome(Table.parse, content, "sha256", 2)
    if refused:
        assert refused == "table.form"
        return
    assert table.to_bytes() == content
    assert all(0 < slot.stored <= limits.WINDOW + 4096 for slot in table.slots)


@given(edited(STORED) | st.binary(max_size=60).map(FRAME_MAGIC.__add__), st.integers(1, 6000))
@bounded
def test_a_frame_is_refused_or_has_exactly_its_size(stored, other):
    for size in (5120, other):
        plain, refused = outcome(frames.decompress, stored, size, "frame 1")
        assert refused == "frame.form" if plain is None else len(plain) == size


def read_policy(content):
    known = {key.key_id: key for key in KEYS}
    return policy_file.read(content, "policy.yaml", "the policy", known.get)


@given(edited(POLICY) | st.binary(max_size=64))
@bounded
def test_a_policy_is_refused_or_read_back_as_it_is(content):
    try:
        rule = read_policy(content)
    except UsageError:
        return
    assert read_policy(policy_file.write(rule)) == rule
    assert rule.threshold >= 1


@given(edited(ACCEPTED) | edited_json(ACCEPTED, strict_json.readable))
@bounded
def test_a_record_is_refused_or_read_back_as_it_is(content):
    accepted, refused = outcome(Accepted.parse, content, "accepted.json")
    if refused:
        assert refused == "state.damaged"
        return
    assert Accepted.parse(accepted.to_bytes(), "accepted.json") == accepted


@given(edited(PEM))
@bounded
def test_a_key_file_is_refused_or_names_keys_of_ours(content):
    try:
        found = load_public_keys(content, "x.pub")
    except UsageError:
        return
    for key in found:
        assert load_public_keys(key.pem.encode(), "x.pub") == (key,)


@given(st.binary(max_size=120) | edited(bytes.fromhex("3006020101020102")))
@bounded
def test_an_ecdsa_signature_has_one_form_or_none(value):
    lowest = lowest_form(value)
    assert lowest in {b"", lowest_form(lowest)}


@given(st.binary(max_size=200) | edited(MANIFEST))
@bounded
def test_json_is_refused_or_has_both_forms(content):
    try:
        value = strict_json.parse(content)
    except strict_json.JsonError:
        return
    if "\\ud" in repr(value):
        return  # half of a surrogate pair has no UTF-8; documents with one are never canonical
    for form in (strict_json.compact, strict_json.readable):
        assert strict_json.parse(form(value)) == value
