"""`s3://BUCKET/PREFIX` and `oci://REGISTRY/REPOSITORY[:TAG|@DIGEST]`, as a person types them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from airgap import object_store
from airgap.errors import UsageError

SHAPES: Final = "s3://BUCKET/PREFIX, or oci://REGISTRY/REPOSITORY[:TAG|@sha256:DIGEST]"

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_KEY: Final = re.compile(r"[A-Za-z0-9!_.*'()+=@,-]+(/[A-Za-z0-9!_.*'()+=@,-]+)*")
_HOST: Final = re.compile(
    r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(:[0-9]{1,5})?", re.IGNORECASE
)
_PART: Final = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_PART}(/{_PART})*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class S3Address:
    """A prefix in a bucket.

    Attributes:
        bucket: its name.
        prefix: without slashes at its ends; empty for all of the bucket.
    """

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def below(self, name: str) -> S3Address:
        """What lies there under `name`."""
        return S3Address(self.bucket, f"{self.prefix}/{name}".lstrip("/"))


@dataclass(frozen=True)
class OciAddress:
    """A repository in a registry, and which artifact of it.

    Attributes:
        registry: host, and port where one was typed.
        repository: its path.
        reference: a tag, or `sha256:…`; None where neither was typed.
    """

    registry: str
    repository: str
    reference: str | None

    def __str__(self) -> str:
        if self.reference is None:
            return f"oci://{self.registry}/{self.repository}"
        mark = "@" if self.is_pinned else ":"
        return f"oci://{self.registry}/{self.repository}{mark}{self.reference}"

    @property
    def is_pinned(self) -> bool:
        """Whether it names one content, by its digest."""
        return self.reference is not None and is_digest(self.reference)

    def at(self, reference: str) -> OciAddress:
        """Another artifact of the same repository."""
        return OciAddress(self.registry, self.repository, reference)


Address = S3Address | OciAddress


def is_digest(text: object) -> bool:
    """Whether `text` is a digest as an OCI registry writes it, by SHA-256."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Whether `text` may be a tag (OCI distribution-spec, "Pulling manifests")."""
    return _TAG.fullmatch(text) is not None


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine by its very name."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def parse(text: str) -> Address:
    """Take an address apart. `parse(str(address)) == address`.

    An empty bucket (`s3:///models`) is the one that MODEL_BUCKET names.

    Raises:
        UsageError: it is no such address, or holds a password.
    """
    scheme, _, rest = text.partition("://")
    if "@" in rest.partition("/")[0]:
        raise UsageError(
            "the address of a store holds no name and password",
            hint="S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; a registry: docker login, or "
            "skopeo login --authfile ~/.docker/config.json",
        )
    if scheme == "s3":
        return _s3(text, rest)
    if scheme == "oci":
        return _oci(text, rest)
    raise _wrong(text)


def _s3(text: str, rest: str) -> S3Address:
    bucket, _, prefix = rest.partition("/")
    bucket, prefix = bucket or object_store.usual_bucket(), prefix.strip("/")
    is_path = not {".", ".."} & set(prefix.split("/"))
    if not _BUCKET.fullmatch(bucket) or (prefix and not (_KEY.fullmatch(prefix) and is_path)):
        raise _wrong(text)
    return S3Address(bucket, prefix)


def _oci(text: str, rest: str) -> OciAddress:
    registry, _, path = rest.partition("/")
    repository, _, reference = path.partition("@" if "@" in path else ":")
    good = is_digest(reference) if "@" in path else not reference or is_tag(reference)
    if not _HOST.fullmatch(registry) or not _REPOSITORY.fullmatch(repository) or not good:
        raise _wrong(text)
    if path.endswith((":", "@")):
        raise _wrong(text)
    return OciAddress(registry, repository, reference or None)


def _wrong(text: str) -> UsageError:
    return UsageError(f"'{text}' is no address of a store", hint=f"expected {SHAPES}")
