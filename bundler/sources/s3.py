"""An object store as a source: S3, or what speaks its protocol (MinIO, Ceph).

Reached as the variables say: S3_ENDPOINT (without it, AWS itself), AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY (or what else boto3 finds), AWS_REGION, MODEL_BUCKET. boto3 reads the secrets
and signs addresses; bytes come from those addresses as from any other, so that they resume.
"""

from __future__ import annotations

import importlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airgap import object_store
from airgap.errors import AirgapError, UsageError
from airgap.http_answer import StatusError
from airgap.object_store import KEYS_HINT
from airgap.sink import Sink
from bundler.sources.web import Web

if TYPE_CHECKING:
    from bundler.sources import Access

VALID: Final = 3600
"""Seconds for which an address is signed; every try gets a new one."""

_ABSENT: Final = 404


class ObjectStore:
    """The store that this builder reaches. Its library is imported at the first use."""

    def __init__(self, endpoint: str | None = None) -> None:
        """Use the store at `endpoint`; None reads S3_ENDPOINT when it is needed."""
        self._endpoint = endpoint
        self._making = threading.Lock()
        self._made: Any = None

    @property
    def host(self) -> str:
        """For a person."""
        return self._store.host

    @property
    def _store(self) -> object_store.ObjectStore:
        return object_store.ObjectStore.of_environment(self._endpoint)

    def pour(self, bucket: str, key: str, web: Web, sink: Sink) -> None:
        """Pour an object into `sink`, resuming and trying again.

        Raises:
            UsageError: boto3 is not installed.
            AirgapError: the store does not give it.
        """
        what = f"s3://{bucket}/{key}"
        try:
            web.pour(lambda: self._signed(bucket, key), sink)
        except StatusError as error:
            if error.status == _ABSENT:
                raise AirgapError(
                    f"S3 at {self.host} has no '{what}'",
                    hint="check MODEL_BUCKET and S3_ENDPOINT, and the source in the lock",
                ) from error
            raise AirgapError(
                f"S3 at {self.host} answered {error.status} for '{what}'",
                hint=f"{KEYS_HINT}, and AWS_REGION",
            ) from error

    def _signed(self, bucket: str, key: str) -> str:
        """An address of the object that is good for an hour."""
        errors = _library("botocore.exceptions")
        try:
            wanted = {"Bucket": bucket, "Key": key}
            url: str = self._client().generate_presigned_url("get_object", wanted, ExpiresIn=VALID)
        except (errors.NoCredentialsError, errors.PartialCredentialsError) as error:
            raise AirgapError(f"S3 at {self.host} wants credentials", hint=KEYS_HINT) from error
        except (errors.BotoCoreError, ValueError) as error:
            raise AirgapError(
                f"S3 at {self.host} cannot be used: {type(error).__name__}", hint=KEYS_HINT
            ) from error
        return url

    def _client(self) -> Any:
        """One for all threads: boto3's clients are made for that, making them is not."""
        with self._making:
            if self._made is None:
                store = self._store
                config = _library("botocore.config").Config(**store.config)
                session = _library("boto3.session").Session()
                self._made = session.client("s3", config=config, **store.arguments)
            return self._made


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
        bucket = self.bucket or object_store.usual_bucket()
        access.objects.pour(bucket, f"{self.prefix}/{path}", access.web, sink)

    def as_lock(self) -> dict[str, Any]:
        """`s3: PREFIX`, and `bucket` where the lock names one."""
        return {"s3": self.prefix, **({"bucket": self.bucket} if self.bucket else {})}
