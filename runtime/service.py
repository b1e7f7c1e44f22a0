"""The systemd unit that serves: restarted, and looked at until it is clear that it stays up."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import Final

from airgap.errors import AirgapError, UsageError

_WATCHED: Final = 10
"""How often a unit that was restarted is looked at."""

_BETWEEN: Final = 0.5
"""Seconds between two looks. What does not start has died by the end of them all."""

_LONGEST: Final = 600
"""Seconds for one answer: a server drains its requests before it stops."""


@dataclass(frozen=True)
class Service:
    """A unit of systemd's.

    Attributes:
        unit: its name, `airgap.service`.
        systemctl: path of the command.
    """

    unit: str
    systemctl: str

    @classmethod
    def find(cls, unit: str) -> Service:
        """The unit, by its name. Raises UsageError where there is no systemd."""
        systemctl = shutil.which("systemctl")
        if systemctl is None:
            raise UsageError(
                f"'{unit}' cannot be restarted: there is no systemctl here",
                hint="without --service, and restart the server as this host does it",
            )
        return cls(unit, systemctl)

    def require_active(self) -> None:
        """Raise UsageError where it does not run: nothing would tell whether it serves after."""
        if not self.is_active():
            raise UsageError(f"'{self.unit}' is not running", hint=f"systemctl status {self.unit}")

    def is_active(self) -> bool:
        """Whether systemd says that it runs."""
        return self._ask("is-active", "--quiet").returncode == 0

    def restart(self) -> None:
        """Restart it. Raises AirgapError where it does not start, or does not stay up."""
        done = self._ask("restart")
        if done.returncode:
            raise self._down(done.stderr.strip() or f"exit code {done.returncode}")
        for _look in range(_WATCHED):
            time.sleep(_BETWEEN)
            if not self.is_active():
                raise self._down("it started, and ended")

    def _ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # noqa: S603 - systemd's own command, a unit's name
                [self.systemctl, *words, "--", self.unit],
                capture_output=True,
                text=True,
                check=False,
                timeout=_LONGEST,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self._down(str(error)) from error

    def _down(self, why: str) -> AirgapError:
        return AirgapError(
            f"'{self.unit}' was not restarted: {why}", hint=f"journalctl -u {self.unit}"
        )
