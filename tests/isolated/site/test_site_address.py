"""Addresses of stores: what is typed comes back, and what leads elsewhere is no address."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.errors import UsageError
from runtime.site.address import OciAddress, S3Address, is_loopback, parse

PARTS = st.from_regex(r"[a-z0-9]+([._-][a-z0-9]+)*", fullmatch=True).filter(
    lambda part: len(part) < 100
)
PATHS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)
BUCKETS = st.from_regex(r"[a-z0-9][a-z0-9-]{1,20}[a-z0-9]", fullmatch=True)
REGISTRIES = st.from_regex(r"[a-z0-9]{1,9}(\.[a-z]{1,5})?(:[0-9]{2,5})?", fullmatch=True)
REFERENCES = st.none() | PARTS | st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)


@given(BUCKETS, st.just("") | PATHS)
def test_an_s3_address_comes_back(bucket: str, prefix: str) -> None:
    address = S3Address(bucket, prefix)
    assert parse(str(address)) == address


@given(REGISTRIES, PATHS, REFERENCES)
def test_an_oci_address_comes_back(registry: str, repository: str, reference: str | None) -> None:
    address = OciAddress(registry, repository, reference)
    assert parse(str(address)) == address


@given(
    st.text(max_size=80)
    | st.sampled_from(["s3://", "oci://"]).flatmap(
        lambda scheme: st.text(max_size=60).map(lambda rest: scheme + rest)
    )
)
def test_anything_else_is_a_usage_error(text: str) -> None:
    try:
        address = parse(text)
    except UsageError:
        return
    assert ".." not in str(address).split("/")
    assert parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "demo-1.0.0",
        "https://registry/demo",
        "s3://Bucket/models",
        "s3://bucket/../other",
        "s3://bucket/a//b",
        "oci://registry",
        "oci://registry/Demo",
        "oci://registry/../demo",
        "oci://registry/demo:",
        "oci://registry/demo@sha256:12",
        "oci://registry/demo:v1@sha256:" + "0" * 64,
        "oci://registry/demo?x=1",
        "oci://reg istry/demo",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="no address of a store"):
        parse(text)


@pytest.mark.parametrize("scheme", ["s3", "oci", "https"])
def test_a_password_in_an_address_is_refused_and_not_repeated(scheme: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(f"{scheme}://site:hunter2@registry/demo")
    assert "hunter2" not in caught.value.message + str(caught.value.hint)
    assert "docker login" in str(caught.value.hint)


def test_an_empty_bucket_is_the_variable_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODEL_BUCKET", raising=False)
    assert parse("s3:///models") == S3Address("whisper-models", "models")
    monkeypatch.setenv("MODEL_BUCKET", "speech")
    assert parse("s3:///models") == S3Address("speech", "models")


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("[::1]:5000", True),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:5000", False),
        ("10.0.0.1:5000", False),
    ],
)
def test_what_is_this_machine(host: str, is_own: bool) -> None:
    assert is_loopback(host) == is_own
