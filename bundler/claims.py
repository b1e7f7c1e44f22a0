"""What a bundle, or its manifest.json, says of itself: read within bounds, and not verified.

Enough to compare bundles, and to name a base: whatever a base claims, an isolated host takes no
file from it but one whose digest the delta's own signers vouch for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from airgap import envelope, limits, strict_json, volumes
from airgap.archive import OpenBundle, open_bundle, read_head
from airgap.console import console
from airgap.errors import DamagedError
from airgap.files import read_bounded
from airgap.head import interruption_told
from airgap.manifest import Manifest
from airgap.statement import Statement
from airgap.strict_json import Fields
from bundler import own_papers
from bundler.inventory import Inventory, of_manifest
from bundler.scan.verdict import SCHEMA

CAUTION: Final = "not verified: this is what the files say of themselves"


def is_bundle(path: Path) -> bool:
    """Whether a file starts as a bundle does. Raises AirgapError where it cannot be read."""
    with volumes.opened(path) as source:
        short = source.size is not None and source.size < len(envelope.HEAD_MAGIC)
        start = b"" if short else volumes.read(source, 0, len(envelope.HEAD_MAGIC))
    return start == envelope.HEAD_MAGIC


def read_manifest(path: Path) -> Manifest:
    """The manifest of a bundle, or the `manifest.json` beside one; says that nobody verified it.

    Raises:
        AirgapError: it cannot be read.
        DamagedError: it is neither; or a bundle that does not fit its own statement.
    """
    if is_bundle(path):
        with _opened(path) as bundle:
            manifest = bundle.manifest
    else:
        manifest = _parsed(path)
    console.say(f"{manifest.title}: read from '{path}', not verified")
    return manifest


def read_inventory(path: Path) -> Inventory:
    """The same as an inventory; of a bundle with the scan's findings and the keys that claim it.

    Raises:
        AirgapError: it cannot be read.
        DamagedError: it is neither; or a bundle that does not fit its own statement.
    """
    if not is_bundle(path):
        return of_manifest(_parsed(path))
    with _opened(path) as bundle:
        return replace(
            of_manifest(bundle.manifest),
            findings=_findings(bundle),
            signatures=tuple(one.key_id for one in bundle.envelope.signatures),
        )


def _parsed(path: Path) -> Manifest:
    return Manifest.parse(read_bounded(path, limits.MANIFEST_SIZE, "a manifest.json"))


@contextmanager
def _opened(path: Path) -> Iterator[OpenBundle]:
    with volumes.opened(path) as source, interruption_told(path):
        head = read_head(source)
        yield open_bundle(source, head, Statement.parse(head.statement))


def _findings(bundle: OpenBundle) -> dict[str, str] | None:
    """What `scan.json` found, by severity, rule and place; None where the bundle carries none."""
    report = next((one for one in bundle.manifest.carried if one.path == own_papers.SCAN), None)
    if report is None:
        return None
    defects: list[str] = []
    try:
        top = Fields(strict_json.parse(bundle.read(report, limits.SCAN_REPORT)), "", defects)
    except strict_json.JsonError as error:
        raise _unreadable(str(error)) from error
    top.text("schema", SCHEMA.__eq__, SCHEMA)
    found: dict[str, str] = {}
    for one in top.objects("findings", limits.FILES):
        what = f"{one.text('severity')} {one.text('rule')} in {one.text('place')}"
        found[what] = "; ".join(filter(None, (found.get(what), one.text("reason"))))
    if defects:
        raise _unreadable("; ".join(sorted(defects)))
    return found


def _unreadable(why: str) -> DamagedError:
    return DamagedError(
        f"'{own_papers.SCAN}' is not one that this version reads: {why}",
        rule="scan.form",
        hint="airgap --version; a newer bundle needs a newer airgap",
    )
