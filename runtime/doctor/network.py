"""Networks of this host, as the kernel lists them: nothing is sent to find out."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_UP: Final = 0x1
_REJECT: Final = 0x200
"""linux/route.h: a route that answers with an error, which is what an isolated host wants."""


def default_routes(ipv4: str, ipv6: str) -> tuple[str, ...]:
    """Interfaces by which packets to anywhere leave, sorted.

    Args:
        ipv4: content of /proc/net/route.
        ipv6: content of /proc/net/ipv6_route.
    """
    found = set()
    for fields in map(str.split, ipv4.splitlines()[1:]):
        name, target, _gateway, flags, *_counts, mask = fields[:8]
        if (target, mask) == ("0" * 8, "0" * 8) and _carries(flags):
            found.add(name)
    for fields in map(str.split, ipv6.splitlines()):
        target, length, flags, name = fields[0], fields[1], fields[8], fields[9]
        if (target, length) == ("0" * 32, "00") and _carries(flags) and name != "lo":
            found.add(name)
    return tuple(sorted(found))


def resolvers(content: str) -> tuple[str, ...]:
    """Name servers of a resolv.conf that are not this host itself."""
    lines = (line.split() for line in content.splitlines())
    named = [line[1] for line in lines if line[:1] == ["nameserver"] and len(line) > 1]
    return tuple(one for one in named if not one.startswith("127.") and one != "::1")


def read(path: str) -> str:
    """A file of the system's; empty where there is none, as without IPv6."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _carries(flags: str) -> bool:
    return bool(int(flags, 16) & _UP) and not int(flags, 16) & _REJECT
