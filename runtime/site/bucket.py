"""An object store, read and written through boto3: S3 itself, MinIO, Ceph.

A bundle lies under one prefix, each file as an object of its own name. Whoever pushed it with
`airgap push` left the SHA-256 of each in its metadata (`sha256`); what came there otherwise is
pulled as well, and begun anew where that breaks off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from airgap import volume_names
from airgap.digest import CHUNK, is_sha256
from airgap.errors import AirgapError
from airgap.http_answer import RETRIED, answer
from airgap.object_store import KEYS_HINT, ObjectStore
from airgap.transfer import Answer, Opener, PassingError, Patience
from runtime.site.address import S3Address
from runtime.site.holding import FILES, Item

DIGEST: Final = "sha256"
"""The key of an object's metadata that holds the digest of its bytes."""

_ABSENT: Final = frozenset({"404", "NoSuchKey"})
_NO_BUCKET: Final = "NoSuchBucket"
_CHANGED: Final = 412


class Bucket:
    """A bucket of the store that the variables name.

    Attributes:
        client: boto3's.
        name: the bucket's.
    """

    def __init__(self, name: str, patience: Patience) -> None:
        """Make a client. Nothing is sent yet. Raises AirgapError: the variables are no good."""
        import boto3.session  # noqa: PLC0415 - half a second
        import botocore.config  # noqa: PLC0415 - half a second

        self.name = name
        self._store = ObjectStore.of_environment()
        config = botocore.config.Config(
            **self._store.config,
            connect_timeout=patience.connect,
            read_timeout=patience.silence,
            retries={"mode": "standard", "total_max_attempts": patience.tries},
            # Ours is SHA-256, where it is of use. Others than AWS know no checksums in trailers.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        with self.translated(f"s3://{name}"):
            session = boto3.session.Session()
            self.client: Any = session.client("s3", config=config, **self._store.arguments)

    def close(self) -> None:
        """End its connections."""
        self.client.close()

    def listed(self, prefix: str, most: int) -> list[tuple[str, int, str]]:
        """Key, size and ETag of each object whose key begins so.

        Raises:
            AirgapError: there are more than `most`, or the store does not say.
        """
        found: list[tuple[str, int, str]] = []
        with self.translated(f"s3://{self.name}/{prefix}"):
            pages = self.client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.name, Prefix=prefix):
                found += [
                    (one["Key"], one["Size"], one["ETag"]) for one in page.get("Contents", ())
                ]
                if len(found) > most:
                    raise AirgapError(
                        f"'s3://{self.name}/{prefix}' holds more than {most} objects",
                        hint="name the folder of one bundle",
                    )
        return found

    def head(self, key: str) -> Mapping[str, Any] | None:
        """What the store says of an object; None where there is none."""
        with suppress(_AbsentError), self.translated(f"s3://{self.name}/{key}"):
            said: Mapping[str, Any] = self.client.head_object(
                Bucket=self.name, Key=key, ChecksumMode="ENABLED"
            )
            return said
        return None

    def item(self, name: str, key: str) -> Item:
        """An object, as `name` of a bundle. Raises AirgapError: it has gone."""
        said = self.head(key)
        if said is None:
            raise AirgapError(f"'s3://{self.name}/{key}' has gone since it was listed")
        return Item(name, said["ContentLength"], digest_of(said), key, said["ETag"])

    def opener(self, item: Item) -> Opener:
        """Opens the bytes of that very state of an object, from any byte on."""

        @contextmanager
        def opened(start: int, _etag: str | None) -> Iterator[Answer]:
            wanted = {"Range": f"bytes={start}-"} if start else {}
            if item.etag:
                wanted["IfMatch"] = item.etag
            with self.translated(f"s3://{self.name}/{item.place}"):
                said = self.client.get_object(Bucket=self.name, Key=item.place, **wanted)
                with said["Body"] as body:
                    yield answer(
                        said["ResponseMetadata"]["HTTPStatusCode"],
                        {
                            "ETag": said["ETag"],
                            "Content-Range": said.get("ContentRange", ""),
                            "Content-Length": str(said["ContentLength"]),
                        },
                        self._store.host,
                        start,
                        iter(lambda: body.read(CHUNK), b""),
                    )

        return opened

    @contextmanager
    def translated(self, what: str) -> Iterator[None]:
        """Turn what boto3 raises into our words; none of them holds a key."""
        from botocore import exceptions  # noqa: PLC0415 - half a second

        host = self._store.host
        try:
            yield
        except exceptions.ClientError as error:
            if error.response.get("Error", {}).get("Code") == _NO_BUCKET:
                raise self._no_bucket() from error
            raise _refused(error.response, host, what) from error
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
            raise AirgapError(f"S3 at {host} wants credentials", hint=KEYS_HINT) from error
        except exceptions.SSLError as error:
            raise AirgapError(
                f"S3 at {host} shows a certificate that is not trusted",
                hint="give the site's authorities: --ca-bundle FILE, or AWS_CA_BUNDLE",
            ) from error
        except (
            exceptions.ConnectionError,
            exceptions.HTTPClientError,
            exceptions.IncompleteReadError,
        ) as error:
            raise PassingError(
                f"S3 at {host} cannot be reached, or broke off: {type(error).__name__}",
                hint="check S3_ENDPOINT and the network; run it again: it goes on where it stopped",
            ) from error
        except (exceptions.BotoCoreError, ValueError) as error:
            raise AirgapError(
                f"S3 at {host} cannot be used: {type(error).__name__}", hint=KEYS_HINT
            ) from error

    def _no_bucket(self) -> AirgapError:
        there = ' --endpoint-url "$S3_ENDPOINT"' if self._store.endpoint else ""
        return AirgapError(
            f"S3 at {self._store.host} has no bucket '{self.name}'",
            hint=f"check its name and S3_ENDPOINT; to make it: aws s3 mb s3://{self.name}{there}",
        )


class HeldInBucket:
    """One bundle under a prefix.

    Attributes:
        name: the address that was typed.
        items: every object there.
    """

    def __init__(self, bucket: Bucket, address: S3Address) -> None:
        """Ask what is there. Raises AirgapError: nothing, or far too much."""
        self.name, self._bucket = str(address), bucket
        self.items: Sequence[Item] = tuple(
            bucket.item(name, f"{folder}{name}") for folder, name in _named(bucket, address)
        )
        if not self.items:
            raise AirgapError(
                f"'{address}' holds nothing",
                hint="check MODEL_BUCKET, S3_ENDPOINT and the prefix: the folder of one bundle, "
                "or its .tar.zst",
            )

    def opener(self, item: Item) -> Opener:
        """Opens the bytes of a file."""
        return self._bucket.opener(item)


class _AbsentError(AirgapError):
    """There is no such object."""


def digest_of(said: Mapping[str, Any]) -> str | None:
    """The SHA-256 that whoever stored an object wrote beside it; None where nobody did."""
    found = said.get("Metadata", {}).get(DIGEST)
    return found if is_sha256(found) else None


def _named(bucket: Bucket, address: S3Address) -> Iterator[tuple[str, str]]:
    """The prefix and the name below it of each object that an address means."""
    folder = f"{address.prefix}/" if address.prefix else ""
    parent, _, last = address.prefix.rpartition("/")
    joined = volume_names.joined(last)
    if joined.endswith(volume_names.WHOLE):  # a file was named: that bundle, without papers
        folder = f"{parent}/" if parent else ""
        for key, _size, _etag in bucket.listed(f"{folder}{joined}", FILES):
            if volume_names.is_of_bundle(key[len(folder) :], joined):
                yield folder, key[len(folder) :]
        return
    for key, _size, _etag in bucket.listed(folder, FILES):
        if key != folder:  # what consoles make to show a folder
            yield folder, key[len(folder) :]


def _refused(response: Mapping[str, Any], host: str, what: str) -> AirgapError:
    """What a store's refusal means."""
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _ABSENT:
        return _AbsentError(
            f"S3 at {host} has no '{what}'", hint="check MODEL_BUCKET and S3_ENDPOINT"
        )
    if status == _CHANGED:
        return AirgapError(
            f"'{what}' was changed by somebody else meanwhile", hint="look at it, then run it again"
        )
    if status in RETRIED:
        return PassingError(f"S3 at {host} answered {status} for '{what}'")
    return AirgapError(
        f"S3 at {host} answered {status or code} for '{what}'", hint=f"{KEYS_HINT}, and AWS_REGION"
    )
