"""A systemd unit for this host, hardened as far as the guard around the process allows.

What is left out on purpose: `RestrictAddressFamilies` and a list of allowed system calls, since
the self-test counts only the guard's own refusals; `MemoryDenyWriteExecute`, since the engine
compiles its kernels when it starts; `PrivateNetwork`, since clients come from outside.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PRIVILEGED = 1024
"""Ports below need a capability."""


@dataclass(frozen=True)
class Host:
    """What the unit depends on.

    Attributes:
        command: the arguments of this `airgap serve`, without --print-unit.
        loopback: whether it listens on loopback alone.
        drain_seconds: what systemd must wait for.
    """

    executable: Path
    command: Sequence[str]
    root: Path
    port: int
    loopback: bool
    drain_seconds: float


def text(host: Host) -> str:
    """The unit: `airgap serve … --print-unit > /etc/systemd/system/airgap.service`."""
    start = shlex.join([str(host.executable), "serve", *host.command]).replace("%", "%%")
    bind = "CAP_NET_BIND_SERVICE" if host.port < _PRIVILEGED else ""
    only_here = "IPAddressDeny=any\nIPAddressAllow=localhost\n" if host.loopback else ""
    # systemd would hide a root that lies in a home.
    home = "" if host.root.is_relative_to("/home") or host.root.is_relative_to("/root") else "yes"
    return f"""\
[Unit]
Description=Offline transcription from a signed bundle
Documentation=file:///usr/share/doc/airgap/serving.md
After=network.target

[Service]
Type=exec
User=airgap
Group=airgap
ExecStart={start}
ExecReload=/bin/kill -HUP $MAINPID
Environment=AIRGAP_ROOT={host.root}
# API_KEYS=… and the like, readable by root alone.
EnvironmentFile=-/etc/airgap/serve.env
Restart=on-failure
# The command line is wrong, or the bundle is not to be trusted: again would be no better.
RestartPreventExitStatus=2 3
TimeoutStopSec={host.drain_seconds + 30:.0f}

# The process leaves the network by itself, into namespaces of its own.
RestrictNamespaces=user net
NoNewPrivileges=yes
CapabilityBoundingSet={bind}
AmbientCapabilities={bind}
{only_here}
ProtectSystem=strict
ReadWritePaths={host.root}
ProtectHome={home or "read-only"}
PrivateTmp=yes
PrivateIPC=yes
ProtectProc=invisible
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=~@clock @cpu-emulation @module @obsolete @raw-io @reboot @swap
SystemCallErrorNumber=EPERM
LimitCORE=0
UMask=0077

[Install]
WantedBy=multi-user.target
"""
