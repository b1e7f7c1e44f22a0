"""The object store as a source: the real boto3 against a real S3 protocol on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from airgap.errors import AirgapError, UsageError
from bundler.fetch import fetch
from bundler.lock import Lock
from bundler.sources import Access
from bundler.sources.s3 import S3, ObjectStore

MakeLock = Callable[..., Lock]

FILES = {"config.json": b"{}", "model.bin": bytes(range(256)) * 4096, "sub/empty.txt": b""}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An object store with FILES under `tiny` in two buckets, reached by the seed's variables."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    monkeypatch.setenv("S3_ENDPOINT", endpoint)
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    for bucket in ("whisper-models", "another"):
        client.create_bucket(Bucket=bucket)
        for path, content in FILES.items():
            client.put_object(Bucket=bucket, Key=f"tiny/{path}", Body=content)
    client.close()
    yield endpoint
    server.stop()


@pytest.fixture
def reached(access: Access, store: str) -> Access:
    return replace(access, objects=ObjectStore())


def test_a_model_comes_from_the_default_bucket(
    make_lock: MakeLock, reached: Access, cached: Callable[[], list[str]], kit: Any
) -> None:
    fetched = fetch(make_lock(FILES, S3("tiny")), reached)
    assert cached() == sorted(kit.sha256(content) for content in FILES.values())
    assert set(fetched.served.values()) == {"s3 tiny"}


def test_the_bucket_of_the_variable_and_of_the_lock(
    make_lock: MakeLock, reached: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_BUCKET", "no-such-bucket")
    with pytest.raises(AirgapError, match="has no 's3://no-such-bucket/tiny/") as caught:
        fetch(make_lock(FILES, S3("tiny")), reached)
    assert "check MODEL_BUCKET and S3_ENDPOINT" in str(caught.value.hint)
    fetch(make_lock(FILES, S3("tiny", "another")), reached)


def test_it_resumes_by_range(make_lock: MakeLock, reached: Access, kit: Any) -> None:
    content = FILES["model.bin"]

    def break_off(sink: Any) -> None:
        sink.write(content[:300_000])
        raise AirgapError("the line broke")

    with pytest.raises(AirgapError, match="the line broke"):
        reached.cache.keep(
            kit.sha256(content), len(content), len(content), lambda _units: None, break_off
        )
    fetch(make_lock(FILES, S3("tiny")), reached)
    assert reached.cache.path(kit.sha256(content)).read_bytes() == content


def test_a_missing_object_is_named(
    make_lock: MakeLock, reached: Access, cached: Callable[[], list[str]]
) -> None:
    with pytest.raises(AirgapError, match=r"has no 's3://whisper-models/tiny/other\.bin'"):
        fetch(make_lock({"other.bin": b"x"}, S3("tiny")), reached)
    assert cached() == []


def test_other_bytes_are_refused(
    make_lock: MakeLock, reached: Access, cached: Callable[[], list[str]]
) -> None:
    with pytest.raises(AirgapError, match="expected 3 bytes, it has 2"):
        fetch(make_lock({"config.json": b"{ }"}, S3("tiny")), reached)
    assert cached() == []


def test_without_credentials_the_variables_are_named(
    make_lock: MakeLock, reached: Access, monkeypatch: pytest.MonkeyPatch, kit: Any
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(AirgapError, match=r"S3 at 127\.0\.0\.1 wants credentials") as caught:
        fetch(make_lock(FILES, S3("tiny")), reached)
    assert "AWS_ACCESS_KEY_ID" in str(caught.value.hint)
    assert kit.SECRET not in caught.value.message + str(caught.value.hint)


def test_a_store_that_is_not_there(make_lock: MakeLock, access: Access) -> None:
    nowhere = replace(access, objects=ObjectStore("http://127.0.0.1:9"))
    with pytest.raises(AirgapError, match=r"127\.0\.0\.1:9 cannot be reached") as caught:
        fetch(make_lock(FILES, S3("tiny")), nowhere)
    assert "(tried 3 times)" in caught.value.message


def test_without_the_extra_it_says_so(
    make_lock: MakeLock, reached: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "boto3.session", None)
    with pytest.raises(AirgapError, match="boto3, which is not installed") as caught:
        fetch(make_lock(FILES, S3("tiny")), reached)
    assert "pip install 'airgap-bundler[s3]'" in str(caught.value.hint)
    assert not isinstance(caught.value, UsageError)
