"""Every byte of a small bundle, changed: refused by the shallow and by the deep check.

The signers have an Ed25519 and a P-384 key each, as `airgap keygen` makes them. That matters: a
flip in the id of a key makes its signature an unknown key's, and what refuses it is that the
signer's set is then incomplete, at a threshold of one as well.
"""

import pytest

from airgap import limits
from airgap.errors import DamagedError, RefusedError

ONE, TWO_OF_ONE, TWO = "one signer", "two signers, one wanted", "two signers, both wanted"


@pytest.fixture(scope="module")
def recipe(recipe_of):
    """Two files: small, since each of its bytes costs a verification."""
    return recipe_of({"README.txt": b"flip me\n", "samples/a.txt": b"me too\n"})


@pytest.fixture(scope="module")
def bundle(recipe, alice):
    return recipe.build(alice)


@pytest.fixture
def signed(request, recipe, alice, bob, policy_of):
    """A bundle and the policy that it satisfies."""
    if request.param == ONE:
        return recipe.build(alice), policy_of(alice)
    threshold = 1 if request.param == TWO_OF_ONE else 2
    return recipe.build(alice, bob), policy_of(alice, bob, threshold=threshold)


def content_end(bundle):
    """Where the head's spaces start."""
    return len(bundle[: limits.HEAD_SLOT].rstrip(b" "))


def survivors(source, policy, verified, positions, mask):
    """Positions whose flip one of the checks did not notice."""
    data, found = source.data, []
    for at in positions:
        data[at] ^= mask
        if accepts(source, policy, verified):
            found.append(at)
        data[at] ^= mask
    return found


def accepts(source, policy, verified):
    try:
        bundle = verified(source, policy).bundle
    except RefusedError:
        return False
    verdicts = []
    for check in (bundle.check_frames, bundle.check_contents):
        try:
            check()
        except DamagedError:
            verdicts.append(False)
        else:
            verdicts.append(True)
    assert verdicts[0] == verdicts[1]
    return any(verdicts)


@pytest.mark.parametrize("signed", [ONE, TWO_OF_ONE, TWO], indirect=True)
def test_the_bundle_is_sound_before_and_between(signed, verified, memory):
    """The loop below can fail: unflipped, the same source is accepted."""
    data, policy = signed
    source = memory(bytearray(data))
    assert accepts(source, policy, verified)
    assert survivors(source, policy, verified, [0, 9, len(data) - 1], 0) == [0, 9, len(data) - 1]


@pytest.mark.parametrize(
    ("signed", "mask"),
    [(ONE, 0x01), (ONE, 0x80), (TWO_OF_ONE, 0x01), (TWO, 0x80)],
    indirect=["signed"],
)
def test_every_byte_that_says_something(signed, verified, memory, mask):
    """The whole envelope, and everything after the head."""
    data, policy = signed
    source = memory(bytearray(data))
    positions = [*range(content_end(data)), *range(limits.HEAD_SLOT, len(data))]
    assert survivors(source, policy, verified, positions, mask) == []


@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_every_space_that_fills_the_head(bundle, verified, memory, mask, trusting_alice):
    source = memory(bytearray(bundle))
    positions = range(content_end(bundle), limits.HEAD_SLOT)
    assert len(positions) > 60_000
    assert survivors(source, trusting_alice, verified, positions, mask) == []


@pytest.mark.parametrize("blank", [b"\n", b"\t", b"\r", b"\0"], ids=repr)
def test_a_space_becomes_another_blank(recipe, alice, refused, blank):
    """JSON passes over these as well; only the canonical form tells."""
    data = bytearray(recipe.build(alice))
    data[limits.HEAD_SLOT - 1 : limits.HEAD_SLOT] = blank
    refused(bytes(data), "head.form", "is damaged or forged")


@pytest.mark.parametrize("signed", [TWO], indirect=True)
def test_two_bytes_change_places(signed, verified, memory):
    """Neighbours swapped all over the file, where they differ."""
    data, policy = signed
    for at in range(limits.HEAD_SLOT, len(data) - 1, 7):
        if data[at] != data[at + 1]:
            swapped = bytearray(data)
            swapped[at : at + 2] = data[at : at + 2][::-1]
            assert not accepts(memory(swapped), policy, verified)
