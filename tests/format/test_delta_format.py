"""Deltas as a format: with its base a delta is the whole, and nothing of it can be changed.

The pure rule of what is left out is the builder's (`bundler.delta`); what a reader makes of any
split of the files is shown here.
"""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap import base, frames, strict_json
from airgap.errors import DamagedError, RefusedError
from airgap.manifest import File
from bundler import delta as delta_rule

contents = st.dictionaries(
    st.sampled_from([f"samples/{name}" for name in "abcdef"]),
    st.sampled_from([b"", b"x", b"y", b"zz"]),  # few, so that contents move between paths
    min_size=1,
)


def base_of(recipe):
    digest = frames.digest(strict_json.readable(recipe.manifest), recipe.algorithm).hex()
    return {"name": "demo", "version": recipe.manifest["version"], "manifest": digest}


@pytest.fixture(scope="module")
def delta_of(recipe_of):
    """A delta of one recipe to the contents of another, leaving out these paths."""

    def delta_of(older, whole, left):
        carried = recipe_of({path: one for path, one in whole.items() if path not in left})
        offsets = {file["path"]: file["offset"] for file in carried.manifest["files"]}
        full = recipe_of(whole, version="2.0.0", sequence=8, base=base_of(older))
        files = [file | {"offset": offsets.get(file["path"])} for file in full.manifest["files"]]
        return full.but_manifest(files=files)

    return delta_of


def files_of(recipe):
    return [File(**{**file, "artifact": "tiny"}) for file in recipe.manifest["files"]]


def taken(bundle):
    return {file.path: b"".join(pieces) for file, pieces in bundle.contents()}


@settings(max_examples=60, deadline=None)
@given(old=contents, new=contents)
def test_a_delta_and_its_base_are_the_whole(
    *, recipe_of, delta_of, alice, verified, trusting_alice, old, new
):
    """For any two trees: what is left out is found in the base, byte for byte, and nothing else."""
    older = recipe_of(old)
    left = delta_rule.left_out(files_of(recipe_of(new)), files_of(older))
    recipe = delta_of(older, new, left)
    there = verified(older.build(alice), trusting_alice).bundle
    bundle = verified(recipe.build(alice), trusting_alice).bundle
    base.check(bundle, there)
    held = taken(there)
    by_digest = {hashlib.sha256(content).hexdigest(): content for content in held.values()}
    carried = taken(bundle)
    whole = {
        file.path: carried[file.path] if file.offset is not None else by_digest[file.sha256]
        for file in bundle.manifest.files
    }
    assert whole == new
    stay = {old[path] for path in old if new.get(path, old[path]) == old[path]}
    for path, content in carried.items():  # nothing travels that could have stayed
        assert content not in stay or old.get(path, content) != content
    assert all(new.get(place, held[place]) == held[place] for place in left.values())
    assert {path: held[place] for path, place in left.items()} == {path: new[path] for path in left}


@settings(max_examples=40, deadline=None)
@given(old=contents, new=contents, data=st.data())
def test_a_file_left_out_that_the_base_lacks_is_refused(
    *, recipe_of, delta_of, alice, verified, trusting_alice, old, new, data
):
    older = recipe_of(old)
    left = data.draw(st.sets(st.sampled_from(sorted(new))))
    lacking = {path for path in left if new[path] not in old.values()}
    bundle = verified(delta_of(older, new, left).build(alice), trusting_alice).bundle
    there = verified(older.build(alice), trusting_alice).bundle
    if lacking:
        with pytest.raises(RefusedError) as caught:
            base.check(bundle, there)
        assert caught.value.rule == "delta.files"
        assert all(f"'{path}'" in caught.value.message for path in lacking)
    else:
        base.check(bundle, there)


@pytest.fixture(scope="module")
def small(recipe_of, delta_of):
    """A delta of two files, one of which is left to the base; small, for it is flipped."""
    older = recipe_of({"README.txt": b"old\n", "samples/a.txt": b"kept\n"})
    whole = {"README.txt": b"new\n", "samples/a.txt": b"kept\n"}
    return delta_of(older, whole, {"samples/a.txt"})


def accepted(source, policy, verified):
    try:
        verified(source, policy).bundle.check_contents()
    except RefusedError:
        return False
    return True


def test_every_byte_of_a_delta(small, alice, verified, memory, trusting_alice):
    source = memory(bytearray(small.build(alice)))
    assert accepted(source, trusting_alice, verified)
    end = len(bytes(source.data[:65536]).rstrip(b" "))
    survivors = []
    for at in [*range(end), *range(65536, len(source.data))]:
        source.data[at] ^= 1
        if accepted(source, trusting_alice, verified):
            survivors.append(at)
        source.data[at] ^= 1
    assert survivors == []


@pytest.mark.parametrize(
    ("change", "saying"),
    [
        ({"name": "other"}, "base 'other-1.0.0' is no bundle of the name 'demo'"),
        ({"version": "2.0.0"}, "base 'demo-2.0.0' has the version of the bundle itself"),
    ],
)
def test_a_base_that_cannot_be_one(small, alice, refused, change, saying):
    named = small.manifest["base"] | change
    refused(small.but_manifest(base=named).build(alice), "manifest.form", saying)


def test_one_content_of_two_sizes(recipe_of, delta_of, alice, refused):
    """The second is left to the base, where only its digest would be looked up."""
    older = recipe_of({"samples/a": b"same"})
    recipe = delta_of(older, {"samples/a": b"same", "samples/b": b"same"}, {"samples/b"})
    files = [dict(file) for file in recipe.manifest["files"]]
    files[1]["size"] = 5
    lying = recipe.but(payload=recipe.tape()).but_manifest(files=files)
    refused(
        lying.build(alice),
        "manifest.form",
        "file 'samples/a' has 4 bytes, and another of the same SHA-256 has 5",
    )


def test_a_digest_of_the_deltas_own_hash(recipe_of, delta_of, alice, verified, trusting_alice):
    """A base of SHA-256 is named in SHA-384 by a delta of SHA-384."""
    whole = {"README.txt": b"x", "samples/a": b"kept"}
    older = recipe_of(whole)
    recipe = delta_of(older.but(algorithm="sha384"), whole, {"samples/a"}).but(algorithm="sha384")
    assert len(recipe.manifest["base"]["manifest"]) == 96
    there = verified(older.build(alice), trusting_alice).bundle
    base.check(verified(recipe.build(alice), trusting_alice).bundle, there)


def test_one_file_is_read_alone(large_bundle, large_recipe, verified, trusting_alice):
    """Its own frames are read and checked, and no others."""
    bundle = verified(large_bundle, trusting_alice).bundle
    for file in bundle.manifest.files:
        assert bundle.read(file, file.size) == large_recipe.contents[file.path]


def test_a_file_that_is_read_alone_is_bounded_and_checked(
    large_bundle, verified, trusting_alice, memory
):
    bundle = verified(large_bundle, trusting_alice).bundle
    first, *_, last = bundle.manifest.files
    with pytest.raises(DamagedError, match="at most 3 bytes") as caught:
        bundle.read(first, 3)
    assert caught.value.exit_code == 3
    damaged = bytearray(large_bundle)
    damaged[-9] ^= 1
    again = verified(memory(damaged), trusting_alice).bundle
    assert again.read(first, first.size) == b"three frames\n"
    with pytest.raises(DamagedError) as caught:
        again.read(last, last.size)
    assert caught.value.rule == "frame.digest"


def test_a_file_that_is_read_alone_is_what_the_manifest_says(
    recipe, alice, verified, trusting_alice
):
    """Frames and table agree; a builder who holds a key wrote another digest."""
    wrong = recipe.but_file(0, sha256="0" * 64).build(alice)
    bundle = verified(wrong, trusting_alice).bundle
    with pytest.raises(DamagedError) as caught:
        bundle.read(bundle.manifest.files[0], 100)
    assert caught.value.rule == "file.digest"


def test_an_empty_file_is_read_alone(recipe_of, alice, verified, trusting_alice):
    bundle = verified(recipe_of({"samples/empty": b""}).build(alice), trusting_alice).bundle
    assert bundle.read(bundle.manifest.files[0], 0) == b""
