"""`airgap update`: a bundle and the programs that it carries, brought into service in one step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console
from airgap.verbs import options
from runtime.verbs.runtime import Sample

if TYPE_CHECKING:
    from airgap.verify import VerifiedBundle
    from runtime.update import Updated


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("update")(update)


def update(
    bundle: options.BundleFiles,
    also: options.Also = None,
    sample: Sample = None,
    service: Annotated[
        str | None,
        typer.Option(
            metavar="UNIT",
            help="Unit of systemd's to restart, as `airgap.service`; else you are told to.",
            show_default=False,
        ),
    ] = None,
    allow_older: options.AllowOlder = None,
    clock_wrong: options.ClockWrong = None,
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Bring a bundle into service: its models, and the runtime that it carries.

    Verifies it, asks the doctor, lays it out and installs its runtime beside what is served,
    transcribes the bundle's own recording with them (who speaks, too, where the bundle promises
    it), and only then switches both by one rename and restarts the service. Where a step fails,
    what was served is served still.
    `airgap rollback` goes back to the models and the runtime from before, together.

    \b
    Examples:
      airgap update /media/stick/demo-1.1.0
      airgap update demo-1.1.0.tar.zst --service airgap.service
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import head, volumes
    from airgap.accepted import Overrides
    from runtime import root as roots
    from runtime import update as updating
    from runtime.service import Service

    unit = Service.find(service) if service else None
    recording = sample.absolute() if sample else None
    decision = options.decision("mount", bundle, root, Overrides(allow_older, clock_wrong))
    with (
        decision.recorded(),
        volumes.source(bundle, also or ()) as source,
        roots.locked(decision.root) as locked,
        head.interruption_told(bundle, also or ()),
    ):
        updating.settle(locked, unit)
        roots.settle(locked, decision.accepted, decision.clock)
        verified = decision.verify(source)
        updating.require_fit(decision.root, verified.bundle.manifest)
        with console.progress("mount", verified.bundle.table.stored_total) as bar:
            done = updating.update(
                locked,
                verified,
                decision.accepted,
                decision.clock,
                sample=recording,
                service=unit,
                advance=bar.advance,
            )
    receipt = decision.passed(verified)
    for step in decision.overridden:
        console.warn(f"{step.rule}: {step.found}")
    _record(decision.root, verified, done)
    _report(verified, done, receipt, service)


def _record(root: Path, verified: VerifiedBundle, done: Updated) -> None:
    from airgap.evidence import record_change

    title = verified.bundle.statement.title
    record_change(
        root,
        f"generation {done.number} ('{title}') is served",
        "update",
        bundle=title,
        generation=done.number,
        left=done.previous or 0,
        runtime=done.runtime.folder.name if done.runtime else "none",
    )


def _report(verified: VerifiedBundle, done: Updated, receipt: Path, service: str | None) -> None:
    statement = verified.bundle.statement
    console.data(f"{statement.title}: in service")
    console.data(f"  signed by      {', '.join(verified.verdict.signers)}")
    console.data(f"  approval code  {verified.approval_code}")
    before = f", after {done.previous}" if done.previous else ""
    console.data(f"  generation     {done.number}{before}")
    console.data(f"  runtime        {done.runtime.folder if done.runtime else 'none is carried'}")
    console.data(f"  it heard       {done.heard}")
    console.data(f"  receipt        {receipt}")
    if service:
        console.say(f"{service} was restarted; back again: airgap rollback {statement.name}")
    else:
        console.say("next: restart the server, which still runs by the old runtime")
    console.document(
        "airgap/update/v1",
        {
            "name": statement.name,
            "version": statement.version,
            "sequence": statement.sequence,
            "signers": list(verified.verdict.signers),
            "approval_code": verified.approval_code,
            "generation": done.number,
            "left": done.previous,
            "runtime": str(done.runtime.folder) if done.runtime else None,
            "heard": done.heard,
            "restarted": service,
            "receipt": str(receipt),
        },
    )
