"""Signature files for foreign tools: their forms, whose they are, and what they are called."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from airgap import keys, minisign, model_signature, signature_files, signed_papers, signing
from airgap.envelope import Envelope
from airgap.errors import UntrustedError
from airgap.minisign import FileSignature
from airgap.model_signature import ModelSignature
from airgap.statement import Statement


@pytest.fixture(scope="module")
def signers():
    """Two signers, each with a key of every algorithm."""
    return [[signing.generate(algorithm) for algorithm in keys.ALGORITHMS] for _ in range(2)]


@pytest.fixture
def opened(bundle, verified, trusting_alice):
    """A verified bundle's statement and manifest."""
    found = verified(bundle, trusting_alice).bundle
    return found.envelope.statement, found.manifest


def of(folder, private, opened):
    made = signed_papers.make(folder, *opened, private)
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return made


def ids(private):
    return [key.public.key_id for key in private]


def test_a_signer_has_one_file_for_each_tool_and_none_for_ml_dsa(tmp_path, signers, opened):
    made = of(tmp_path, signers[0], opened)
    assert sorted(made) == ["manifest.json.minisig", "model.sig"]
    assert signature_files.all_names(tmp_path) == set(made)


def test_who_comes_later_takes_another_name_and_who_signs_anew_the_same(tmp_path, signers, opened):
    first = of(tmp_path, signers[0], opened)
    edwards, nist, _pq = ids(signers[1])
    second = of(tmp_path, signers[1], opened)
    later = {f"manifest.json.{edwards[:8]}.minisig", f"model.{nist[:8]}.sig"}
    assert set(second) == later
    assert set(of(tmp_path, signers[0], opened)) == set(first)
    assert set(of(tmp_path, signers[1], opened)) == later
    assert signature_files.all_names(tmp_path) == {*first, *later}


def test_two_signers_at_once_do_not_share_a_name(tmp_path, signers, opened):
    made = of(tmp_path, [*signers[0], *signers[1]], opened)
    assert len(made) == 4


def test_found_are_those_of_the_keys_that_are_asked_for(tmp_path, signers, opened):
    of(tmp_path, [*signers[0], *signers[1]], opened)
    found = list(signature_files.found(tmp_path, ids(signers[1])))
    assert {one.key_id for one in found} == set(ids(signers[1])[:2])
    assert list(signature_files.found(tmp_path, ["00" * 32])) == []


def test_each_holds_for_its_own_key_and_bundle_alone(tmp_path, signers, opened):
    statement, manifest = opened
    of(tmp_path, signers[0], opened)
    public = {key.public.key_id: key.public for key in signers[0]}
    found = list(signature_files.found(tmp_path, public))
    assert len(found) == 2
    said = Statement.parse(statement)
    older = replace(said, sequence=said.sequence + 1).to_bytes()
    for one in found:
        key = public[one.key_id]
        assert signature_files.holds(one, key, statement, manifest)
        assert not signature_files.holds(one, key, statement, replace(manifest, sequence=99))
        others = (other.public for other in signers[1] if other.public.algorithm == key.algorithm)
        assert not signature_files.holds(one, next(others), statement, manifest)
    (minisig,) = (one for one in found if isinstance(one.signature, FileSignature))
    assert not signature_files.holds(minisig, public[minisig.key_id], older, manifest)


@pytest.mark.parametrize("parse", [FileSignature.parse, ModelSignature.parse])
def test_every_flipped_byte_is_no_signature_or_a_bad_one(tmp_path, signers, opened, parse):
    statement, manifest = opened
    made = of(tmp_path, signers[0], opened)
    content = next(one for one in made.values() if parse(one))
    signature = parse(content)
    assert signature.to_bytes() == content
    key = next(one.public for one in signers[0] if signature.is_by(one.public.key_id))
    for at in range(0, len(content), 1 if len(content) < 1000 else 7):
        flipped = parse(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        if flipped is not None and flipped.is_by(key.key_id):
            found = signature_files.Found("x", key.key_id, flipped)
            assert not signature_files.holds(found, key, statement, manifest), at


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"{}",
        b"[]",
        b"a\nb\nc\nd\n",
        b'{"dsseEnvelope": {"signatures": []}}',
        b"x" * 9,
    ],
)
def test_rubbish_is_no_signature(content):
    assert FileSignature.parse(content) is None
    assert ModelSignature.parse(content) is None


def test_the_key_number_is_the_start_of_the_key_id(signers):
    public = signers[0][0].public
    body = minisign.public_key(public).splitlines()[1]
    raw = base64.b64decode(body)
    assert raw[:2] == b"Ed"
    assert raw[2:10].hex() == public.key_id[:16]
    assert public.der.endswith(raw[10:])


def test_a_model_signature_never_stands_for_a_bundle(opened):
    """The other way round the library refuses: its statement is compared as a whole."""
    _statement, manifest = opened
    with pytest.raises(UntrustedError, match="predicateType"):
        Statement.parse(model_signature.tree_statement(manifest))
    assert Envelope(model_signature.tree_statement(manifest), ()).message.startswith(b"DSSEv1 ")
