"""Findings and policy -> refused; or what goes into the bundle: `scan.json` and the verdict."""

from __future__ import annotations

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
from bundler.scan.interpreters import judge_interpreter
from bundler.scan.policy import ScanPolicy
from bundler.scan.wheels import judge_wheel

SCHEMA: Final = "airgap/scan/v1"
CLEAN: Final = "clean"
CAUTIONS: Final = "cautions"
EXEMPT: Final = "dangers exempt"

SHOWN: Final = 30
"""Findings that an error shows; all of them are in `airgap scan --json`."""


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


def judge(scan: Scan, policy: ScanPolicy, files: dict[str, tuple[str, str]]) -> Verdict:
    """Hold the findings against a profile's policy.

    Args:
        scan: of the bundle's files.
        policy: the profile's.
        files: model and path in its repository, by path in the bundle.

    Raises:
        UnsafeError: a danger is neither waived nor let pass.
    """
    exempt, left = [], []
    unused = set(policy.waive)
    for finding in scan.dangers:
        if waiver := policy.waiver(finding, files):
            unused.discard(waiver)
            exempt.append(Exemption(_subject(finding), waiver.reason))
        elif policy.dangers == "warn":
            exempt.append(Exemption(_subject(finding), "the profile says 'dangers: warn'"))
        else:
            left.append(finding)
    if left:
        raise refused(left)
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


def refused(findings: Iterable[Finding]) -> UnsafeError:
    """One error for all."""
    found = list(findings)
    lines = [f"  {told(one)}" for one in found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f"  and {len(found) - SHOWN} more")
    fixes = "; ".join(dict.fromkeys(one.fix for one in found))
    return UnsafeError(
        f"{len(found)} dangers in what would be loaded:\n" + "\n".join(lines),
        rule=f"scan.{found[0].rule}",
        hint=f"{fixes}; or waive it in the profile, with a reason",
    )
