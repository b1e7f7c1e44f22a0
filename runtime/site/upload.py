"""A file -> an object, in parts that the store keeps from one run to the next.

The parts of an upload that was cut off are listed and compared with the file; only the others are
sent. What is there under the name already is never overwritten unasked: the store itself refuses
that (If-None-Match), so that of two pushes at once one fails.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Final

from airgap.console import Advance
from airgap.errors import AirgapError
from airgap.limits import MIB
from runtime.site.address import S3Address
from runtime.site.bucket import DIGEST, Bucket, digest_of
from runtime.site.holding import Offered, held_already

PART: Final = 16 * MIB
"""Bytes of a part, held in memory; a file that is no larger goes in one request."""

PARTS: Final = 9000
"""Parts of an object; S3 takes ten thousand. Larger files get larger parts."""


class S3Shelf:
    """The prefix that takes one bundle.

    Attributes:
        name: its address.
    """

    def __init__(self, bucket: Bucket, address: S3Address, *, replace: bool) -> None:
        self.name, self._bucket, self._prefix = str(address), bucket, address.prefix
        self._replace = replace
        self._replaced: dict[str, str] = {}

    def missing(self, files: Sequence[Offered]) -> list[Offered]:
        """Those that are not there; see `Shelf`."""
        return [file for file in files if not self._is_there(file)]

    def put(self, file: Offered, advance: Advance) -> None:
        """Store one file; see `Shelf`."""
        with self._bucket.translated(self._where(file)), _opened(file) as stream:
            if file.size <= PART:
                checksum = self._put_whole(file, stream)
                advance(file.size)
            else:
                checksum = _Parts(self._bucket, self._key(file), file, advance).put(
                    stream, self._condition(file)
                )
        self._check_kept(file, checksum)

    def finish(self, files: Sequence[Offered]) -> None:
        """Nothing more: whoever lists the prefix sees the bundle's head last; see `push`."""
        del files

    def _key(self, file: Offered) -> str:
        return f"{self._prefix}/{file.name}"

    def _where(self, file: Offered) -> str:
        return f"{self.name}/{file.name}"

    def _is_there(self, file: Offered) -> bool:
        said = self._bucket.head(self._key(file))
        if said is None:
            return False
        there, size = digest_of(said), said["ContentLength"]
        if there == file.sha256 and size == file.size:
            return True
        if not self._replace:
            raise held_already(self._where(file), file.sha256, there, size)
        self._replaced[file.name] = said["ETag"]
        return False

    def _condition(self, file: Offered) -> Mapping[str, str]:
        """What must be true when the object gets its name."""
        seen = self._replaced.get(file.name)
        return {"IfMatch": seen} if seen else {"IfNoneMatch": "*"}

    def _put_whole(self, file: Offered, stream: IO[bytes]) -> str:
        content = stream.read(PART + 1)
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise _changed(file)
        checksum = base64.b64encode(bytes.fromhex(file.sha256)).decode()
        self._bucket.client.put_object(
            Bucket=self._bucket.name,
            Key=self._key(file),
            Body=content,
            ChecksumSHA256=checksum,
            Metadata={DIGEST: file.sha256},
            **self._condition(file),
        )
        return checksum

    def _check_kept(self, file: Offered, checksum: str) -> None:
        """Ask the store what it has; a checksum of parts ends in their count."""
        said = self._bucket.head(self._key(file)) or {}
        size, kept = said.get("ContentLength"), said.get("ChecksumSHA256", checksum)
        if size != file.size or kept.partition("-")[0] != checksum:
            raise AirgapError(
                f"'{self._where(file)}' is not what was sent: {file.size} bytes, checksum "
                f"{checksum}; the store has {size} bytes, checksum {kept}",
                hint="run it again with --replace; if it stays so, the store loses bytes",
            )


class _Parts:
    """One file on its way in parts."""

    def __init__(self, bucket: Bucket, key: str, file: Offered, advance: Advance) -> None:
        self._client, self._file, self._advance = bucket.client, file, advance
        self._object = {"Bucket": bucket.name, "Key": key}
        needed = -(-file.size // PARTS)
        self._each = max(PART, -(-needed // MIB) * MIB)

    def put(self, stream: IO[bytes], condition: Mapping[str, str]) -> str:
        """Send what is missing and have the object made; the checksum of its parts' checksums."""
        upload, there = self._adopted(stream) or (self._begun(), {})
        whole, of_parts, parts = hashlib.sha256(), hashlib.sha256(), []
        for number, content in self._cut(stream):
            whole.update(content)
            digest = hashlib.sha256(content).digest()
            of_parts.update(digest)
            checksum = base64.b64encode(digest).decode()
            tag = there.get(number) or self._send(upload, number, content, checksum)
            parts.append({"PartNumber": number, "ETag": tag, "ChecksumSHA256": checksum})
            self._advance(len(content))
        if whole.hexdigest() != self._file.sha256:
            raise _changed(self._file)
        self._client.complete_multipart_upload(
            **self._object, UploadId=upload, MultipartUpload={"Parts": parts}, **condition
        )
        return base64.b64encode(of_parts.digest()).decode()

    def _cut(self, stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
        stream.seek(0)
        number = 1
        while content := stream.read(self._each):
            yield number, content
            number += 1

    def _begun(self) -> str:
        begun = self._client.create_multipart_upload(
            **self._object, ChecksumAlgorithm="SHA256", Metadata={DIGEST: self._file.sha256}
        )
        upload: str = begun["UploadId"]
        return upload

    def _send(self, upload: str, number: int, content: bytes, checksum: str) -> str:
        sent = self._client.upload_part(
            **self._object,
            UploadId=upload,
            PartNumber=number,
            Body=content,
            ChecksumSHA256=checksum,
        )
        tag: str = sent["ETag"]
        return tag

    def _adopted(self, stream: IO[bytes]) -> tuple[str, Mapping[int, str]] | None:
        """An upload that an earlier run left, with the tags of its parts; all of them are ours.

        One with any other part is another content's, whose digest it would get: it is dropped.
        """
        listed = self._client.list_multipart_uploads(
            Bucket=self._object["Bucket"], Prefix=self._object["Key"]
        )
        for one in listed.get("Uploads", ()):
            if one["Key"] != self._object["Key"]:
                continue
            there = self._parts_of(one["UploadId"])
            if not there:
                continue
            if there.items() <= dict(self._tags(stream, max(there))).items():
                return one["UploadId"], there
            self._client.abort_multipart_upload(**self._object, UploadId=one["UploadId"])
        return None

    def _parts_of(self, upload: str) -> dict[int, str]:
        pages = self._client.get_paginator("list_parts").paginate(**self._object, UploadId=upload)
        return {
            part["PartNumber"]: part["ETag"] for page in pages for part in page.get("Parts", ())
        }

    def _tags(self, stream: IO[bytes], last: int) -> Iterator[tuple[int, str]]:
        """What S3 calls a part that holds these bytes: their MD5, unless a key of its own hides it.

        Then nothing is taken over, and all is sent. The checksum of all parts decides at the end.
        """
        for number, content in self._cut(stream):
            yield number, f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
            if number == last:
                return


@contextmanager
def _opened(file: Offered) -> Iterator[IO[bytes]]:
    try:
        stream = file.path.open("rb")
    except OSError as error:
        raise AirgapError(f"cannot read '{file.path}': {error.strerror}") from error
    with stream:
        yield stream


def _changed(file: Offered) -> AirgapError:
    return AirgapError(
        f"'{file.path}' was changed while it was sent",
        hint="run it again, when nobody writes there",
    )
