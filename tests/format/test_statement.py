"""What may be signed: a statement about a bundle, in its one form, and nothing that resembles it.

Every statement here is signed by a key that the policy trusts; that alone does not make it one.
"""

import copy
import json

import pytest

from airgap import strict_json
from airgap.errors import DamagedError, UntrustedError
from airgap.statement import Statement

DIGEST = "0" * 64


@pytest.fixture
def form(recipe, alice, refused):
    """A bundle whose statement was edited before it was signed is refused for the form."""

    def form(edit, saying):
        def edited(value):
            value = copy.deepcopy(value)
            changed = edit(value)
            return value if changed is None else changed

        refused(
            recipe.but(statement=edited).build(alice),
            "statement.form",
            saying,
            error=UntrustedError,
        )

    return form


def put(*place):
    """An edit that sets what stands at a place: keys, then the value."""
    *path, key, value = place

    def edit(statement):
        for step in path:
            statement = statement[step]
        statement[key] = value

    return edit


def drop(*place):
    *path, key = place

    def edit(statement):
        for step in path:
            statement = statement[step]
        del statement[key]

    return edit


@pytest.mark.parametrize(
    "kind",
    [
        "urn:airgap-bundler:bundle:v2",
        "urn:airgap-bundler:bundle:v1 ",
        "urn:airgap-bundler:Bundle:v1",
        "urn:airgap-bundler:receipt:v1",
        "urn:airgap-bundler:rotation:v1",
        "urn:airgap-bundler:attestation:v1",
        "https://model_signing/signature/v1.0",
        "https://slsa.dev/provenance/v1",
        "",
        None,
        ["urn:airgap-bundler:bundle:v1"],
    ],
)
def test_another_predicate_type(form, kind):
    """A receipt or a rotation that a trusted key signed is no bundle."""
    form(put("predicateType", kind), "predicateType: expected urn:airgap-bundler:bundle:v1")


@pytest.mark.parametrize(
    "kind", ["https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1/", "", None]
)
def test_another_statement_type(form, kind):
    form(put("_type", kind), "_type: expected https://in-toto.io/Statement/v1")


@pytest.mark.parametrize("key", ["_type", "predicateType", "subject", "predicate"])
def test_a_missing_key(form, key):
    form(drop(key), f"'{key}' is missing")


@pytest.mark.parametrize(
    "key",
    [
        "name",
        "version",
        "sequence",
        "created",
        "expires",
        "base",
        "hash",
        "table_size",
        "manifest_size",
        "frames",
        "plain_total",
    ],
)
def test_a_missing_part_of_the_predicate(form, key):
    form(drop("predicate", key), f"predicate: '{key}' is missing")


@pytest.mark.parametrize("place", [("note",), ("predicate", "note"), ("subject", 0, "uri")])
def test_an_unknown_key(form, place):
    form(put(*place, "x"), f"'{place[-1]}' is not known here")


@pytest.mark.parametrize("name", ["table", "manifest.json", "payload"])
def test_a_missing_subject(form, name):
    def edit(statement):
        statement["subject"] = [one for one in statement["subject"] if one["name"] != name]

    form(edit, f"subject: expected '{name}'")


def test_a_subject_twice(form):
    form(lambda value: value["subject"].append(value["subject"][0]), "expected each subject once")


def test_a_subject_twice_with_another_digest(form):
    def edit(statement):
        statement["subject"].append({"name": "table", "digest": {"sha256": DIGEST}})

    form(edit, "expected each subject once")


@pytest.mark.parametrize("name", ["model.bin", "Table", "bootstrap.SH", "", 7, None])
def test_a_subject_outside_the_set(form, name):
    def edit(statement):
        statement["subject"].append({"name": name, "digest": {"sha256": DIGEST}})

    form(edit, "expected a subject of a bundle")


@pytest.mark.parametrize("name", ["bootstrap.sh", "bootstrap/SHA256SUMS"])
def test_the_subjects_that_may_be_there(recipe, alice, verified, name, trusting_alice):
    def edit(statement):
        subjects = [*statement["subject"], {"name": name, "digest": {"sha256": DIGEST}}]
        return statement | {"subject": sorted(subjects, key=lambda one: one["name"])}

    found = verified(recipe.but(statement=edit).build(alice), trusting_alice)
    assert found.bundle.statement.subjects[name] == DIGEST


@pytest.mark.parametrize(
    "digest",
    [
        {},
        {"sha256": DIGEST[1:]},
        {"sha256": DIGEST + "0"},
        {"sha256": "A" * 64},
        {"sha256": 0},
        {"sha512": "0" * 128},
        {"sha384": "0" * 96},
        {"sha256": DIGEST, "sha384": "0" * 96},
        [],
        None,
    ],
)
def test_what_is_no_digest(form, digest):
    form(put("subject", 0, "digest", digest), "subject[0].digest")


@pytest.mark.parametrize("subjects", [None, {}, "table", [1], [None], [[]]])
def test_what_are_no_subjects(form, subjects):
    form(put("subject", subjects), "subject")


def test_subjects_in_another_order(form):
    form(lambda value: value["subject"].reverse(), "not in canonical form")


@pytest.mark.parametrize("name", ["", "Demo", "-demo", ".demo", "a/b", "a b", "a" * 65, "démo", 1])
def test_names(form, name):
    form(put("predicate", "name", name), "predicate.name: expected a name")
    form(put("predicate", "version", name), "predicate.version: expected a version")


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00.0Z",
        "2026-01-01T00:00:00+00:00",
        "2026-01-01t00:00:00z",
        "2026-02-30T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:60Z",
        "1979-12-31T23:59:59Z",
        "2108-01-01T00:00:00Z",
        "9999-01-01T00:00:00Z",
        "٢٠٢٦-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z\n",
        1767225600,
        "",
    ],
)
def test_times(form, time):
    form(put("predicate", "created", time), "predicate.created: expected a time")
    form(put("predicate", "expires", time), "predicate.expires: expected a time or null")


@pytest.mark.parametrize("value", [-1, 1.0, True, "7", None, [7], (1 << 53) + 1])
@pytest.mark.parametrize("key", ["sequence", "table_size", "plain_total"])
def test_integers(form, key, value):
    form(put("predicate", key, value), "")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("frames", 0),
        ("frames", 1),
        ("frames", (1 << 18) + 1),
        ("manifest_size", 1),
        ("manifest_size", 7 * 1024 * 1024 + 1),
    ],
)
def test_integers_out_of_bounds(form, key, value):
    form(put("predicate", key, value), f"predicate.{key}: expected an integer from")


def test_the_most_frames_of_a_small_file(recipe, alice, refused):
    """A table of 10 MiB is announced, and the file ends before: nothing waits, nothing crashes."""
    refused(
        recipe.but(
            statement=lambda s: s | {"predicate": s["predicate"] | {"frames": 1 << 18}}
        ).build(alice),
        "archive.size",
        "in the middle of the bundle",
    )


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha512", "SHA256", "", None, 256, []])
def test_hashes(form, algorithm):
    form(put("predicate", "hash", algorithm), "predicate.hash: expected sha256 or sha384")


@pytest.mark.parametrize(
    "base",
    [
        {},
        [],
        "demo",
        {"name": "demo", "version": "1", "manifest": "x"},
        {"name": "demo", "version": "1", "manifest": DIGEST, "more": 1},
        {"name": "Demo", "version": "1", "manifest": DIGEST},
    ],
)
def test_bases(form, base):
    form(put("predicate", "base", base), "predicate.base")


def rendered(**options):
    """The same statement, serialised otherwise."""
    return lambda content: json.dumps(json.loads(content), **options).encode()


@pytest.mark.parametrize(
    ("edit", "saying"),
    [
        (rendered(sort_keys=True), "not in canonical form"),
        (rendered(separators=(",", ":"), indent=1), "not in canonical form"),
        (lambda content: content + b"\n", "not in canonical form"),
        (lambda content: b" " + content, "not in canonical form"),
        (lambda content: content.replace(b"demo", b"dem\\u006f"), "not in canonical form"),
        (lambda content: content.replace(b'"sequence":7', b'"sequence":-0'), "canonical form"),
        (lambda content: content.replace(b'"sequence":7', b'"sequence":7.0'), "not an integer"),
        (lambda content: content.replace(b'"sequence":7', b'"sequence":7e0'), "not an integer"),
        (lambda content: content.replace(b'"sequence":7', b'"sequence":NaN'), "not an integer"),
        (lambda content: content.replace(b'"sequence":7', b'"sequence":07'), "delimiter"),
        (
            lambda content: content.replace(b'"sequence":7', b'"sequence":7,"sequence":8'),
            "names a key twice",
        ),
        (lambda content: content.replace(b'"sequence":7', b'"sequence":' + b"9" * 5000), "range"),
        (lambda content: b"\xef\xbb\xbf" + content, "BOM"),
        (lambda content: content.replace(b"demo", b"dem\xff"), "not UTF-8"),
        (lambda content: content.decode().encode("utf-16"), "not UTF-8"),
        (lambda content: b"[" * 30_000, "nested too deeply"),
        (lambda content: b"", "Expecting value"),
        (lambda content: b"null", "expected an object"),
        (lambda content: content[:-1], "Expecting ',' delimiter"),
    ],
)
def test_bytes_that_are_not_the_one_form(recipe, alice, refused, edit, saying):
    refused(
        recipe.but(statement_bytes=edit).build(alice),
        "statement.form",
        saying,
        error=UntrustedError,
    )


def test_all_defects_are_told_at_once_and_sorted(recipe, alice, verified, trusting_alice):
    def edit(statement):
        return statement | {
            "predicate": statement["predicate"] | {"name": "X", "frames": 0, "zero": 0}
        }

    with pytest.raises(UntrustedError) as caught:
        verified(recipe.but(statement=edit).build(alice), trusting_alice)
    told = caught.value.message.split(": ", 1)[1].split("; ")
    assert len(told) == 3
    assert told == sorted(told)


def test_another_digest_of_the_manifest(recipe, alice, refused):
    """Frame 0 is as the table says, and the content that it decompresses to is not the subject."""

    def edit(statement):
        statement["subject"][0]["digest"] = {"sha256": DIGEST}
        return statement

    refused(recipe.but(statement=edit).build(alice), "archive.digest", "manifest.json is not what")


def test_another_digest_of_the_table(recipe, alice, refused):
    def edit(statement):
        statement["subject"][2]["digest"] = {"sha256": DIGEST}
        return statement

    refused(recipe.but(statement=edit).build(alice), "archive.digest", "the table of frames is not")


@pytest.mark.parametrize("by", [-1, 1])
def test_another_size_of_the_manifest(recipe, alice, refused, by):
    def edit(statement):
        statement["predicate"]["manifest_size"] += by
        return statement

    refused(recipe.but(statement=edit).build(alice), "archive.digest", "manifest.json is not what")


def test_another_size_of_the_table(recipe, alice, refused):
    def edit(statement):
        statement["predicate"]["table_size"] += 40
        return statement

    refused(recipe.but(statement=edit).build(alice), "archive.digest", "its size or kind")


def test_the_form_is_not_asked_before_the_signature(recipe, mallory, verified, trusting_alice):
    """Only what the signature check returned is parsed: a stranger's statement never is."""
    with pytest.raises(UntrustedError) as caught:
        verified(recipe.but(statement_bytes=lambda _: b"{").build(mallory), trusting_alice)
    assert caught.value.rule == "policy.threshold"


def test_names_that_the_policy_does_not_accept(recipe, alice, policy_of, refused):
    refused(
        recipe.build(alice),
        "policy.bundles",
        "bundles named 'demo' are not accepted by the test's policy; accepted: other, prod-*",
        error=UntrustedError,
        policy=policy_of(alice, bundles=("other", "prod-*")),
    )


@pytest.mark.parametrize("pattern", ["demo", "d*", "*", "dem?", "[d]emo"])
def test_patterns_of_names(recipe, alice, policy_of, verified, pattern):
    verified(recipe.build(alice), policy_of(alice, bundles=(pattern,)))


@pytest.mark.parametrize("pattern", ["Demo", "DEMO", "dem", "emo", "*-demo", ""])
def test_patterns_that_do_not_match(recipe, alice, policy_of, verified, pattern):
    with pytest.raises(UntrustedError, match="are not accepted"):
        verified(recipe.build(alice), policy_of(alice, bundles=(pattern,)))


def test_the_title_is_what_the_file_is_called(bundle, verified, trusting_alice):
    statement = verified(bundle, trusting_alice).bundle.statement
    assert isinstance(statement, Statement)
    assert statement.title == "demo-1.0.0"
    assert strict_json.parse(statement.to_bytes())["predicate"]["sequence"] == 7


def test_a_manifest_signed_as_a_statement(recipe, alice, verified, trusting_alice):
    """One use never stands for another."""
    wrong = recipe.but(statement_bytes=lambda _: strict_json.readable(recipe.manifest))
    with pytest.raises(UntrustedError, match="no statement about a bundle"):
        verified(wrong.build(alice), trusting_alice)
    with pytest.raises(DamagedError, match="no airgap bundle"):
        verified(strict_json.readable(recipe.manifest) * 60, trusting_alice)
