"""`airgap audit`: what happened on this host, and whether its record still says so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console
from airgap.verbs import options

if TYPE_CHECKING:
    from airgap.audit_line import AuditLine

HELP = """Read, check and take away the record of what happened on this host.

The log is only ever appended to; each line is chained to the one before, and this host's key
signs the chain at intervals.
"""


def register(app: typer.Typer) -> None:
    """Add the group of verbs."""
    group = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode=None)
    group.command("show")(show)
    group.command("verify")(verify)
    group.command("export")(export)
    group.command("key")(key)
    app.add_typer(group, name="audit")


def show(
    last: Annotated[
        int, typer.Option("--last", min=1, metavar="N", help="How many of the last events.")
    ] = 20,
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show the last events. Shows them as they stand; `airgap audit verify` judges them.

    \b
    Examples:
      airgap audit show
      airgap audit show --last 200 --json
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from airgap.audit import AuditLog

    log = AuditLog.of(places.isolated_root(root))
    lines = log.lines(last)
    console.table(("n", "time", "event", "facts"), [_row(line, raw) for line, raw in lines])
    unreadable = sum(line is None for line, _raw in lines)
    if unreadable:
        console.warn(f"{unreadable} of these lines cannot be read; next: airgap audit verify")
    console.document(
        "airgap/audit-show/v1",
        {"log": str(log.path), "events": [_entry(line, raw) for line, raw in lines]},
    )


def verify(
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="An export: the log must go on from it. Finds a log that was cut, or rewritten.",
            show_default=False,
        ),
    ] = None,
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Check that no event was changed, removed, added or moved; say where, if one was.

    \b
    Examples:
      airgap audit verify
      airgap audit verify --against /media/stick/ward-7-2026-01-31.audit
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from airgap.audit import AuditLog

    log = AuditLog.of(places.isolated_root(root))
    verdict = log.verify_against(against) if against else log.verify()
    verdict.require_sound(str(log.path))
    console.data(f"{log.path}: {verdict.events} events, unbroken")
    console.data(f"  signed         up to event {verdict.covered}")
    console.data(f"  by host key    {verdict.key}")
    for line in verdict.recovered:
        console.data(f"  recovered      event {line}: a crash had cut a write short")
    if verdict.unfinished:
        console.data(
            f"  unfinished     {verdict.unfinished} bytes that a crash left; the next event "
            "cancels them"
        )
    if against:
        console.data(f"  goes on from   '{against}'")
    else:
        console.say(
            f"events after {verdict.covered} could have been rewritten, or cut off, by whoever "
            "can write to the log; only an export tells: airgap audit verify --against FILE"
        )
    console.document(
        "airgap/audit-verify/v1",
        {
            "log": str(log.path),
            "events": verdict.events,
            "head": verdict.head,
            "signed_events": verdict.covered,
            "host_key": verdict.key,
            "recovered": list(verdict.recovered),
            "unfinished_bytes": verdict.unfinished,
            "against": str(against) if against else None,
        },
    )


def export(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to write it; never overwritten.")
    ],
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Sign the log as it stands, and write it to a file that is taken away.

    Keep the file where nobody who works on this host can change it.

    \b
    Examples:
      airgap audit export /media/stick/ward-7-2026-01-31.audit
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from airgap.audit import AuditLog

    taken = AuditLog.of(places.isolated_root(root)).export(file)
    console.data(f"{taken.n} events in '{file}', signed by this host")
    console.say(f"next, at any later time: airgap audit verify --against {file}")
    console.document(
        "airgap/audit-export/v1",
        {"file": str(file), "events": taken.n, "head": taken.head, "time": taken.time},
    )


def key(
    root: options.Root = None, json: options.Json = False, quiet: options.Quiet = False
) -> None:
    """Show the public half of this host's key, which signs its log and its receipts.

    The key is made where there is none yet. Carry the public half to the connected side, and its
    fingerprint on paper.

    \b
    Examples:
      airgap audit key
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import host_key, places
    from airgap.digest import grouped

    place = places.isolated_root(root)
    public = host_key.HostKey.of(place).public
    file, fingerprint = host_key.public_file(place), grouped(public.key_id)
    console.data(str(file))
    console.data(f"fingerprint: {fingerprint}")
    console.say(
        "next, where the bundles are built: airgap trust add host.pub --signer HOST "
        f"--role receipt --fingerprint '{fingerprint}'"
    )
    console.document(
        "airgap/audit-key/v1",
        {"file": str(file), "fingerprint": public.key_id, "pem": public.pem},
    )


def _row(line: AuditLine | None, raw: bytes) -> tuple[str, str, str, str]:
    if line is None:
        return "?", "?", "?", f"{len(raw)} bytes that cannot be read"
    facts = {name: value for name, value in line.facts.items() if name != "signature"}
    shown = ", ".join(f"{name}={_shown(value)}" for name, value in facts.items())
    return str(line.n), line.time, line.event, shown


def _shown(value: str | int | list[str]) -> str:
    """A fact in one line, whatever characters it has."""
    text = "+".join(value) if isinstance(value, list) else str(value)
    return text.replace("\n", "\\n")


def _entry(line: AuditLine | None, raw: bytes) -> dict[str, object]:
    if line is None:
        return {"readable": False, "bytes": len(raw)}
    return {
        "readable": True,
        "n": line.n,
        "time": line.time,
        "event": line.event,
        "facts": dict(line.facts),
    }
