"""An address -> the store behind it, reached as this machine is told to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from airgap.statement import Statement
from airgap.transfer import Patience
from runtime.site.address import Address, S3Address
from runtime.site.bucket import Bucket, HeldInBucket
from runtime.site.holding import Held, Shelf
from runtime.site.registry import Registry
from runtime.site.repository import HeldInRepository, OciShelf
from runtime.site.upload import S3Shelf

PATIENCE: Final = Patience()
"""Inside a site everything is near; a store that restarts is back within half a minute."""


@contextmanager
def held(address: Address, *, plain_http: bool | None = None) -> Iterator[Held]:
    """The one bundle at an address.

    Args:
        address: as it was typed.
        plain_http: of a registry, speak without TLS; None does so on this machine alone.

    Raises:
        UsageError: several bundles may be meant.
        AirgapError: there is none, or the store cannot be reached.
    """
    if isinstance(address, S3Address):
        with closing(Bucket(address.bucket, PATIENCE)) as bucket:
            yield HeldInBucket(bucket, address)
        return
    with closing(Registry(address, PATIENCE, plain_http=plain_http)) as registry:
        yield HeldInRepository(registry, address)


@contextmanager
def shelf(
    address: Address, statement: Statement, *, replace: bool, plain_http: bool | None = None
) -> Iterator[Shelf]:
    """Where one bundle goes: a folder of its title below a prefix, or a tag.

    Args:
        address: as it was typed.
        statement: the bundle's.
        replace: whether something else under its name may be overwritten.
        plain_http: as of `held`.
    """
    if isinstance(address, S3Address):
        with closing(Bucket(address.bucket, PATIENCE)) as bucket:
            yield S3Shelf(bucket, address.below(statement.title), replace=replace)
        return
    with closing(Registry(address, PATIENCE, plain_http=plain_http)) as registry:
        yield OciShelf(registry, address, statement, PATIENCE, replace=replace)
