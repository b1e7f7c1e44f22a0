"""What would fail at a site: rules over what it says about itself, and what a bundle needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from airgap import processor
from airgap.console import human_size
from airgap.cuda import Cuda
from airgap.finding import Finding, fail, ok, warn
from airgap.strict_json import from_time
from bundler.lock import Lock
from bundler.plan import Plan
from bundler.site.page import Site, SitePlace
from bundler.wheelhouse.cuda import newest_cuda

_P384_ONLY: Final = (1, 1)
_RAW: Final = (3, 0)
"""OpenSSL's command line checks Ed25519 since then (`-rawin`)."""

_TARGET: Final = re.compile(r"cp3(\d+)-manylinux_(\d+)_(\d+)_(.+)")
_TOLERANCE: Final = timedelta(minutes=5)
_NO_PROGRAMS: Final = "noexec"


@dataclass(frozen=True)
class Needs:
    """What a bundle needs of a host. Sizes in bytes.

    Attributes:
        targets: Pythons and platforms that it carries wheels for; none where it carries no runtime.
        carries_python: whether a Python comes with them.
        disk: for the bundle, one copy of its files, and the runtime installed.
        memory: while the largest model is loaded and verified.
        gpu_memory: None on a CPU.
        cuda: the newest that its programs are built for.
        created: when its lock was made.
    """

    targets: tuple[str, ...]
    carries_python: bool
    disk: int
    memory: int
    gpu_memory: int | None
    cuda: Cuda
    created: datetime


def needs(plan: Plan, lock: Lock) -> Needs:
    """What a bundle of this lock needs."""
    runtime = lock.runtime
    return Needs(
        targets=tuple(one.target.name for one in runtime.targets) if runtime else (),
        carries_python=bool(runtime and runtime.interpreters),
        disk=plan.host_disk,
        memory=plan.memory,
        gpu_memory=plan.gpu_memory,
        cuda=newest_cuda(runtime),
        created=from_time(lock.created),
    )


Rule = Callable[[Site, Needs], Finding]


def judge(site: Site, needs: Needs) -> list[tuple[str, Finding]]:
    """What each rule finds, by its name, in the order of a bundle's way."""
    return [(name, rule(site, needs)) for name, rule in RULES]


def _system(site: Site, needs: Needs) -> Finding:
    if not site.system.startswith("Linux "):
        return fail(f"the system is {site.system or 'unknown'}", "use a Linux host, or WSL2")
    if needs.targets and not _of_machine(site, needs):
        return fail(
            f"the processor is {site.machine}, and the bundle is for {_listed(needs)}",
            "add a platform of that machine to `runtime` in the profile, and lock it again",
        )
    return ok(f"{site.system}, {site.machine}")


def _libc(site: Site, needs: Needs) -> Finding:
    if not needs.targets:
        return ok("no programs are carried")
    if site.glibc is None:
        return fail(
            "the C library is not glibc: no wheel of a speech engine runs on it",
            "use a host with glibc, or a container image",
        )
    found = ".".join(map(str, site.glibc))
    oldest = min((glibc for _, glibc in _of_machine(site, needs)), default=None)
    if oldest is not None and site.glibc < oldest:
        return fail(
            f"glibc is {found}, and the wheels want {oldest[0]}.{oldest[1]}",
            f"`runtime` in the profile: manylinux_{site.glibc[0]}_{site.glibc[1]} or older",
        )
    return ok(f"glibc {found}")


def _python(site: Site, needs: Needs) -> Finding:
    if needs.carries_python:
        lacking = sorted({"tar", "gzip"} - site.tools)
        if lacking:
            return fail(
                f"no {' and no '.join(lacking)}: needed to unpack the carried Python",
                f"install {' and '.join(lacking)}",
            )
        return ok("the bundle brings its own")
    minors = {minor for minor, glibc in _of_machine(site, needs)}
    found = ", ".join(f"{'.'.join(map(str, one.version))} ('{one.path}')" for one in site.pythons)
    if not needs.targets:
        return warn(
            f"the bundle carries no programs; found: {found or 'no Python 3'}",
            "install airgap-bundler[cpu] there by the site's own means; or give the profile a "
            "`runtime`",
        )
    fit = [one for one in site.pythons if one.version[:2] in {(3, minor) for minor in minors}]
    if any(one.venv for one in fit):
        return ok(found)
    if fit:
        return fail(
            f"'{fit[0].path}' has no module venv", "install python3-venv, or `python: carried`"
        )
    wanted = " or ".join(f"3.{minor}" for minor in sorted(minors)) or "another machine"
    return fail(
        f"expected Python {wanted}, found: {found or 'none'}",
        "`python: carried` in the profile's `runtime`; or add that version to it",
    )


def _openssl(site: Site, _needs: Needs) -> Finding:
    if site.openssl is None or "sha256sum" not in site.tools:
        return fail(
            "openssl or sha256sum is missing: nothing there could check the bootstrap",
            "install openssl and coreutils from the site's own media",
        )
    found = ".".join(map(str, site.openssl))
    if site.openssl < _P384_ONLY:
        return fail(f"OpenSSL {found}, expected 1.1.1 or newer", "install a newer openssl")
    if site.openssl < _RAW:
        return warn(
            f"OpenSSL {found} checks no Ed25519 signature",
            "give the site the officer's NAME.ecdsa-p384.pub, and sign with that key too",
        )
    return ok(f"OpenSSL {found}")


def _processor(site: Site, _needs: Needs) -> Finding:
    if site.machine == "x86_64" and processor.is_slow(site.features):
        return warn(processor.SLOW.format(processor.code_path(site.features)), processor.FASTER)
    return ok(site.machine or "unknown")


def _memory(site: Site, needs: Needs) -> Finding:
    if site.memory is None:
        return warn("the page does not tell how much memory there is", "ask the site")
    if site.memory < needs.memory:
        return fail(
            f"{human_size(site.memory)} of memory, and loading takes about "
            f"{human_size(needs.memory)}",
            "a smaller model; or --verified-load path there, which takes about half",
        )
    return ok(human_size(site.memory))


def _gpu(site: Site, needs: Needs) -> Finding:
    if needs.gpu_memory is None:
        return ok("none is needed")
    if not site.gpus:
        return fail("the profile is for a GPU, and none is told", "a profile with `device: cpu`")
    best = max(site.gpus, key=lambda one: one.memory)
    cuda = needs.cuda
    if best.driver < cuda.driver:
        return fail(
            f"NVIDIA's driver is {best.driver}, and {cuda} wants {cuda.driver} or newer",
            "install a newer driver there",
        )
    if best.capability is not None and best.capability < cuda.capability:
        found, oldest = (".".join(map(str, one)) for one in (best.capability, cuda.capability))
        return fail(
            f"'{best.name}' has compute capability {found}, and {cuda} has code from {oldest} on",
            "a newer GPU, or `device: cpu`",
        )
    if best.memory < needs.gpu_memory:
        return fail(
            f"'{best.name}' has {human_size(best.memory)}, and the models take about "
            f"{human_size(needs.gpu_memory)}",
            "a smaller model, or `device: cpu`",
        )
    return ok(f"{best.name}, {human_size(best.memory)}")


def _place(site: Site, needs: Needs) -> Finding:
    if not site.places:
        return warn("the page tells of no place", "ask the site for its disks")
    roomy = [one for one in site.places if one.free >= needs.disk]
    if not roomy:
        most = max(site.places, key=lambda one: one.free)
        return fail(
            f"'{most.path}' has most room, {human_size(most.free)}, and {_kept(needs)} take "
            f"{human_size(needs.disk)}",
            "more disk, or a smaller profile",
        )
    good = [one for one in roomy if _runs(one) or not needs.targets]
    if not good:
        return fail(
            f"programs may not run in {', '.join(repr(one.path) for one in roomy)} "
            f"({_NO_PROGRAMS})",
            "a file system there that is not mounted noexec, and --root in it",
        )
    if not any(one.writable for one in good):
        return warn(
            f"who ran survey.sh may write none of {', '.join(repr(one.path) for one in good)}",
            f"have a folder made there, for --root: {good[0].path}/airgap",
        )
    chosen = next(one for one in good if one.writable)
    return ok(f"'{chosen.path}', {human_size(chosen.free)} free")


def _kept(needs: Needs) -> str:
    if needs.targets:
        return "the bundle, one copy and the installed runtime"
    return "the bundle and one copy"


def _guards(site: Site, needs: Needs) -> Finding:
    if needs.targets and "fapolicyd" in site.guards:
        return fail(
            "fapolicyd lets no program run that it does not know",
            "have its administrator trust the root's folder `runtimes`: fapolicyd-cli --file add",
        )
    if "selinux" in site.guards:
        return warn(
            "SELinux is enforcing: a service of systemd's may not run programs of a home",
            "--root below /var/lib or /opt, and restorecon -R on it",
        )
    if site.namespaces is False:
        return warn(
            "users may make no namespaces: the server leaves the network by its filter alone",
            "nothing, where that is enough; `airgap doctor` there proves it",
        )
    return ok("nothing in the way")


def _clock(site: Site, needs: Needs) -> Finding:
    if site.clock is None:
        return warn("the page does not tell the time", "ask the site")
    if site.clock + _TOLERANCE < needs.created:
        return warn(
            f"its clock said {site.clock:%Y-%m-%d %H:%M}, and the lock is of "
            f"{needs.created:%Y-%m-%d %H:%M}: survey it again, or its clock is behind",
            "date -u there; a wrong clock makes expiry wrong",
        )
    return ok(f"{site.clock:%Y-%m-%d %H:%M} UTC")


def _runs(place: SitePlace) -> bool:
    return _NO_PROGRAMS not in place.options


def _of_machine(site: Site, needs: Needs) -> list[tuple[int, tuple[int, int]]]:
    """Minor version of Python, and glibc, of each target for the site's machine."""
    parts = [found for one in needs.targets if (found := _TARGET.fullmatch(one))]
    return [(int(one[1]), (int(one[2]), int(one[3]))) for one in parts if one[4] == site.machine]


def _listed(needs: Needs) -> str:
    return ", ".join(needs.targets)


RULES: Final[tuple[tuple[str, Rule], ...]] = (
    ("site.system", _system),
    ("site.libc", _libc),
    ("site.openssl", _openssl),
    ("site.python", _python),
    ("site.processor", _processor),
    ("site.memory", _memory),
    ("site.gpu", _gpu),
    ("site.place", _place),
    ("site.guards", _guards),
    ("site.clock", _clock),
)
