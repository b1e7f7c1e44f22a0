"""Findings and policy -> refused; or what goes into the bundle: `scan.json` and the verdict."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from airgap import strict_json
from airgap.console import console
from airgap.errors import AirgapError, RefusedError
from airgap.manifest import Check, Exemption
from bundler.scan.files import judge_file
from bundler.scan.findings import Finding, Judged, Severity
from bundler.scan.images import judge_image
from bundler.scan.interpreters import judge_interpreter
from bundler.scan.policy import Origin, ScanPolicy, drafted
from bundler.scan.wheels import judge_wheel

SCHEMA: Final = "airgap/scan/v1"
CLEAN: Final = "clean"
CAUTIONS: Final = "cautions"
EXEMPT: Final = "dangers exempt"

SHOWN: Final = 30
"""Findings that an error shows; all of them are in `airgap scan --json`."""

_NOWHERE: Final = Origin("", "", None)
"""Of a file that no lock names; no waiver is for it."""


class UnsafeError(RefusedError):
    """What is to be loaded could run code or reach out: use another file, or answer for this."""

    authority = "who published the model; in the profile, whoever answers for a waiver"


@dataclass(frozen=True)
class Scan:
    """Every file that was judged.

    Attributes:
        judged: by path, sorted.
    """

    judged: tuple[Judged, ...]

    def joined(self, other: Scan) -> Scan:
        """This and another one, of other files."""
        return Scan(tuple(sorted((*self.judged, *other.judged), key=lambda one: one.path)))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All, dangers first."""
        found = (finding for one in self.judged for finding in one.findings)
        return tuple(sorted(found, key=lambda one: (one.severity != Severity.DANGER, one)))

    @property
    def dangers(self) -> tuple[Finding, ...]:
        """Those that the default policy refuses."""
        return tuple(one for one in self.findings if one.severity == Severity.DANGER)


@dataclass(frozen=True)
class Verdict:
    """What the build writes down. `report` is `scan.json`, of `scan`."""

    check: Check
    report: bytes
    scan: Scan


def scan_files(files: Mapping[str, Path]) -> Scan:
    """Judge files by their names in the report. Raises AirgapError where one cannot be read."""
    judged = []
    with console.progress("scan", len(files), unit="files") as progress:
        for named, path in sorted(files.items()):
            progress.note(named.rpartition("/")[2])
            judged.append(judge_file(path, named))
            progress.advance(1)
    return Scan(tuple(judged))


def scan_programs(
    files: Mapping[str, Path], device: str, licences: Mapping[str, str] = MappingProxyType({})
) -> Scan:
    """Judge wheels and carried Pythons, which are programs, by their names in the report.

    Args:
        files: a wheel ends in `.whl`; anything else is an archive of a Python.
        device: of the host that they are for, `cpu` or `gpu`.
        licences: that a lock gives wheels, by their names in the report.

    Raises:
        AirgapError: one cannot be read.
    """
    judged = []
    with console.progress("scan", len(files), unit="programs") as progress:
        for named, path in sorted(files.items()):
            progress.note(named.rpartition("/")[2])
            try:
                with path.open("rb") as stream:
                    judged.append(
                        judge_wheel(stream, named, device, licences.get(named))
                        if named.endswith(".whl")
                        else judge_interpreter(stream, named)
                    )
            except OSError as error:
                raise AirgapError(f"cannot read '{path}': {error.strerror}") from error
            progress.advance(1)
    return Scan(tuple(judged))


def scan_images(files: Mapping[str, Path]) -> Scan:
    """Judge container images by their names in the report.

    Raises:
        AirgapError: one cannot be read.
    """
    judged = []
    with console.progress("scan", len(files), unit="images") as progress:
        for named, path in sorted(files.items()):
            progress.note(named.rpartition("/")[2])
            try:
                with path.open("rb") as stream:
                    judged.append(judge_image(stream, named))
            except OSError as error:
                raise AirgapError(f"cannot read '{path}': {error.strerror}") from error
            progress.advance(1)
    return Scan(tuple(judged))


def judge(scan: Scan, policy: ScanPolicy, origins: Mapping[str, Origin]) -> Verdict:
    """Hold the findings against a profile's policy.

    Args:
        scan: of the bundle's files.
        policy: the profile's.
        origins: where the files come from, by path in the bundle.

    Raises:
        UnsafeError: a danger is neither waived nor let pass.
    """
    exempt, left = [], []
    unused = set(policy.waive)
    for finding in scan.dangers:
        if waiver := policy.waiver(finding, origins.get(finding.file, _NOWHERE)):
            unused.discard(waiver)
            exempt.append(Exemption(_subject(finding), waiver.reason))
        elif policy.dangers == "warn":
            exempt.append(Exemption(_subject(finding), "the profile says 'dangers: warn'"))
        else:
            left.append(finding)
    if left:
        raise _refused(left, policy, origins)
    for waiver in sorted(unused, key=str):
        console.warn(f"nothing to waive: '{waiver.rule}' in '{waiver.file}' of {waiver.model}")
    for finding in scan.findings:
        console.warn(told(finding))
    verdict = EXEMPT if exempt else CAUTIONS if scan.findings else CLEAN
    return Verdict(Check(verdict, tuple(exempt)), report(scan, verdict, exempt), scan)


def report(scan: Scan, verdict: str, exempt: Iterable[Exemption] = ()) -> bytes:
    """`scan.json`: the same files and policy give the same bytes."""
    return strict_json.readable(
        {
            "schema": SCHEMA,
            "verdict": verdict,
            "files": [one.as_json() for one in scan.judged],
            "findings": [one.as_json() for one in scan.findings],
            "exempt": [{"subject": one.subject, "reason": one.reason} for one in exempt],
        }
    )


def told(finding: Finding) -> str:
    """A finding as a line."""
    return f"{finding.severity}: '{finding.place}' [{finding.rule}]: {finding.reason}"


def _subject(finding: Finding) -> str:
    return f"{finding.rule} in {finding.place}: {finding.reason}"


def _refused(
    findings: list[Finding], policy: ScanPolicy, origins: Mapping[str, Origin]
) -> UnsafeError:
    """One error for all."""
    lines = []
    for one in findings[:SHOWN]:
        origin = origins.get(one.file, _NOWHERE)
        lines.append(f"  {told(one)}")
        if waiver := policy.outlived(one, origin):
            story = f"expected SHA-256 {waiver.sha256}, found {origin.sha256}"
            lines.append(f"    its waiver is for other bytes: {story}")
    if len(findings) > SHOWN:
        lines.append(f"  and {len(findings) - SHOWN} more")
    fixes = "; ".join(dict.fromkeys(one.fix for one in findings))
    draft = textwrap.indent(drafted(findings, origins).rstrip(), "    ")
    return UnsafeError(
        f"{len(findings)} dangers in what would be loaded:\n" + "\n".join(lines),
        rule=f"scan.{findings[0].rule}",
        hint=f"{fixes}; or read it, and waive it in the profile, with your reason:\n{draft}",
    )
