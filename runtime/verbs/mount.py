"""`airgap mount`: a verified bundle becomes the caches that the speech libraries expect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from airgap.console import console, human_size
from airgap.verbs import options

if TYPE_CHECKING:
    from airgap.evidence import Decision
    from airgap.manifest import Manifest
    from airgap.verify import VerifiedBundle


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("mount")(mount)


def mount(
    bundle: options.Bundle,
    also: options.Also = None,
    allow_older: options.AllowOlder = None,
    clock_wrong: options.ClockWrong = None,
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Verify a bundle and lay it out as model caches, ready to be loaded without a network.

    It is no mount of the operating system: files are written into a store, once for each content,
    and a folder of links to them is switched into place at the end. Until then, and if anything
    fails, what was mounted before stays. Programs that a bundle carries are not installed by it:
    `airgap runtime install` does, and `airgap update` does both.

    \b
    Examples:
      airgap mount demo-1.0.0.tar.zst
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import head, volumes
    from airgap.accepted import Overrides
    from runtime import mount as mounting
    from runtime import probation
    from runtime import root as roots

    decision = options.decision("mount", bundle, root, Overrides(allow_older, clock_wrong))
    with (
        decision.recorded(),
        volumes.source(bundle, also or ()) as source,
        roots.locked(decision.root) as locked,
        head.interruption_told(bundle, also or ()),
    ):
        probation.settle(locked)
        roots.settle(locked, decision.accepted, decision.clock)
        verified = decision.verify(source)
        with console.progress("mount", verified.bundle.table.stored_total) as bar:
            where = mounting.mount(locked, verified, decision.accepted, decision.clock, bar.advance)
    receipt = _recorded(decision, verified)
    for step in decision.overridden:
        console.warn(f"{step.rule}: {step.found}")
    _report(verified, where, receipt)


def _recorded(decision: Decision, verified: VerifiedBundle) -> Path:
    """The receipt. Raises AirgapError where there is no full record, and says what was done."""
    from airgap.errors import AirgapError

    try:
        return decision.passed(verified)
    except AirgapError as error:
        raise AirgapError(
            f"'{verified.bundle.statement.title}' is mounted; but that is not recorded on this "
            f"host: {error.message}",
            hint=error.hint or "mend that, then mount it again: it is recorded then",
        ) from error


def _lacks_its_runtime(manifest: Manifest, where: Path) -> Path | None:
    """The command that is not there, of a runtime that the bundle carries."""
    from runtime import environments, wheelhouse

    command = where / environments.COMMAND
    return command if wheelhouse.is_carried(manifest) and not command.exists() else None


def _report(verified: VerifiedBundle, where: Path, receipt: Path) -> None:
    statement, manifest = verified.bundle.statement, verified.bundle.manifest
    size = sum(file.size for file in manifest.files)
    console.data(f"{statement.title}: verified and mounted")
    console.data(f"  signed by      {', '.join(verified.verdict.signers)}")
    console.data(f"  approval code  {verified.approval_code}")
    console.data(f"  contents       {len(manifest.files)} files, {human_size(size)}")
    if statement.base:
        left = len(manifest.left_to_base)
        console.data(f"  delta of       {statement.base.title}: {left} files were here already")
    console.data(f"  cache root     {where}")
    console.data(f"  receipt        {receipt}")
    others = f"or, for other programs: export HF_HOME={where}/hf"
    if lacking := _lacks_its_runtime(manifest, where):
        console.warn(
            f"'{statement.title}' carries a runtime, which is not installed: nothing is at "
            f"'{lacking}', by which a unit starts"
        )
        console.say(f"next: airgap runtime install {statement.name}; {others}")
    else:
        console.say(f"next: airgap transcribe FILE; {others}")
    console.document(
        "airgap/mount/v1",
        {
            "name": statement.name,
            "version": statement.version,
            "sequence": statement.sequence,
            "signers": list(verified.verdict.signers),
            "approval_code": verified.approval_code,
            "files": len(manifest.files),
            "bytes": size,
            "base": statement.base.to_json() if statement.base else None,
            "cache_root": str(where),
            "receipt": str(receipt),
        },
    )
