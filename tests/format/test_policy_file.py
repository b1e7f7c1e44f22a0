"""`policy.yaml`: what is written is read back, and what was read judges by the plain rules."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap import policy_file, signing
from airgap.envelope import Envelope
from airgap.errors import UntrustedError, UsageError
from airgap.keys import ECDSA_P384, ED25519
from airgap.policy import ROLES, Policy, Revocation, Signer, TrustedKey
from airgap.statement import Statement

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PAST, TODAY, FUTURE = "2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z", "2027-01-01T00:00:00Z"
POOL = tuple(signing.generate(algorithm) for algorithm in (ED25519, ECDSA_P384) * 4)
PUBLIC = {key.public.key_id: key.public for key in POOL}
SIGNED = b"what was signed"
GOOD = tuple(key.sign(Envelope(SIGNED, ()).message) for key in POOL)
BAD = tuple(key.sign(b"something else") for key in POOL)
NUMBERS = st.integers(0, len(POOL) - 1)
NAMES = ("ward-7", "ward-8", "ward", "clinic")
MATCHES = {  # by hand: the patterns that each name fits
    "ward-7": {"*", "ward-*", "ward-7", "ward-?", "[vw]ard-7"},
    "ward-8": {"*", "ward-*", "ward-?"},
    "ward": {"*"},
    "clinic": {"*", "clinic"},
}
PATTERNS = ("*", "ward-*", "ward-7", "ward-?", "[vw]ard-7", "clinic", "WARD-7")


def read(content, find_key=PUBLIC.get):
    return policy_file.read(content, "policy.yaml", "a test", find_key)


def kind(number):
    return POOL[number].public.algorithm


@st.composite
def policies(draw):
    """A policy, and the same in plain words: keys are numbers."""
    owners = draw(st.dictionaries(NUMBERS, st.sampled_from("abc"), min_size=1))
    roles = st.lists(st.sampled_from(ROLES), min_size=1, max_size=2, unique=True)
    # Mostly what a site would have, so that the ends of the judge are reached as well.
    roles = st.one_of(st.just(["bundle", "trust"]), st.just(["bundle"]), roles)
    expiry = st.sampled_from([None, None, FUTURE, TODAY, PAST])
    plain = SimpleNamespace(
        owners=owners,
        roles={number: tuple(draw(roles)) for number in owners},
        expires={number: draw(expiry) for number in owners},
        revoked=draw(st.sets(NUMBERS, max_size=2)),
        threshold=draw(st.sampled_from([1, 1, 1, 2, 2, 3])),
        accepted=tuple(draw(patterns())),
        needed={},
        may={},
    )
    for name in sorted(set(owners.values())):
        held = sorted({kind(number) for number in owners if owners[number] == name})
        wanted = st.lists(st.sampled_from(held), min_size=1, unique=True)
        plain.needed[name] = tuple(draw(wanted))
        plain.may[name] = tuple(draw(patterns()))
    return plain


def patterns():
    several = st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3, unique=True)
    return st.one_of(st.just(["*"]), several)


def policy_of(plain):
    signers = {}
    for name, needed in plain.needed.items():
        keys = {
            POOL[number].public.key_id: TrustedKey(
                POOL[number].public, plain.roles[number], plain.expires[number]
            )
            for number, owner in plain.owners.items()
            if owner == name
        }
        signers[name] = Signer(name, needed, keys, plain.may[name])
    revoked = {POOL[number].public.key_id: Revocation(PAST, "lost") for number in plain.revoked}
    return Policy("a test", plain.threshold, plain.accepted, signers, 1, revoked)


def model(plain, states, role, title):
    """The rule that refuses, or the signers who count, in plain words."""
    known = {one for one in states if one in plain.owners and one not in plain.revoked}
    if any(states[one] == "bad" for one in known):
        return "signature.bad"
    counts = {one for one in known if role in plain.roles[one] and plain.expires[one] in LASTING}
    complete = []
    for name, needed in plain.needed.items():
        own = {one for one in plain.owners if plain.owners[one] == name}
        valid = {kind(one) for one in own & counts}
        excused = {kind(one) for one in own & known - counts}
        left = {kind(one) for one in own - plain.revoked}
        lost = {one for one in needed if one in left and one not in valid | excused}
        if valid and lost:
            return "signature.incomplete"
        if valid and set(needed) <= valid:
            complete.append(name)
    if len(complete) < plain.threshold:
        return "policy.threshold"
    if not MATCHES[title] & set(plain.accepted):
        return "policy.bundles"
    if sum(bool(MATCHES[title] & set(plain.may[name])) for name in complete) < plain.threshold:
        return "policy.signer-bundles"
    return sorted(complete)


LASTING = {None, FUTURE}


def statement(title):
    return Statement({}, title, "1", 1, PAST, None, None, "sha256", 0, 2, 2, 0)


def judged(rule, states, role, title):
    signatures = [(GOOD if state == "good" else BAD)[one] for one, state in states.items()]
    try:
        verdict = rule.judge(Envelope(SIGNED, tuple(sorted(signatures))), NOW, role=role)
        rule.admit(statement(title), verdict)
    except UntrustedError as error:
        return error.rule
    return sorted(verdict.signers)


STATES = st.dictionaries(NUMBERS, st.sampled_from(["good"] * 9 + ["bad"]), min_size=1)


@given(policies(), st.sampled_from(["bundle", "bundle", "trust", "receipt"]), st.data())
@settings(max_examples=400, deadline=None)
def test_a_policy_that_went_through_its_file_judges_by_the_plain_rules(plain, role, data):
    title = data.draw(st.sampled_from(NAMES))
    everybody = st.just(dict.fromkeys(plain.owners, "good"))  # reaches the ends of the judge
    states = data.draw(st.one_of(everybody, STATES))
    rule = read(policy_file.write(policy_of(plain)))
    assert judged(rule, states, role, title) == model(plain, states, role, title)


@given(policies(), st.data())
@settings(max_examples=100, deadline=None)
def test_one_more_good_signature_of_a_stranger_changes_nothing(plain, data):
    """Whoever owns the medium can add signatures; none of them may refuse or accept."""
    rule = policy_of(plain)
    states = dict.fromkeys(plain.owners, "good")
    strangers = sorted(set(range(len(POOL))) - plain.owners.keys())
    more = {one: data.draw(st.sampled_from(["good", "bad"])) for one in strangers}
    assert judged(rule, states, "bundle", "ward-7") == judged(
        rule, states | more, "bundle", "ward-7"
    )


@given(policies(), st.data())
@settings(max_examples=100, deadline=None)
def test_taking_signatures_away_never_helps(plain, data):
    rule = policy_of(plain)
    states = dict.fromkeys(plain.owners, "good")
    fewer = dict.fromkeys(data.draw(st.sets(st.sampled_from(sorted(states)))), "good")
    if isinstance(judged(rule, fewer, "bundle", "ward-7"), list):
        assert isinstance(judged(rule, states, "bundle", "ward-7"), list)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(policies(), st.integers(1, 1 << 53), st.sampled_from(["serve", "stop"]), TEXTS)
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_back_or_refused(plain, version, expired, reason):
    """Never as something else: any text may be a reason, or is no policy at all."""
    revoked = {POOL[0].public.key_id: Revocation(PAST, reason)}
    rule = replace(policy_of(plain), version=version, expired=expired, revoked=revoked)
    content = policy_file.write(rule)
    if not reason.strip():
        with pytest.raises(UsageError, match="reason: expected text, found nothing"):
            read(content)
        return
    found = read(content)
    assert found == rule
    assert policy_file.write(found) == content


@pytest.fixture(scope="module")
def content():
    """A policy with every key of the schema."""
    signers = {
        "alice": Signer(
            "alice",
            (ED25519, ECDSA_P384),
            {
                POOL[0].public.key_id: TrustedKey(POOL[0].public, ("bundle", "trust"), FUTURE),
                POOL[1].public.key_id: TrustedKey(POOL[1].public, ("bundle", "trust")),
            },
            ("ward-*",),
        ),
        "ward-7": Signer(
            "ward-7",
            (ED25519,),
            {POOL[2].public.key_id: TrustedKey(POOL[2].public, ("receipt",))},
        ),
    }
    revoked = {POOL[4].public.key_id: Revocation(PAST, "laptop stolen")}
    return policy_file.write(Policy("x", 2, ("ward-*", "clinic"), signers, 3, revoked, "stop"))


KEY0, KEY4 = POOL[0].public.key_id, POOL[4].public.key_id


@pytest.mark.parametrize(
    ("old", "new", "saying"),
    [
        ("    bundles:", "    bundle:", "did you mean 'bundles'?"),
        ("    bundles:\n    - ward-*", "    bundles: []", "bundles: expected at least one entry"),
        ("    bundles:\n    - ward-*", "    bundles: ward-*", "bundles: expected a list"),
        ("    bundles:\n    - ward-*", "    bundles:\n    - 7", "bundles: expected text"),
        ("        expires:", "        expire:", "did you mean 'expires'?"),
        (f"'{FUTURE}'", "2027-01-01", "expires: expected text, found a date ('2027-01-01')"),
        (f"'{FUTURE}'", "'2027-01-01'", "expires: expected a time as '2027-01-31T00:00:00Z'"),
        (f"'{FUTURE}'", "'2027-02-30T00:00:00Z'", "expires: expected a time"),
        (f"'{FUTURE}'", "'2027-01-01T00:00:00+01:00'", "expires: expected a time"),
        (f"'{FUTURE}'", "never", "expires: expected a time"),
        ("        - receipt", "        - receipts", "did you mean 'receipt'?"),
        ("        roles:\n        - receipt", "        roles: []", "expected at least one entry"),
        (f"'{PAST}'", "yesterday", "since: expected a time"),
        ("laptop stolen", "", "reason: expected text, found nothing"),
        ("    reason:", "    because:", f"revoked key {KEY4[:16]} lacks 'reason'"),
        (f"  {KEY4}:", f"  {KEY4.upper()}:", "expected 64 hex digits"),
        (f"  {KEY4}:", f"  {KEY4[:8]}:", f"revoked key {KEY4[:8]}: expected 64 hex digits"),
        (f"      {KEY0}:", f"      {KEY0[:-1]}:", "there is no file 'keys/"),
        (f"      {KEY0}:", f"      {'0' * 64}:", f"there is no file 'keys/{'0' * 64}.pub'"),
        (
            "    algorithms:\n    - ed25519\n    - ecdsa-p384",
            "    algorithms: []",
            "algorithms: expected at least one entry, found none",
        ),
        ("version: 3", "version: 9007199254740993", "version: expected 1 to 9007199254740992"),
        ("version: 3", "version: 03", "version: expected a whole number"),
        ("threshold: 2", "threshold: 1:30", "threshold: expected a whole number"),
        ("expired: stop", "expired: true", "expired: expected text, found true or false"),
        ("expired: stop", "expired: Stop", "did you mean 'stop'?"),
        ("expired: stop", "expired: stop\nkeys: {}", "unknown key 'keys' in the policy"),
        ("expired: stop", "", "the policy lacks 'expired'"),
        ("clinic", "''", "bundles: expected text, found nothing"),
    ],
    ids=lambda text: re.sub("[0-9a-fA-F]{8,}", "KEY", text),  # keys are new in every run
)
def test_a_defect_is_named_with_its_place(content, old, new, saying):
    text = content.decode()
    changed = text.replace(old, new, 1)
    assert changed != text
    with pytest.raises(UsageError) as caught:
        read(changed.encode())
    assert saying in caught.value.message
    first = caught.value.message.split("\n")[0].split(":")
    assert first[0] == "policy.yaml"
    assert int(first[1]) > 0
    assert int(first[2]) > 0


def test_every_defect_is_told_at_once(content):
    text = content.decode().replace("threshold: 2", "threshold: 0").replace("stop", "halt")
    with pytest.raises(UsageError) as caught:
        read(text.encode())
    assert len(caught.value.message.splitlines()) == 2


def test_a_key_that_is_another_is_none(content):
    """A file with another key under its name counts as missing, never as the key it holds."""
    with pytest.raises(UsageError, match="there is no file"):
        read(content, lambda _key_id: None)
