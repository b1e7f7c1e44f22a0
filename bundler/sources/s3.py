"""An object store as a source: S3, or what speaks its protocol (MinIO, Ceph).

Reached as the variables say: S3_ENDPOINT (without it, AWS itself), AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY, MODEL_BUCKET. Secrets are read by boto3 alone.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from airgap.errors import AirgapError, UsageError
from airgap.limits import KIB
from bundler.sink import Sink
from bundler.sources.authorities import CA_HINT, authorities
from bundler.sources.web import RETRIED, without_secrets
from bundler.transfer import Answer, PassingError, Patience, transfer

if TYPE_CHECKING:
    from bundler.sources import Access

BUCKET: Final = "whisper-models"
"""The bucket where neither the lock nor MODEL_BUCKET names one."""

READ: Final = 256 * KIB
"""Bytes of one read; it waits until so many have come."""

_CHANGED: Final = 412
_KEYS_HINT: Final = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and S3_ENDPOINT"


class ObjectStore:
    """The store that this builder reaches. Its library is imported at the first use."""

    def __init__(self, endpoint: str | None = None, patience: Patience | None = None) -> None:
        """Use the store at `endpoint`; None reads S3_ENDPOINT when it is first needed."""
        self._endpoint, self.patience = endpoint, patience or Patience()
        self._making = threading.Lock()
        self._made: Any = None

    @property
    def endpoint(self) -> str | None:
        """The address of the store; None for AWS itself."""
        return self._endpoint or os.environ.get("S3_ENDPOINT") or None

    @property
    def host(self) -> str:
        """For a person."""
        return urlsplit(self.endpoint).hostname or "" if self.endpoint else "s3.amazonaws.com"

    def pour(self, bucket: str, key: str, sink: Sink) -> None:
        """Pour an object into `sink`, resuming and trying again.

        Raises:
            UsageError: boto3 is not installed.
            AirgapError: the store does not give it.
        """
        client, what = self._client(), f"s3://{bucket}/{key}"

        @contextmanager
        def opened(start: int, etag: str | None) -> Iterator[Answer]:
            with self._translated(what):
                reply = _get(client, bucket, key, start, etag)
                with reply["Body"] as body:
                    yield _answer(reply, body)

        name = f"{without_secrets(self.endpoint or '')} {what}"
        transfer(name, opened, sink, self.patience)

    def _client(self) -> Any:
        """One for all threads: boto3's clients are made for that, making them is not."""
        with self._making:
            if self._made is None:
                self._made = self._connected()
            return self._made

    def _connected(self) -> Any:
        boto3, config = _library("boto3"), _library("botocore.config")
        errors = _library("botocore.exceptions")
        try:
            return boto3.client(
                "s3",
                endpoint_url=self.endpoint,
                region_name=os.environ.get("AWS_REGION")
                or os.environ.get("AWS_DEFAULT_REGION")
                or "us-east-1",
                verify=authorities(),
                config=config.Config(
                    connect_timeout=self.patience.connect,
                    read_timeout=self.patience.silence,
                    retries={"total_max_attempts": 1},  # ours knows how far the file has come
                    # The lock's digest is checked; the store's own cannot be, for a range.
                    response_checksum_validation="when_required",
                    s3={"addressing_style": "path" if self.endpoint else "auto"},
                ),
            )
        except (errors.BotoCoreError, ValueError) as error:
            raise AirgapError(
                f"S3 at {self.host} cannot be used: {type(error).__name__}", hint=_KEYS_HINT
            ) from error

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Turn what boto3 and what lies under it raise into our words."""
        errors = _library("botocore.exceptions")
        try:
            yield
        except errors.ClientError as error:
            raise _refused(error, what, self.host) from error
        except (errors.NoCredentialsError, errors.PartialCredentialsError) as error:
            raise AirgapError(f"S3 at {self.host} wants credentials", hint=_KEYS_HINT) from error
        except errors.SSLError as error:
            raise AirgapError(
                f"S3 at {self.host} shows a certificate that is not trusted", hint=CA_HINT
            ) from error
        except (errors.HTTPClientError, errors.IncompleteReadError) as error:
            raise PassingError(
                f"S3 at {self.host} cannot be reached: {type(error).__name__}",
                hint="check the network, S3_ENDPOINT and HTTPS_PROXY",
            ) from error
        except errors.BotoCoreError as error:
            raise AirgapError(f"S3 at {self.host}: {type(error).__name__} for '{what}'") from error


def _get(client: Any, bucket: str, key: str, start: int, etag: str | None) -> Any:
    """The object from a byte on; from its first byte, where it is another than it was."""
    wanted: dict[str, str] = {"Bucket": bucket, "Key": key}
    if not start:
        return client.get_object(**wanted)
    condition = {"IfMatch": etag} if etag else {}
    try:
        return client.get_object(**wanted, Range=f"bytes={start}-", **condition)
    except _library("botocore.exceptions").ClientError as error:
        if _status(error) != _CHANGED:
            raise
        return client.get_object(**wanted)


def _answer(reply: Any, body: Any) -> Answer:
    length = int(reply["ContentLength"])
    start = 0
    if said := reply.get("ContentRange"):  # bytes 5-9/10
        span, _, total = said.removeprefix("bytes ").partition("/")
        start, length = int(span.partition("-")[0]), int(total)
    return Answer(start, length, reply.get("ETag"), iter(lambda: body.read(READ), b""))


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _refused(error: Any, what: str, host: str) -> AirgapError:
    code, status = error.response.get("Error", {}).get("Code", ""), _status(error)
    if status in RETRIED:
        return PassingError(f"S3 at {host} answered {status}")
    if code in {"NoSuchKey", "NoSuchBucket", "404"}:
        return AirgapError(
            f"S3 at {host} has no '{what}'",
            hint="check MODEL_BUCKET and S3_ENDPOINT, and the source in the lock",
        )
    return AirgapError(f"S3 at {host} answered {code or status} for '{what}'", hint=_KEYS_HINT)


def _library(module: str) -> Any:
    """A module of boto3, imported when it is needed: that takes half a second."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            "S3 is read by boto3, which is not installed",
            hint="pip install 'airgap-bundler[s3]'",
        ) from error


@dataclass(frozen=True)
class S3:
    """A prefix in a bucket, below which the files lie under their own paths.

    Attributes:
        prefix: without slashes at its ends.
        bucket: None is the one that MODEL_BUCKET names.
    """

    prefix: str
    bucket: str | None = None

    @property
    def name(self) -> str:
        """For a person."""
        return f"s3 {self.bucket}/{self.prefix}" if self.bucket else f"s3 {self.prefix}"

    def hosts(self, access: Access) -> tuple[str, ...]:
        """The store's."""
        return (access.objects.host,)

    def copy(self, path: str, commit: str | None, access: Access, sink: Sink) -> None:  # noqa: ARG002 - a prefix has one state
        """Pour the object. Raises AirgapError."""
        bucket = self.bucket or os.environ.get("MODEL_BUCKET") or BUCKET
        access.objects.pour(bucket, f"{self.prefix}/{path}", sink)

    def as_lock(self) -> dict[str, Any]:
        """`s3: PREFIX`, and `bucket` where the lock names one."""
        return {"s3": self.prefix, **({"bucket": self.bucket} if self.bucket else {})}
