"""`airgap scan`: files judged as a build judges them."""

from __future__ import annotations

from contextlib import suppress
from os.path import lexists
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console
from airgap.verbs import options

if TYPE_CHECKING:
    from bundler.scan.verdict import Scan


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("scan")(scan)


def scan(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH…", help="Files, and folders with all files in them."),
    ],
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Judge model files: what would run code, reach out or escape when they are loaded.

    Nothing is loaded, unpickled or extracted. Dangers are refused with exit code 3; cautions are
    told. A build does the same to every file, and `scan` in a profile says what may pass. Wheels
    are judged as programs for a host without a GPU. Links are followed; where anything in a folder
    cannot be read, nothing is judged.

    \b
    Examples:
      airgap scan ~/models/pytorch_model.bin
      airgap scan ./speaker-model --json
    """
    console.configure(as_json=json, quiet=quiet)
    from bundler.scan.verdict import (
        CAUTIONS,
        CLEAN,
        SCHEMA,
        UnsafeError,
        scan_files,
        scan_programs,
    )

    files = _files(paths)
    wheels = {named: path for named, path in files.items() if named.endswith(".whl")}
    models = {named: path for named, path in files.items() if named not in wheels}
    found = scan_files(models).joined(scan_programs(wheels, "cpu"))
    verdict = "dangers" if found.dangers else CAUTIONS if found.findings else CLEAN
    for finding in found.findings:
        console.data(f"{finding.severity}  {finding.place}  [{finding.rule}]")
        console.data(f"  {finding.reason}")
        console.data(f"  fix: {finding.fix}")
    console.data(f"{len(found.judged)} files judged: {verdict}")
    _document(SCHEMA, found, verdict)
    if found.dangers:
        console.configure(quiet=quiet)  # the one document is out
        raise UnsafeError(
            f"{len(found.dangers)} dangers in {len(found.judged)} files",
            rule=f"scan.{found.dangers[0].rule}",
            hint="use other files; in a build, a profile may waive one with a reason",
        )


def _document(schema: str, found: Scan, verdict: str) -> None:
    console.document(
        schema,
        {
            "verdict": verdict,
            "files": [one.as_json() for one in found.judged],
            "findings": [one.as_json() for one in found.findings],
        },
    )


def _files(paths: list[Path]) -> dict[str, Path]:
    """Every file by its name in the report. Links are followed: a hub's cache has them.

    Raises:
        UsageError: a path, or any file, is not there.
        AirgapError: something cannot be read: what was not judged must not be called clean.
    """
    from airgap.errors import AirgapError, UsageError

    found: dict[str, Path] = {}
    unread: list[str] = []
    waiting, links = list(paths), list[Path]()
    seen: set[tuple[int, int]] = set()
    while waiting or links:
        # A folder by its own name first: one that links lead to as well, or back to, is read once.
        path = (waiting or links).pop()
        try:
            status = path.stat()
            if S_ISREG(status.st_mode):
                found[str(path)] = path
            elif not S_ISDIR(status.st_mode):
                unread.append(f"'{path}': neither a file nor a folder")
            elif (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                for inside in path.iterdir():
                    (links if inside.is_symlink() else waiting).append(inside)
        except OSError as error:
            if path in paths and not lexists(path):
                raise UsageError(f"there is no '{path}'", hint="airgap scan PATH") from error
            target = ""
            with suppress(OSError):  # it is no link
                target = f", a link to '{path.readlink()}'"
            unread.append(f"'{path}'{target}: {error.strerror}")
    if unread:
        raise AirgapError(
            "nothing was judged, because this cannot be read:\n  " + "\n  ".join(sorted(unread)),
            hint="make it readable or take it away; or name the files that are to be judged",
        )
    if not found:
        raise UsageError(f"there is no file in {', '.join(map(str, paths))}")
    return found
