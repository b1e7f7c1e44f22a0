"""RFC 8785, judged by another implementation: one form for every spelling of the same values."""

import json
import math
import struct

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from airgap import jcs, limits
from airgap.strict_json import JsonError

DOUBLES = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("d", struct.pack("Q", bits))[0])
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-limits.INTEGER + 1, limits.INTEGER - 1)
    | DOUBLES.filter(math.isfinite)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)


@given(VALUES)
def test_the_form_is_that_of_the_standard(value):
    assert jcs.canonical(value) == rfc8785.dumps(value)


@given(VALUES)
def test_no_spelling_changes_it(value):
    canonical = jcs.canonical(value)
    for spelled in (
        json.dumps(value),
        json.dumps(value, indent=3, ensure_ascii=False),
        canonical.decode(),
    ):
        assert jcs.canonical(jcs.parse(spelled.encode())) == canonical


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (11.0, "11"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1e-6, "0.000001"),
        (1.5e-7, "1.5e-7"),
        (5e-324, "5e-324"),
        (-1.7976931348623157e308, "-1.7976931348623157e+308"),
    ],
)
def test_numbers_as_ecmascript_writes_them(number, written):
    assert jcs.canonical(number).decode() == written


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "line 1, column 2"),
        (b'{"a":1,"a":1}', "names a key twice"),
        (b"[NaN]", "NaN is not finite"),
        (b"[1e999]", "1e999 is not finite"),
        (b"[9007199254740993]", "out of range"),
        (b"[" + b"9" * 5000 + b"]", "out of range"),
        (b'"\\ud800"', "no Unicode"),
        (b'"\xff"', "no Unicode"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_readers_take_differently_is_refused(content, why):
    with pytest.raises(JsonError, match=why):
        jcs.parse(content)
