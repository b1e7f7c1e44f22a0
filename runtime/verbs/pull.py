"""`airgap pull`: a bundle out of the site's own object store or registry, verified."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console, human_size
from airgap.verbs import options
from runtime.verbs import stores

if TYPE_CHECKING:
    from runtime.site.pull import Pulled


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("pull")(pull)


def pull(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="s3://BUCKET/PREFIX/NAME-VERSION, or the .tar.zst in it; or "
            "oci://REGISTRY/REPOSITORY[:TAG|@sha256:DIGEST].",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the folder NAME-VERSION goes.")
    ] = Path(),
    allow_older: options.AllowOlder = None,
    clock_wrong: options.ClockWrong = None,
    ca_bundle: stores.CaBundle = None,
    plain_http: stores.PlainHttp = None,
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fetch a bundle from the site's own object store or registry, and verify it.

    Its head is judged by this host's trust store before the rest is fetched. The folder gets its
    name when every byte was verified, and of a bundle that is refused nothing is left. A pull that
    was cut off goes on where it stopped.

    \b
    Examples:
      airgap pull s3://whisper-models/models/demo-1.0.0
      airgap pull oci://registry.site:5000/speech/demo:demo-1.0.0 --out /srv/bundles
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from airgap.accepted import Overrides, clock
    from airgap.evidence import Decision
    from runtime.site import address as addresses
    from runtime.site import pull as pulling
    from runtime.site import reaching

    address = addresses.parse(source)
    stores.prepare("pull", source, ca_bundle)
    overrides = Overrides(allow_older, clock_wrong)
    decision = Decision(places.isolated_root(root), "verify", str(address), clock(), overrides)
    with decision.recorded(), reaching.held(address, plain_http=plain_http) as held:
        pulled = pulling.pull(held, out, decision, reaching.PATIENCE)
        where = held.name
    receipt = decision.passed(pulled.verified)
    for step in decision.overridden:
        console.warn(f"{step.rule}: {step.found}")
    if pulled.left:
        console.warn(
            f"not taken, for nobody signed them or no key here can tell: {', '.join(pulled.left)}"
        )
    _report(pulled, where, receipt)


def _report(pulled: Pulled, where: str, receipt: Path) -> None:
    verified = pulled.verified
    statement = verified.bundle.statement
    console.data(f"{statement.title}: pulled and verified")
    console.data(f"  from           {where}")
    console.data(f"  signed by      {', '.join(verified.verdict.signers)}")
    console.data(f"  approval code  {verified.approval_code}")
    console.data(f"  folder         {pulled.folder}")
    console.data(f"  size           {human_size(pulled.size)}")
    console.data(f"  receipt        {receipt}")
    console.say(f"next: airgap mount {pulled.bundle}")
    console.document(
        "airgap/pull/v1",
        {
            "name": statement.name,
            "version": statement.version,
            "sequence": statement.sequence,
            "signers": list(verified.verdict.signers),
            "approval_code": verified.approval_code,
            "from": where,
            "folder": str(pulled.folder),
            "bundle": str(pulled.bundle),
            "bytes": pulled.size,
            "left": list(pulled.left),
            "receipt": str(receipt),
        },
    )
