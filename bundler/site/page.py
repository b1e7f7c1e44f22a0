"""The page that survey.sh writes at a site -> Site.

A row is `key: value`. The page has crossed the gap in the hands of people: it is bounded, and
what it says is believed in nothing but in what would fail there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Final

from airgap.errors import UsageError
from airgap.files import read_bounded

LIMIT: Final = 1 << 16
"""Bytes of a page; one has about two thousand."""

SCRIPT: Final = Path(__file__).parent / "survey.sh"

_FIRST: Final = "survey: airgap 1"
_KIB: Final = 1024


@dataclass(frozen=True)
class SitePython:
    """A Python at the site: where, its version as (3, 11, 2), and whether it has `venv`."""

    path: str
    version: tuple[int, int, int]
    venv: bool


@dataclass(frozen=True)
class SiteGpu:
    """An NVIDIA board.

    Attributes:
        driver: the major version of its driver.
        memory: in bytes.
        capability: compute capability, as (8, 6); None where the driver is too old to tell.
    """

    driver: int
    memory: int
    name: str
    capability: tuple[int, int] | None = None


@dataclass(frozen=True)
class SitePlace:
    """A folder that could hold the host's root; free bytes, and the mount's options."""

    path: str
    free: int
    kind: str
    options: frozenset[str]
    writable: bool


@dataclass(frozen=True)
class Site:
    """What a host says about itself. None, or nothing, stands for what it could not tell.

    Attributes:
        clock: in UTC, when the page was written.
        machine: as `uname -m` says.
        glibc: its version; None where the C library is another.
        openssl: its version as (3, 0); None where it is missing.
        tools: those that are there.
        features: instruction sets of the processor, as the kernel names them.
        memory: of the machine, in bytes.
        rules: what the host's own guards are: `selinux` enforcing, `fapolicyd` active.
        namespaces: whether a user may make namespaces.
    """

    system: str
    clock: datetime | None
    machine: str
    glibc: tuple[int, int] | None
    openssl: tuple[int, int] | None
    tools: frozenset[str]
    pythons: tuple[SitePython, ...]
    features: frozenset[str]
    memory: int | None
    gpus: tuple[SiteGpu, ...]
    places: tuple[SitePlace, ...]
    guards: frozenset[str]
    namespaces: bool | None


def read_site(path: Path) -> Site:
    """Read a page. Raises UsageError where it is none."""
    text = read_bounded(path, LIMIT, "a page of survey.sh").decode(errors="replace")
    first, *lines = text.splitlines() or [""]
    if first != _FIRST:
        raise UsageError(
            f"'{path}' is no page of survey.sh: expected '{_FIRST}', found '{first[:60]}'",
            hint="airgap survey > survey.sh; at the site: sh survey.sh > site.txt",
        )
    rows = [(key, value) for key, colon, value in (one.partition(": ") for one in lines) if colon]
    return _site(rows)


def _site(rows: list[tuple[str, str]]) -> Site:
    def every(key: str) -> list[str]:
        return [value for found, value in rows if found == key]

    def last(key: str) -> str:
        return next(reversed(every(key)), "")

    return Site(
        system=last("system"),
        clock=_time(last("clock")),
        machine=last("machine"),
        glibc=_pair(re.search(r"(?:glibc|GNU libc|GLIBC).*?(\d+)\.(\d+)", last("libc"))),
        openssl=_pair(re.match(r"OpenSSL (\d+)\.(\d+)", last("openssl"))),
        tools=frozenset(
            key.removeprefix("tool ")
            for key, value in rows
            if key.startswith("tool ") and value.startswith("/")
        ),
        pythons=tuple(dict.fromkeys(_pythons(every("python")))),
        features=frozenset(last("processor features").split()),
        memory=_kib(last("memory total")),
        gpus=tuple(_gpus(every("gpu"), every("gpu capability"))),
        places=tuple(_places(every("place"))),
        guards=frozenset(
            name
            for name, on in (("selinux", "enforcing"), ("fapolicyd", "active"))
            if last(name) == on
        ),
        namespaces=_namespaces(last("user namespaces"), last("user namespaces, unprivileged")),
    )


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _pair(found: re.Match[str] | None) -> tuple[int, int] | None:
    return (int(found[1]), int(found[2])) if found else None


def _kib(text: str) -> int | None:
    found = re.fullmatch(r"(\d{1,15}) KiB", text)
    return int(found[1]) * _KIB if found else None


def _pythons(values: Iterable[str]) -> Iterable[SitePython]:
    for value in values:
        if found := re.fullmatch(r"(/.*) (\d{1,3})\.(\d{1,3})\.(\d{1,3}) (venv|no-venv)", value):
            version = (int(found[2]), int(found[3]), int(found[4]))
            yield SitePython(found[1], version, found[5] == "venv")


def _gpus(values: Sequence[str], capabilities: Sequence[str]) -> Iterable[SiteGpu]:
    """Both in the order of `nvidia-smi`."""
    for value, capability in zip_longest(values, capabilities[: len(values)], fillvalue=""):
        if found := re.fullmatch(r"(\d{1,4})[\d.]*, (\d{1,9}) MiB, (.*)", value):
            yield SiteGpu(
                int(found[1]),
                int(found[2]) * _KIB * _KIB,
                found[3],
                _pair(re.fullmatch(r"(\d{1,3})\.(\d{1,3})", capability)),
            )


def _places(values: Iterable[str]) -> Iterable[SitePlace]:
    form = re.compile(r"(\d{1,15}) KiB, (\S+) (\S+), (writable|read-only), (/.*)")
    for value in values:
        if found := form.fullmatch(value):
            free, kind, options, writable, path = found.groups()
            yield SitePlace(
                path, int(free) * _KIB, kind, frozenset(options.split(",")), writable == "writable"
            )


def _namespaces(most: str, unprivileged: str) -> bool | None:
    return None if not most.isdecimal() else int(most) > 0 and unprivileged != "0"
