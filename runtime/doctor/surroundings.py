"""Rules about what stands around a process: variables, networks, the guard.

Our own verbs set their variables and leave the network. The rules about variables speak for the
other programs of a host that load from the mount, and for scripts around them.
"""

from __future__ import annotations

from typing import Final

from airgap.finding import Check, Finding, Trouble, ok, warn
from runtime.doctor.facts import Host

OFFLINE: Final = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
TOKENS: Final = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
PROXIES: Final = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
)
TELEMETRY: Final = ("PYANNOTE_METRICS_ENABLED", "OTEL_EXPORTER_OTLP_ENDPOINT")
CACHES: Final = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE")
ENDPOINT: Final = "HF_ENDPOINT"
VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
FORCED_ISA: Final = "CT2_FORCE_CPU_ISA"
VARIABLES: Final = (
    *OFFLINE,
    *TOKENS,
    *PROXIES,
    *TELEMETRY,
    *CACHES,
    ENDPOINT,
    VISIBLE,
    FORCED_ISA,
)
"""Every variable that a check asks for."""

_TRUE: Final = frozenset({"1", "ON", "YES", "TRUE"})
"""What huggingface_hub takes for yes."""


def _offline(host: Host) -> Finding | None:
    variables = host.surroundings.variables
    first, *others = OFFLINE
    told = variables.get(first)
    if told is not None and told.upper() not in _TRUE:
        also = [name for name in others if variables.get(name, "").upper() in _TRUE]
        overrides = f", and overrides {' and '.join(also)}" if also else ""
        return warn(
            f"{first}={told} sends other programs to a network{overrides}", f"export {first}=1"
        )
    if told is None and any(name in variables for name in CACHES):
        return warn(
            f"a cache is named, and {first} is not set: libraries ask a hub before they look there",
            f"export {first}=1",
        )
    return ok(f"{first}={told}" if told else "airgap sets its own; nothing else is set")


def _endpoint(host: Host) -> Finding | None:
    if not host.surroundings.variables.get(ENDPOINT):
        return None
    return warn(  # its value may hold a password
        f"{ENDPOINT} is set: other programs ask that hub, unless HF_HUB_OFFLINE=1",
        f"unset {ENDPOINT}, unless it is a mirror inside this site",
    )


def _token(host: Host) -> Finding | None:
    names = [name for name in TOKENS if host.surroundings.variables.get(name)]
    if not names:
        return None
    return warn(
        f"{names[0]} is set: a secret that nothing on an isolated host needs", f"unset {names[0]}"
    )


def _proxy(host: Host) -> Finding | None:
    names = [name for name in PROXIES if host.surroundings.variables.get(name)]
    if not names:
        return None
    return warn(
        f"{', '.join(names)}: a library that asks a network waits for a proxy",
        f"unset {' '.join(names)}",
    )


def _telemetry(host: Host) -> Finding | None:
    metrics, collector = (host.surroundings.variables.get(name) for name in TELEMETRY)
    if metrics is not None and metrics.lower() not in {"0", "false", ""}:
        return warn(
            f"{TELEMETRY[0]}={metrics}: pyannote reports each pipeline to a network",
            f"export {TELEMETRY[0]}=0",
        )
    if collector:
        return warn(
            f"{TELEMETRY[1]} is set: libraries report what they do to a network",
            f"unset {TELEMETRY[1]}",
        )
    return None


def _route(host: Host) -> Finding | None:
    routes = host.surroundings.routes
    if not routes:
        return ok("no default route: who asks a network is answered at once")
    return warn(
        f"there is a default route by {', '.join(routes)}: this host is not isolated, or its "
        "packets are swallowed and other programs wait for minutes",
        "ip route replace unreachable default; ip -6 route replace unreachable default",
    )


def _resolver(host: Host) -> Finding | None:
    resolvers = host.surroundings.resolvers
    if not resolvers or not host.surroundings.routes:  # without a route the answer comes at once
        return None
    return warn(
        f"names are asked of {', '.join(resolvers)}: where nobody answers, each name takes seconds",
        "take the `nameserver` lines out of /etc/resolv.conf, unless the site has a resolver",
    )


def _guard(host: Host) -> Finding | None:
    guard = host.surroundings.guard
    if isinstance(guard, Trouble):
        return guard.as_finding("see docs/threat-model.md")
    return ok(guard)


CHECKS: Final = (
    Check("settings.offline", "Do variables send other programs to a network?", _offline),
    Check("settings.endpoint", "Is another hub named?", _endpoint),
    Check("settings.token", "Does a token lie about?", _token),
    Check("settings.proxy", "Is a proxy named?", _proxy),
    Check("settings.telemetry", "Is telemetry switched on?", _telemetry),
    Check("network.route", "Is there a way out, or into a void?", _route),
    Check("network.resolver", "Who is asked for names?", _resolver),
    Check("network.guard", "Can a process leave the network, and prove it?", _guard),
)
