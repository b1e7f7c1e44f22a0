"""`airgap carry`: a bundle with its papers onto a medium, and read back from there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console, human_size
from airgap.verbs import options
from bundler.verbs.volumes import Recovery, Split

if TYPE_CHECKING:
    from bundler.delivery import Delivered
    from bundler.medium import Medium
    from bundler.shipment import Shipment


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("carry")(carry)


def carry(
    bundle: options.BundleFiles,
    dest: Annotated[Path, typer.Argument(metavar="FOLDER", help="On the medium: its top, say.")],
    split: Split = None,
    recovery: Recovery = None,
    also: options.Also = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Put a bundle with its papers onto a medium, and read it back from there.

    The bundle is split by itself where the medium takes no file as large. A run that was cut off
    goes on where it stopped; what is there already is compared, not written again. The folder
    gets its name when the device has given every byte back as it was meant.

    \b
    Examples:
      airgap carry demo-1.0.0 /media/stick
    """
    console.configure(as_json=json, quiet=quiet)
    import os

    from bundler import delivery, shipment, volume_size
    from bundler.medium import Medium

    each = volume_size.parse(split) if split else None
    medium = Medium.below(dest)
    with shipment.opened(bundle, also or ()) as opened:
        each = _largest_that_fits(opened, medium, each)
        _check_space(delivery.needed(opened, dest, each, recovery), dest, medium)
        done = delivery.deliver(opened, dest, each, renew=True, recovery_percent=recovery)
    os.sync()  # the file system's own books too: a stick is often pulled out without umount
    _report(done, medium)


def _largest_that_fits(shipment: Shipment, medium: Medium, each: int | None) -> int | None:
    """The size of the copy's volumes; None leaves the bundle cut as it is."""
    from bundler import volume_size

    most = medium.largest_file
    largest = max(piece.end - piece.start for piece in shipment.pieces(each))
    if most is None or largest <= most:
        return each
    console.say(
        f"'{medium.mounted_at}' ({medium.kind}) takes files of at most {human_size(most)}: "
        "the copy is split"
    )
    return volume_size.parse(str(most))


def _check_space(needed: int, dest: Path, medium: Medium) -> None:
    from airgap.errors import AirgapError

    if needed > medium.free:
        raise AirgapError(
            f"not enough space in '{dest}': the copy needs {human_size(needed)}, and "
            f"{human_size(medium.free)} are free",
            hint="free some space, or take a larger medium",
        )


def _report(done: Delivered, medium: Medium) -> None:
    what = f"{len(done.files)} volumes" if len(done.files) > 1 else "1 file"
    console.data(f"{done.folder}: carried, and read back from the medium")
    console.data(f"  bundle         {human_size(done.size)} in {what}, from {done.files[0].name}")
    console.data(f"  papers         {done.papers}")
    console.data(f"  approval code  {done.approval_code}")
    if medium.mounted_at != Path("/"):
        console.say(f"next: umount '{medium.mounted_at}'; then it is safe to remove")
    console.document(
        "airgap/carry/v1",
        {
            "folder": str(done.folder),
            "files": [path.name for path in done.files],
            "bytes": done.size,
            "papers": done.papers,
            "approval_code": done.approval_code,
            "mounted_at": str(medium.mounted_at),
            "file_system": medium.kind,
        },
    )
