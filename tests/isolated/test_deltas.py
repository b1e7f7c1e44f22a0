"""Deltas on an isolated host: mounted over what the store has, refused with a list where it lacks.

Nothing on this side trusts the base that a delta names: what is not carried is found in the store
by the digest that the delta's signers vouch for, and is hashed again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace

import pytest

from airgap import frames, tar, volumes
from airgap.archive import read_head
from airgap.statement import Base, Statement

MODEL = "model.bin"


def named(base, **changes):
    """A manifest as a delta names it."""
    digest = frames.digest(base.to_bytes(), "sha256").hex()
    return replace(Base(base.name, base.version, digest), **changes)


def without(manifest, left):
    """The same files, those in `left` without an offset and the others laid out anew."""
    carried = [file for file in manifest.files if file.path not in left]
    offsets = {file.path: file.offset for _, file in tar.members(carried, manifest.created)}
    return tuple(replace(file, offset=offsets.get(file.path)) for file in manifest.files)


@pytest.fixture
def newer(contents):
    """What the delta is of: another README and one file more; the model stays."""
    return {**contents, "README.txt": b"A newer bundle.\n", "samples/new.txt": b"new\n" * 99}


@pytest.fixture
def left(contents):
    """What it leaves to its base."""
    return {path for path in contents if path != "README.txt"}


@pytest.fixture
def make(write, manifest_of, contents, newer, left):
    """Writes a delta of the fixture `bundle`, sound unless a test says otherwise."""

    def make(file="delta", *, left=left, holds=newer, base=None, **changes):
        base = base or named(manifest_of(contents))
        changes = {"version": "1.1.0", "sequence": 8, "base": base, **changes}
        files = without(manifest_of(holds, **changes), left)
        return write(file, contents=holds, files=files, **changes)

    return make


@pytest.fixture
def delta(make):
    return make()


def blob(host, content):
    sha256 = hashlib.sha256(content).hexdigest()
    return host.root / "store" / "sha256" / sha256[:2] / sha256


# --- mounting -----------------------------------------------------------------------------------


def test_a_delta_is_mounted_over_its_base(*, mounted, delta, newer, contents, left, unsound):
    model = max(contents.values(), key=len)
    before = blob(mounted, model).stat()
    assert delta.stat().st_size < 80_000  # the head, and no model
    said = mounted.airgap("mount", delta)
    assert said.code == 0, said.err
    assert f"delta of       ward-1.0.0: {len(left)} files were here already" in said.out
    for path, content in newer.items():
        assert (mounted.current / path).read_bytes() == content
    assert unsound(mounted.root) == []
    assert blob(mounted, model).stat().st_ino == before.st_ino
    shown = mounted.airgap("list")
    assert "ward-1.1.0" in shown.out
    assert "delta of       ward-1.0.0" in shown.out


def test_a_full_bundle_is_mounted_over_a_delta_and_a_delta_over_that(
    *, mounted, delta, write, make, manifest_of, newer, unsound
):
    assert mounted.airgap("mount", delta).code == 0
    full = write("full", contents=newer, version="1.2.0", sequence=9)
    assert mounted.airgap("mount", full).code == 0
    base = manifest_of(newer, version="1.2.0", sequence=9)
    last = make("last", left=set(newer), base=named(base), version="1.3.0", sequence=10)
    said = mounted.airgap("mount", last)
    assert said.code == 0, said.err
    assert unsound(mounted.root) == []


def test_a_second_delta_of_one_base(mounted, delta, make, unsound):
    assert mounted.airgap("mount", delta).code == 0
    said = mounted.airgap("mount", make("second", version="1.2.0", sequence=9))
    assert said.code == 0, said.err
    assert unsound(mounted.root) == []


def test_files_may_have_come_by_another_bundle(host, delta, write, contents, unsound):
    """By content, not by name: the store does not know who brought a blob."""
    assert host.airgap("mount", write("other", title="ambulance", contents=contents)).code == 0
    said = host.airgap("mount", delta)
    assert said.code == 0, said.err
    assert unsound(host.root) == []


def test_a_file_that_the_delta_carries_under_another_path_is_not_lacking(
    mounted, make, newer, unsound
):
    twin = {**newer, "samples/again.txt": newer["samples/new.txt"]}
    said = mounted.airgap("mount", make(holds=twin, left={"samples/again.txt"}))
    assert said.code == 0, said.err
    assert unsound(mounted.root) == []


@pytest.fixture
def refused(snapshot):
    """A delta that this host cannot complete: exit 1, these words, and nothing has changed."""

    def refused(host, delta, *saying):
        (host.root / "lock").touch()  # what any mount makes, before it reads the bundle
        (host.root / "store/sha256").mkdir(parents=True, exist_ok=True)
        before = snapshot(host.root)
        accepted = host.record.read_bytes()
        said = host.airgap("mount", delta, "--json")
        assert said.code == 1, said.err
        assert said.document["kind"] == "AirgapError"
        for words in saying:
            assert words in said.document["message"]
        assert "airgap mount ward-1.0.0.tar.zst" in said.document["hint"]
        assert snapshot(host.root) == before
        assert host.record.read_bytes() == accepted

    return refused


def test_a_delta_without_its_base_is_refused_with_the_list(host, delta, left, refused):
    refused(
        host,
        delta,
        "'ward-1.1.0' is a delta of 'ward-1.0.0', and of the 4 files that it leaves there",
        "lacks 4, or holds them damaged",
        *(f"'{path}'" for path in left),
    )


def test_a_long_list_is_cut(host, make, newer, refused):
    many = {f"samples/{number:03}.txt": b"%d" % number for number in range(100)}
    delta = make(holds={**newer, **many}, left=set(many))
    refused(host, delta, "'samples/000.txt'", "'samples/007.txt' and 92 more")


def test_a_base_file_that_was_swapped_in_the_store(mounted, delta, contents, refused):
    """Same name, same size, other bytes: hashed before anything is linked."""
    model = max(contents.values(), key=len)
    there = blob(mounted, model)
    there.chmod(0o644)
    there.write_bytes(model[:-1] + b"\0")
    refused(mounted, delta, "lacks 1, or holds them damaged", MODEL)


def test_mounting_the_base_once_more_mends_it(mounted, bundle, delta, contents, unsound):
    model = max(contents.values(), key=len)
    blob(mounted, model).unlink()
    assert mounted.airgap("mount", delta).code == 1
    assert mounted.airgap("mount", bundle).code == 0
    assert mounted.airgap("mount", delta).code == 0
    assert unsound(mounted.root) == []


def test_a_base_that_this_host_has_gone_beyond_mends_it_too(
    mounted, bundle, delta, contents, unsound
):
    assert mounted.airgap("mount", delta).code == 0
    there = blob(mounted, max(contents.values(), key=len))
    there.unlink()
    assert mounted.airgap("mount", delta).code == 1
    assert mounted.airgap("mount", bundle).code == 3
    assert mounted.airgap("mount", bundle, "--allow-older", "the store has rotted").code == 0
    assert mounted.airgap("mount", delta).code == 0
    assert "ward-1.1.0" in mounted.airgap("list").out
    assert unsound(mounted.root) == []


def test_a_delta_may_only_be_completed_by_what_was_signed(mounted, make, newer, refused):
    """It leaves out a file that its base never had: no host can have it."""
    delta = make(left={"samples/new.txt"})
    refused(mounted, delta, "lacks 1", "'samples/new.txt'")


@pytest.mark.parametrize(
    ("changes", "saying"),
    [
        ({"name": "other"}, "base 'other-1.0.0' is no bundle of the name 'ward'"),
        ({"version": "1.1.0"}, "base 'ward-1.1.0' has the version of the bundle itself"),
    ],
)
def test_a_base_that_cannot_be_one(
    *, mounted, make, manifest_of, contents, snapshot, changes, saying
):
    delta = make(base=named(manifest_of(contents), **changes))
    before = snapshot(mounted.root)
    said = mounted.airgap("mount", delta, "--json")
    assert (said.code, said.document["rule"]) == (3, "manifest.form")
    assert saying in said.document["message"]
    assert snapshot(mounted.root) == before


def test_a_size_that_is_not_the_blobs(
    *, mounted, manifest_of, contents, newer, left, write, refused
):
    changes = {"version": "1.1.0", "sequence": 8, "base": named(manifest_of(contents))}
    files = without(manifest_of(newer, **changes), left)
    lying = tuple(
        replace(file, size=file.size + 1) if file.path.endswith(MODEL) else file for file in files
    )
    refused(mounted, write("lying", contents=newer, files=lying, **changes), "lacks 1", MODEL)


def test_one_content_has_one_size(*, mounted, make, manifest_of, contents, newer, left, write):
    """Else a file could be listed with another size than the store has checked."""
    base = named(manifest_of(contents))
    changes = {"version": "1.1.0", "sequence": 8, "base": base}
    files = without(manifest_of(newer, **changes), left)
    twin = next(file for file in files if file.path.endswith("twin.json"))
    lying = tuple(replace(file, size=5) if file == twin else file for file in files)
    said = mounted.airgap("mount", write("lying", contents=newer, files=lying, **changes), "--json")
    assert (said.code, said.document["rule"]) == (3, "manifest.form")
    assert "another of the same SHA-256" in said.document["message"]


def test_the_space_that_is_wanted_is_that_of_what_is_missing(
    mounted, make, newer, contents, monkeypatch
):
    asked = []
    monkeypatch.setattr(
        "runtime.store.Store.check_space", lambda _self, needed: asked.append(needed)
    )
    assert mounted.airgap("mount", make()).code == 0
    new = {path: newer[path] for path in newer if newer[path] != contents.get(path)}
    assert asked == [sum(map(len, new.values()))]


def test_the_audit_log_names_the_base(mounted, delta):
    assert mounted.airgap("mount", delta).code == 0
    lines = (mounted.root / "audit/log.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    (last,) = [one for one in events if one["facts"].get("bundle") == "ward-1.1.0"]
    assert last["event"] == "mount"
    assert last["facts"]["base"] == "ward-1.0.0"


# --- verify -------------------------------------------------------------------------------------


def test_verify_without_the_base_says_what_it_did_not_look_at(host, delta):
    said = host.airgap("verify", delta)
    assert said.code == 0
    assert "warning: it is a delta" in said.err
    assert "4 files (5.0 MB) are left to ward-1.0.0, which was not looked at" in said.err
    document = host.airgap("verify", delta, "--json").document
    assert document["base"]["name"] == "ward"
    assert (document["base_checked"], document["left_to_base"]) == (False, 4)
    intact = host.airgap("verify", delta, "--integrity-only")
    assert intact.code == 4
    assert "not looked at" in intact.err


@pytest.mark.parametrize("deep", [(), ("--deep",)])
def test_verify_with_the_base(host, delta, bundle, deep):
    said = host.airgap("verify", delta, "--base", bundle, "--explain", *deep)
    assert said.code == 0, said.err
    assert f"delta of       ward-1.0.0: '{bundle}' holds the 4 files" in said.out
    assert "ward-1.0.0 holds 4 files" in said.out
    assert "warning" not in said.err
    assert host.airgap("verify", delta, "--base", bundle, "--json").document["base_checked"]


def test_the_age_of_a_base_is_not_asked(mounted, delta, bundle):
    """It is older than what builds on it, always."""
    assert mounted.airgap("mount", delta).code == 0
    assert mounted.airgap("verify", bundle).code == 3
    assert mounted.airgap("verify", delta, "--base", bundle).code == 0


def test_verify_with_keys(host, delta, bundle, alice, tmp_path):
    public = tmp_path / "alice.pub"
    public.write_text("".join(key.public.pem for key in alice.keys))
    said = host.airgap("verify", delta, "--base", bundle, "--key", public)
    assert said.code == 0, said.err
    assert "holds the 4 files" in said.out


@pytest.fixture
def disbelieved(host, snapshot):
    """A pair that is refused by one rule, with these words, and nothing is written."""

    def disbelieved(delta, base, rule, saying):
        before = snapshot(host.root)
        said = host.airgap("verify", delta, "--base", base, "--json")
        assert said.code == 3, said.err
        assert said.document["rule"] == rule
        assert saying in said.document["message"]
        assert said.document["hint"]
        assert snapshot(host.root) == before

    return disbelieved


def test_another_bundle_is_not_the_base(disbelieved, delta, write, contents):
    other = write("other", contents={**contents, "README.txt": b"rebuilt\n"})
    disbelieved(delta, other, "delta.base", "'ward-1.1.0' builds on 'ward-1.0.0' whose")


def test_a_digest_that_lies(disbelieved, make, manifest_of, contents, bundle):
    delta = make(base=named(manifest_of(contents), manifest="0" * 64))
    disbelieved(delta, bundle, "delta.base", "0" * 64)


def test_a_delta_is_no_base(*, disbelieved, make, manifest_of, delta, newer, left, contents):
    """A chain, each link signed: the second says that it builds on the first, a delta."""
    changes = {"version": "1.1.0", "sequence": 8, "base": named(manifest_of(contents))}
    first = manifest_of(newer, **changes)
    first = replace(first, files=without(first, left))
    chained = make("chained", left=set(newer), base=named(first), version="1.2.0", sequence=9)
    disbelieved(chained, delta, "delta.base", "the base 'ward-1.1.0' of 'ward-1.2.0' is itself")


def test_a_base_that_lacks_what_is_left_to_it(disbelieved, make, bundle):
    delta = make(left={"samples/new.txt"})
    disbelieved(delta, bundle, "delta.files", "leaves 'samples/new.txt' to its base 'ward-1.0.0'")


def test_a_base_that_nobody_signed(disbelieved, delta, write):
    disbelieved(delta, write("unsigned", people=()), "policy.threshold", "nobody has signed it")


def test_a_base_with_a_flipped_byte(disbelieved, delta, bundle, tmp_path):
    bad = tmp_path / "bad.tar.zst"
    shutil.copyfile(bundle, bad)
    with bad.open("r+b") as stream:
        stream.seek(-9, 2)
        byte = stream.read(1)[0]
        stream.seek(-9, 2)
        stream.write(bytes([byte ^ 1]))
    disbelieved(delta, bad, "frame.digest", "bad.tar.zst")


def test_a_full_bundle_has_no_base(host, bundle):
    said = host.airgap("verify", bundle, "--base", bundle)
    assert said.code == 2
    assert "'ward-1.0.0' is a full bundle, and needs no base" in said.err


@pytest.mark.parametrize("other", ["--integrity-only", "--receipt=FILE"])
def test_a_base_needs_somebody_who_is_asked(host, delta, bundle, other):
    said = host.airgap("verify", delta, "--base", bundle, other)
    assert said.code == 2
    assert "--base asks who signed both bundles" in said.err


def test_inspect_says_what_it_is_a_delta_of(host, delta):
    said = host.airgap("inspect", delta, "--files")
    assert said.code == 0
    assert said.out.count("  (left to the base)\n") == 4
    assert "delta of       ward-1.0.0: 4 files (5.0 MB) are left to it" in said.out


def test_the_statement_names_the_base_too(delta, manifest_of, contents):
    """So a policy could read it before anything is decompressed; the two must agree."""
    with volumes.opened(delta) as source:
        statement = Statement.parse(read_head(source).statement)
    assert statement.base == named(manifest_of(contents))
