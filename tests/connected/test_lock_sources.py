"""`https` and `s3` in a lock: read, written back byte for byte, refused where they are wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airgap.errors import UsageError
from bundler.fetch import fetch
from bundler.lock import Lock
from bundler.sources import Access
from bundler.sources.https import Https
from bundler.sources.pypi import Pypi
from bundler.sources.s3 import S3

MakeLock = Callable[..., Lock]

SOURCES = (
    Https("https://models.example.org/tiny"),
    Https("https://example.org:8443", (("a.nemo", "https://cdn.example.org/7/a.nemo"),)),
    S3("tiny/v1"),
    S3("tiny", "my-models"),
)


def test_sources_survive_being_written(make_lock: MakeLock) -> None:
    lock = make_lock({"a.nemo": b"x"}, *SOURCES)
    assert Lock.parse(lock.to_bytes(), "l") == lock


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("https: ftp://example.org/x", "without a password and without a query"),
        ("https: 'https://user:secret@example.org/x'", "without a password"),
        ("https: 'https://example.org/x?token=1'", "without a query"),
        ("https: 'https://example.org', files: {../a: 'https://example.org/a'}", "has the part"),
        ("s3: ../tiny", "has the part '..'"),
        ("s3: tiny, bucket: A_Bucket", "the name of a bucket"),
        ("s3: tiny, secret: x", "unknown key 'secret'"),
        ("htps: 'https://example.org'", "did you mean 'https'"),
        ("bucket: mine", "unknown source 'bucket'; known are huggingface, pypi"),
        ("bucket: mine, s3: tiny, https: 'https://example.org'", "unknown key 'https'"),
    ],
)
def test_a_source_that_is_none(entry: str, said: str, make_lock: MakeLock) -> None:
    content = make_lock({"a.nemo": b"x"}, S3("tiny")).to_bytes()
    changed = content.replace(b"{s3: tiny}", b"{" + entry.encode() + b"}")
    assert changed != content
    with pytest.raises(UsageError) as caught:
        Lock.parse(changed, "l")
    assert said in caught.value.message
    assert caught.value.message.startswith("l:")


def test_the_order_of_an_entrys_keys_says_nothing(make_lock: MakeLock) -> None:
    lock = make_lock({"a.nemo": b"x"}, Pypi("models==1.0", "weights"))
    content = lock.to_bytes()
    swapped = content.replace(
        b"{pypi: models==1.0, folder: weights}", b"{folder: weights, pypi: models==1.0}"
    )
    assert swapped != content
    assert Lock.parse(swapped, "l") == lock


def test_their_hosts_are_those_of_the_plan(access: Access) -> None:
    hosts = [source.hosts(access) for source in SOURCES]
    assert hosts[0] == ("models.example.org",)
    assert hosts[1] == ("cdn.example.org", "example.org")
    assert hosts[2] == ("127.0.0.1",)


def test_a_file_with_an_address_of_its_own(
    make_lock: MakeLock, access: Access, web: Any, kit: Any, tmp_path: Path
) -> None:
    web.files |= {"sub/ä b.bin": b"one", "far/c.bin": b"two"}
    files = {"sub/ä b.bin": b"one", "c.bin": b"two"}
    source = Https(f"{web.url}/models/", (("c.bin", f"{web.url}/models/far/c.bin"),))
    fetch(make_lock(files, source), access)
    assert access.cache.path(kit.sha256(b"two")).read_bytes() == b"two"
