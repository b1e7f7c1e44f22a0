"""`airgap scan`: files judged as a build judges them."""

from __future__ import annotations

from pathlib import Path
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
    are judged as programs for a host without a GPU.

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
    """Every file by its name in the report. Links to files are followed: a hub's cache has them."""
    from airgap.errors import UsageError

    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise UsageError(f"there is no '{path}'", hint="airgap scan PATH")
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        found |= {str(one): one for one in inside if one.is_file()}
    if not found:
        raise UsageError(f"there is no file in {', '.join(map(str, paths))}")
    return found
