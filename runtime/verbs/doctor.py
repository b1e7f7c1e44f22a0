"""`airgap doctor`: what would fail at start, found before start, each with the fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console
from airgap.verbs import options
from runtime.engine.speakers.choosing import Diarization
from runtime.verbs import handover, loading, speakers
from runtime.verified_load import VerifiedLoad

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.doctor.checks import Diagnosis
    from runtime.doctor.facts import Wish


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("doctor")(doctor)


def doctor(
    named: Annotated[
        str | None,
        typer.Argument(
            metavar="[BUNDLE|PLAN|PROFILE]",
            help="Would this host run it? A bundle's file or folder; what `airgap plan --json` "
            "printed, as a .json file; or a profile, where the connected side is installed. Else "
            "what is mounted is examined.",
            show_default=False,
        ),
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Examine this mounted bundle alone."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Model to serve; may be given again.", show_default=False
        ),
    ] = None,
    device: loading.Device = "auto",
    compute_type: loading.ComputeType = "auto",
    verified_load: loading.Way = VerifiedLoad.BUFFER,
    diarization: speakers.Duty = Diarization.AUTO,
    emotion: Annotated[
        bool, typer.Option("--emotion", help="Emotion models are to be served as well.")
    ] = False,
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Examine this host: what would fail when it mounts, transcribes or serves, each with its fix.

    Takes the options of `airgap serve` and examines whether that would start. Nothing is written,
    no model is loaded and nothing is sent; contents of models are not read, since they are compared
    with what was signed whenever they are loaded. --quiet shows what is not well alone.

    Exit codes for probes: 0 it would start, warnings or not; 1 something would fail.

    \b
    Examples:
      airgap doctor
      airgap doctor /media/stick/demo-1.0.0.tar.zst
      airgap doctor --device cuda --compute-type float16 --json
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from airgap.errors import UsageError
    from runtime.doctor.facts import Wish

    if named is not None and bundle is not None:
        raise UsageError(
            f"--bundle names what is mounted, and '{named}' what is not: one of them",
            hint="airgap doctor --help",
        )
    wish = Wish(tuple(model or ()), device, compute_type, verified_load, diarization, emotion)
    place = places.isolated_root(root)
    if named is None:
        _hand_over(place, bundle)
    diagnoses = _examined(place, named, bundle, wish)
    _show(diagnoses, quiet=quiet)
    failed = sum(one.finding.state == "fail" for one in diagnoses)
    warned = sum(one.finding.state == "warn" for one in diagnoses)
    console.say(f"{len(diagnoses)} checks: {failed} would fail, {warned} warn")
    console.document(
        "airgap/doctor/v1",
        {
            "root": str(place),
            "starts": not failed,
            "checks": [
                {
                    "check": one.check,
                    "bundle": one.bundle,
                    "state": one.finding.state,
                    "found": one.finding.found,
                    "fix": one.finding.fix,
                }
                for one in diagnoses
            ],
        },
    )
    if failed:
        raise typer.Exit(1)


def _hand_over(root: Path, bundle: str | None) -> None:
    """Go on in the runtime by which `serve` would; what has none to go on in is examined here."""
    from airgap.errors import AirgapError
    from runtime.doctor import host

    host.require_sight(root)
    try:
        found = handover.runtime_of(root, bundle)
    except AirgapError:  # nothing is mounted, several bundles, or damage: each is a check's to say
        return
    if found is not None:
        handover.become(found)


def _examined(root: Path, named: str | None, bundle: str | None, wish: Wish) -> list[Diagnosis]:
    from runtime.doctor import checks, host, mounted, offered

    facts = host.examine(root, wish)
    if named is None:
        examined = mounted.examine(facts, root, bundle)
    else:
        examined = [offered.examine(facts, root, named)]
    return list(checks.diagnose(facts, examined))


def _show(diagnoses: list[Diagnosis], *, quiet: bool) -> None:
    """A line a check, and the fix below it; a bundle's checks below its name."""
    width = max(len(one.check) for one in diagnoses)
    title = None
    for one in diagnoses:
        if quiet and one.finding.fix is None:
            continue
        if one.bundle != title:
            title = one.bundle
            console.data(f"{title}:")
        console.data(f"{one.finding.state.upper():4}  {one.check:{width}}  {one.finding.found}")
        if one.finding.fix:
            console.data(f"      {'':{width}}  fix: {one.finding.fix}")
