"""Every check, and how facts go through them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from airgap.finding import Check, Finding
from runtime.doctor import bundles, hardware, libraries, room, surroundings, trust
from runtime.doctor.facts import Bundle, Host

OF_HOST: Final[tuple[Check[Host], ...]] = (
    *trust.CHECKS,
    *room.CHECKS,
    *surroundings.CHECKS,
    *libraries.CHECKS,
    *hardware.CHECKS,
)
OF_BUNDLE: Final[tuple[Check[Bundle], ...]] = bundles.CHECKS


@dataclass(frozen=True)
class Diagnosis:
    """What one check found; `bundle` is NAME-VERSION, None for what concerns the host."""

    check: str
    bundle: str | None
    finding: Finding


def diagnose(host: Host, examined: Iterable[Bundle]) -> Iterator[Diagnosis]:
    """What every check finds, in the table's order; those that do not arise are left out."""
    examined = tuple(examined)
    # What a host lacks is mended otherwise where a bundle brings it.
    carried = next((one.carried for one in examined if one.carried), None)
    host = replace(host, libraries=replace(host.libraries, carried=carried))
    for of_host in OF_HOST:
        if (finding := of_host.rule(host)) is not None:
            yield Diagnosis(of_host.name, None, finding)
    for bundle in examined:
        for check in OF_BUNDLE:
            if (finding := check.rule(bundle)) is not None:
                yield Diagnosis(check.name, bundle.title, finding)
