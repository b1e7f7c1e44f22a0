"""`airgap split`: the same bundle in volumes, for a medium that takes no large files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from airgap.console import console, human_size
from airgap.verbs import options
from bundler.verbs.volumes import SIZES, Recovery


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("split")(split)


def split(
    bundle: options.BundleFiles,
    size: Annotated[str, typer.Option(metavar="SIZE", help=f"Of a volume: {SIZES}.")],
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder to make NAME-VERSION/ in.")
    ] = Path(),
    recovery: Recovery = None,
    also: options.Also = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Cut a bundle into volumes, or into other ones; with its papers, in a folder of its own.

    The bytes stay the same, and so do signatures and approval code: `cat` joins the volumes again.
    Every other verb takes the folder as it is.

    \b
    Examples:
      airgap split demo-1.0.0.tar.zst --size fat32 --out /srv/for-sticks
    """
    console.configure(as_json=json, quiet=quiet)
    from bundler import delivery, shipment, volume_size

    each = volume_size.parse(size)
    out.mkdir(parents=True, exist_ok=True)
    with shipment.opened(bundle, also or ()) as opened:
        done = delivery.deliver(opened, out, each, renew=False, recovery_percent=recovery)
    console.data(f"{done.folder}: {_volumes(len(done.files))}, {human_size(done.size)}")
    console.data(f"  first          {done.files[0].name}")
    console.data(f"  last           {done.files[-1].name}")
    console.data(f"  approval code  {done.approval_code}")
    console.document(
        "airgap/split/v1",
        {
            "folder": str(done.folder),
            "volumes": [path.name for path in done.files],
            "bytes": done.size,
            "approval_code": done.approval_code,
        },
    )


def _volumes(count: int) -> str:
    return "1 file, because it fits" if count == 1 else f"{count} volumes"
