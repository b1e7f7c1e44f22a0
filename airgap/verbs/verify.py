"""`airgap verify`: is this bundle what the signers that this host trusts have signed?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console
from airgap.verbs import mounted as of_mounts
from airgap.verbs import options, receipts, responses, verdicts

if TYPE_CHECKING:
    from airgap.accepted import Overrides
    from airgap.archive import OpenBundle
    from airgap.decision import Step
    from airgap.evidence import Decision
    from airgap.verify import VerifiedBundle
    from airgap.volumes import Bytes

Keys = Annotated[
    list[Path] | None,
    typer.Option(
        "--key",
        metavar="PUBKEY",
        help="Check against this public key alone, not this host's policy. May be given again: "
        "then each key must have signed.",
        show_default=False,
    ),
]

INTACT = 4
"""Exit code: every byte fits the bundle's own statement, and nobody was asked who made that."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("verify")(verify)


def verify(
    bundle: Annotated[
        Path | None,
        typer.Argument(
            metavar="BUNDLE",
            help="The .tar.zst file, or - for a pipe. With --mounted: the artifact, or nothing for "
            "all of them.",
            show_default=False,
        ),
    ] = None,
    mounted: Annotated[
        bool,
        typer.Option(
            "--mounted", help="Compare what is mounted on this host with what was signed."
        ),
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also decompress, and check every file and tar header.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show every rule that was asked, as a table.")
    ] = False,
    key: Keys = None,
    integrity_only: Annotated[
        bool,
        typer.Option(
            "--integrity-only",
            help="Check the bytes against the bundle's own statement alone. Exit code 4: intact, "
            "and not authenticated.",
        ),
    ] = False,
    base: Annotated[
        Path | None,
        typer.Option(
            metavar="BUNDLE",
            help="Of a delta: verify this full bundle as well, and that it holds what the delta "
            "leaves to it. Its age is not asked.",
            show_default=False,
        ),
    ] = None,
    receipt: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Check a receipt that came back from an isolated host against this bundle.",
        ),
    ] = None,
    response: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="No bundle: check a transcript that a host has signed (--attest).",
            show_default=False,
        ),
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Of a transcript: the recording that it must have come from.",
            show_default=False,
        ),
    ] = None,
    attestation: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Of a transcript: the host's signature, where it lies neither inside nor beside "
            "it.",
            show_default=False,
        ),
    ] = None,
    also: options.Also = None,
    allow_older: options.AllowOlder = None,
    clock_wrong: options.ClockWrong = None,
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Prove that a bundle is, byte for byte, what the signers that this host trusts have signed.

    Nothing is decompressed before its bytes matched what was signed, and nothing is written but a
    line in this host's audit log and a receipt. With --response the same of a transcript, by the
    key of the host that made it.

    \b
    Examples:
      airgap verify demo-1.0.0.tar.zst
      airgap verify demo-1.0.0.tar.zst --explain
      cat demo-1.0.0.tar.zst | airgap verify -
      airgap verify --mounted
      airgap verify --response meeting.srt --audio meeting.m4a
      airgap verify demo-1.0.0.tar.zst --key alice.ed25519.pub --key alice.ecdsa-p384.pub
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap.accepted import Overrides as Taken
    from airgap.errors import UsageError

    overrides = Taken(allow_older, clock_wrong)
    overriding = allow_older is not None or clock_wrong is not None
    if mounted:
        given = {"--deep": deep, "--explain": explain, "--key": key, "--base": base}
        given |= {"--integrity-only": integrity_only, "--receipt": receipt, "--also": also}
        given |= {"--response": response, "--audio": audio, "--attestation": attestation}
        of_mounts.refuse_together("verify", given | {"an override": overriding})
        of_mounts.verb("verify")(str(bundle) if bundle else None, root)
        return
    if response or audio or attestation:
        given = {"BUNDLE": bundle, "--deep": deep, "--explain": explain, "--base": base}
        given |= {"--integrity-only": integrity_only, "--receipt": receipt, "--also": also}
        transcript = responses.alone(response, given | {"an override": overriding})
        responses.verify(transcript, attestation, audio, key or [], root)
        return
    if bundle is None:
        raise UsageError("there is no BUNDLE to verify", hint="airgap verify BUNDLE, or --mounted")
    if integrity_only and (key or receipt or explain or overriding):
        raise UsageError(
            "--integrity-only asks nobody who made the bundle, so there is no key, receipt, "
            "override or decision",
            hint=f"airgap verify {bundle} --integrity-only",
        )
    if overriding and (key or receipt):
        raise UsageError(
            "--allow-older and --clock-wrong override this host's policy, which --key and "
            "--receipt do not ask",
            hint=f"airgap verify {bundle}, with either the one or the other",
        )
    if base and (integrity_only or receipt):
        raise UsageError(
            "--base asks who signed both bundles, which --integrity-only and --receipt do not ask",
            hint=f"airgap verify {bundle} --base {base}",
        )
    if integrity_only:
        _only_integrity(bundle, also or [], deep)
        raise typer.Exit(INTACT)
    if receipt is not None:
        receipts.verify(bundle, also or [], receipt, key or [], root)
    elif key:
        _by_keys(bundle, also or [], base, key, root, deep=deep, explain=explain)
    else:
        _by_host(bundle, also or [], base, root, overrides, deep=deep, explain=explain)


def _by_host(
    bundle: Path,
    also: list[Path],
    base: Path | None,
    root: Path | None,
    overrides: Overrides,
    *,
    deep: bool,
    explain: bool,
) -> None:
    verified, decision, receipt = judged(
        bundle, also, root, overrides, base=base, deep=deep, explain=explain
    )
    verdicts.report(verified, decision.steps, deep=deep, receipt=receipt, base=base)


def judged(
    bundle: Path,
    also: list[Path],
    root: Path | None,
    overrides: Overrides,
    *,
    base: Path | None = None,
    deep: bool = False,
    explain: bool = False,
) -> tuple[VerifiedBundle, Decision, Path | None]:
    """The verdict of this host's policy on every frame, recorded; with the receipt. Raises."""
    from airgap import head, volumes

    decision = options.decision("verify", bundle, root, overrides)
    with (
        verdicts.explained(decision.steps, wanted=explain),
        decision.recorded(),
        volumes.source(bundle, also) as source,
        head.interruption_told(bundle, also),
    ):
        verified = decision.verify(source)
        _check(verified.bundle, decision.steps, deep=deep)
        if base:
            _check_base(verified.bundle, base, decision.verify_base, decision.steps, deep=deep)
    return verified, decision, _kept(decision, verified)


def _kept(decision: Decision, verified: VerifiedBundle) -> Path | None:
    """The receipt. For whoever may not write here the verdict stands, and that is said."""
    from airgap.errors import AirgapError

    try:
        return decision.passed(verified)
    except AirgapError as error:
        console.warn(f"that it was verified is not recorded on this host: {error.message}")
        return None


def _by_keys(
    bundle: Path,
    also: list[Path],
    base: Path | None,
    key: list[Path],
    root: Path | None,
    *,
    deep: bool,
    explain: bool,
) -> None:
    """The verdict of the keys that were given; this host is not asked, and records nothing."""
    from functools import partial

    from airgap import head, volumes
    from airgap.accepted import clock
    from airgap.evidence import refusal_told
    from airgap.policy import policy_of_keys
    from airgap.verify import verify as decide

    options.asked_store(root, key)
    named = ", ".join(f"'{path}'" for path in key)
    policy = policy_of_keys(options.load_public_keys(key), f"the key {named} that you gave")
    steps: list[Step] = []
    with (
        verdicts.explained(steps, wanted=explain),
        refusal_told(steps),
        volumes.source(bundle, also) as source,
        head.interruption_told(bundle, also),
    ):
        verified = decide(source, policy, None, clock(), tell=steps.append)
        _check(verified.bundle, steps, deep=deep)
        if base:
            by_keys = partial(decide, policy=policy, accepted=None, clock=clock())
            _check_base(verified.bundle, base, by_keys, steps, deep=deep)
    verdicts.report(verified, steps, deep=deep, by_key=True, base=base)
    console.warn("this is the verdict of the key that you gave, not of this host's policy")


def _only_integrity(bundle: Path, also: list[Path], deep: bool) -> None:
    """Compare the bytes with the bundle's own statement, for stations that hold no key."""
    from airgap import volumes
    from airgap.archive import open_bundle, read_head
    from airgap.statement import Statement

    with volumes.source(bundle, also) as source:
        envelope = read_head(source)
        opened = open_bundle(source, envelope, Statement.parse(envelope.statement))
        _check(opened, [], deep=deep)
    verdicts.report_integrity(opened, deep=deep)


def _check_base(
    delta: OpenBundle,
    path: Path,
    decide: Callable[[Bytes], VerifiedBundle],
    steps: list[Step],
    *,
    deep: bool,
) -> None:
    """Verify the base of a delta by the same policy, and that it is the one that was signed for."""
    from airgap import base, head, volumes
    from airgap.decision import Step as Taken

    with volumes.opened(path) as source, head.interruption_told(path):
        found = decide(source).bundle
        base.check(delta, found)
        _check(found, [], deep=deep)
    held = f"{found.statement.title} holds {len(delta.manifest.left_to_base)} files"
    steps.append(Taken("base", "what the delta leaves to it", held))


def _check(bundle: OpenBundle, steps: list[Step], *, deep: bool) -> None:
    from airgap.decision import Step as Taken

    with console.progress("verify", bundle.table.stored_total) as bar:
        if deep:
            bundle.check_contents(bar.advance)
        else:
            bundle.check_frames(bar.advance)
    told = "every byte, file and tar header as signed" if deep else "every byte as signed"
    steps.append(Taken("frames", told, f"{bundle.statement.frames} frames"))
