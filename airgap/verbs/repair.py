"""`airgap repair`: what a bad medium did to a bundle, and what recovery data can mend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console, human_size
from airgap.verbs import mounted as of_mounts
from airgap.verbs import options, verdicts, verify

if TYPE_CHECKING:
    from airgap.survey import Range, Survey
    from airgap.volume_names import Files


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("repair")(repair)


def repair(
    bundle: options.BundleFiles,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Make NAME-VERSION/ with the repaired bundle here, and leave the medium as it is.",
            show_default=False,
        ),
    ] = None,
    mounted: Annotated[
        bool,
        typer.Option(
            "--mounted",
            help="Mend what is mounted on this host, with the files of this bundle, instead.",
        ),
    ] = False,
    also: options.Also = None,
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Find the damage of a bundle, mend it with the recovery data beside it, then verify it.

    Finding and mending ask nobody who made the bundle. The verdict at the end does: it is that of
    `airgap verify`. On a machine without a trust store the exit code is 4: intact, and not
    authenticated. Without recovery data it says what to copy again.

    \b
    Examples:
      airgap repair /media/stick/demo-1.0.0
      airgap repair /media/stick/demo-1.0.0 --out /srv/repaired
      airgap repair --mounted /media/stick/demo-1.0.0.tar.zst
    """
    console.configure(as_json=json, quiet=quiet)
    if mounted:
        of_mounts.refuse_together("repair", {"--out": out})
        of_mounts.verb("repair")(bundle, also or [], root)
        return
    from airgap import volume_names

    files = volume_names.locate(bundle, also or ())
    found = _damage(files)
    replaced: list[Path] = []
    if not found.is_sound:
        files, replaced = _mended(files, out, found.otherwise)
    elif out is not None:
        console.say("nothing to repair: nothing is written")
    _conclude(files, found.ranges, replaced, root)


def _damage(files: Files) -> Survey:
    """Look, and tell. Raises DamagedError for what cannot be mended."""
    from airgap import recovery
    from airgap.errors import AirgapError, DamagedError
    from airgap.survey import Survey, survey

    mendable = bool(recovery.files_beside(files))
    try:
        with console.progress("check", None) as bar:
            found = survey(files, bar.advance)
    except AirgapError as error:  # the first volume is missing, or a file cannot be opened
        if not mendable:
            raise
        console.say(error.message)
        otherwise = error.hint or "copy the bundle again"
        return Survey((error.message,), (), (files.name,), (), "", otherwise)
    told = "; ".join(found.told)
    if found.extra and not found.again:
        raise DamagedError(told, rule=found.rule, hint=found.otherwise)
    if found.again and not mendable:
        raise DamagedError(
            f"'{files.name}' is damaged, and there is no recovery data: {told}",
            rule=found.rule,
            hint=found.otherwise,
        )
    for defect in found.defects:
        console.say(defect)
    for one in found.ranges:
        console.say(f"damaged: {one}")
    return found


def _mended(files: Files, out: Path | None, otherwise: str) -> tuple[Files, list[Path]]:
    """The bundle, repaired where it lies or in `out`; and which of its files are new."""
    from airgap import recovery, volume_names
    from airgap import repair as repairing

    if out is None:
        repairing.check_in_one_folder(files)
    else:
        out.mkdir(parents=True, exist_ok=True)
    elsewhere = "--out FOLDER, where it can be written: the medium stays as it is"
    with recovery.scratch(out or files.folder, files.name, elsewhere) as scratch:
        console.say("repairing in scratch space")
        rebuilt = repairing.rebuild(files, scratch, otherwise)
        if out is None:
            replaced = repairing.put_in_place(rebuilt)
            return volume_names.locate(files.folder / rebuilt.first.name), replaced
        title = files.name.removesuffix(volume_names.WHOLE)
        repaired = repairing.put_into(rebuilt, out / title)
        return repaired, list(repaired.in_order())


def _conclude(
    files: Files, ranges: Sequence[Range], replaced: Sequence[Path], root: Path | None
) -> None:
    """The normal verdict, of this host's policy where it has one; and what was done."""
    from airgap import places
    from airgap.accepted import NO_OVERRIDES
    from airgap.trust import TrustStore

    also = sorted({path.parent for path in files.volumes.values()} - {files.folder})
    authenticated = TrustStore.of_host(places.isolated_root(root)).policy_file.exists()
    title = files.name
    if authenticated:
        verified, _decision, _receipt = verify.judged(files.first, also, root, NO_OVERRIDES)
        title = f"{verified.bundle.statement.title}: verified"
    else:
        title = f"{files.name}: {verdicts.NOT_AUTHENTICATED}"
    console.data(title)
    for path in replaced:
        console.data(f"  repaired       {path} ({human_size(path.stat().st_size)})")
    console.document(
        "airgap/repair/v1",
        {
            "bundle": str(files.first),
            "damaged": [asdict(one) for one in ranges],
            "repaired": [str(path) for path in replaced],
            "intact": True,
            "authenticated": authenticated,
        },
    )
    if not authenticated:
        raise typer.Exit(verify.INTACT)
