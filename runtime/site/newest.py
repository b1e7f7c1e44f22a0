"""Which bundle of a bucket a server should mount: the newest that this host believes.

Only heads are read, 64 KiB of each. The number that decides is the signed sequence of a statement
that satisfies the policy; names, dates and the order of a listing are the store's, and count for
nothing.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airgap import volume_names
from airgap.accepted import NO_OVERRIDES, clock
from airgap.console import console
from airgap.errors import AirgapError, RefusedError, UsageError
from airgap.evidence import Decision, record_refusal
from airgap.statement import Statement
from airgap.transfer import Patience
from runtime import generation
from runtime.site.address import S3Address
from runtime.site.bucket import Bucket, HeldInBucket
from runtime.site.pull import Pulled, judged_head, pull

PREFIX: Final = "models"
"""Where `airgap serve` looks in MODEL_BUCKET."""

OBJECTS: Final = 10_000
"""Objects below the prefix, papers among them."""

BUNDLES: Final = 64
"""Bundles whose heads are read."""


@dataclass(frozen=True)
class Candidate:
    """A bundle in a bucket that this host would mount, by its head."""

    address: S3Address
    statement: Statement


def bundles(bucket: Bucket) -> list[S3Address]:
    """The address of every bundle below the prefix, each by its file or its first volume."""
    keys = (key for key, _size, _etag in bucket.listed(f"{PREFIX}/", OBJECTS))
    found = sorted(
        {
            f"{folder}/{volume_names.joined(name)}"
            for folder, _, name in (key.rpartition("/") for key in keys)
            if volume_names.joined(name).endswith(volume_names.WHOLE)
        }
    )
    if len(found) > BUNDLES:
        raise UsageError(
            f"'s3://{bucket.name}/{PREFIX}' holds {len(found)} bundles, and at most {BUNDLES} are "
            "looked at",
            hint="take old ones away, or name a bucket for this site: MODEL_BUCKET",
        )
    return [S3Address(bucket.name, key) for key in found]


def newest(bucket: Bucket, root: Path, name: str | None) -> Candidate:
    """The newest bundle that this host would mount.

    Args:
        bucket: the store.
        root: the host's.
        name: of the bundle; None where the bucket has bundles of one name.

    Raises:
        UsageError: there are bundles of several names, and none was given.
        RefusedError: there are some, and this host would mount none of them.
        AirgapError: there is none.
    """
    refused: list[RefusedError] = []
    found: list[Candidate] = []
    for address in bundles(bucket):
        decision = Decision(root, "verify", str(address), clock(), NO_OVERRIDES)
        try:
            statement = judged_head(HeldInBucket(bucket, address), decision)
        except RefusedError as error:
            refused.append(error)
            if error.rule != "sequence.older":  # those are what a bucket is full of
                record_refusal(root, "verify", str(address), error)
                console.warn(f"passed over '{address}': {error.message}")
            continue
        if name in {None, statement.name}:
            found.append(Candidate(address, statement))
    names = sorted({one.statement.name for one in found})
    if len(names) > 1:
        raise UsageError(
            f"'s3://{bucket.name}/{PREFIX}' holds bundles of several names: {', '.join(names)}",
            hint=f"airgap serve --bundle {names[0]}",
        )
    if found:
        return max(found, key=lambda one: one.statement.sequence)
    if refused:
        raise refused[0]
    raise AirgapError(
        f"'s3://{bucket.name}/{PREFIX}' holds no bundle" + (f" named '{name}'" if name else ""),
        hint=f"airgap push BUNDLE s3://{bucket.name}/{PREFIX}",
    )


def pull_newer(
    bucket_name: str, root: Path, name: str | None, out: Path, patience: Patience
) -> tuple[str, Pulled | None]:
    """Fetch and verify the newest bundle, where it is not the one that is mounted already.

    Args:
        bucket_name: of the store that the variables name.
        root: the host's.
        name: of the bundle; None for the only one.
        out: where its folder goes.
        patience: with the store.

    Returns:
        Its name, and what was pulled; None where that was not needed.

    Raises:
        RefusedError, UsageError, AirgapError: as `newest` and `pull`.
    """
    with closing(Bucket(bucket_name, patience)) as bucket:
        candidate = newest(bucket, root, name)
        if _is_mounted(root, candidate.statement):
            console.say(f"'{candidate.statement.title}' is mounted, and the newest in the bucket")
            return candidate.statement.name, None
        console.say(f"pulling '{candidate.statement.title}' from '{candidate.address}'")
        decision = Decision(root, "verify", str(candidate.address), clock(), NO_OVERRIDES)
        with decision.recorded():
            pulled = pull(HeldInBucket(bucket, candidate.address), out, decision, patience)
        decision.passed(pulled.verified)
        return candidate.statement.name, pulled


def _is_mounted(root: Path, statement: Statement) -> bool:
    if statement.name not in generation.mounted(root):
        return False
    with generation.current(root, statement.name) as one:
        return one.statement == statement
