"""What can go wrong, by the decision that the person in front of it must take.

Every error of ours carries the exit code of the command and, where there is one,
the next thing to type. Foreign exceptions are turned into one of these at the
border of the module that met them.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Final

from airgap.decision import Step


class AirgapError(Exception):
    """The work failed: I/O, a network, a file that is not there. Exit code 1.

    Attributes:
        hint: what to do next, ideally a command to type; None where there is nothing to say.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def message(self) -> str:
        """What was expected and what was found, for a person."""
        return str(self.args[0])


class UsageError(AirgapError):
    """The command line, or a file that the user wrote, is wrong: mend it. Exit code 2."""

    exit_code = 2


_NEXT: Final[Mapping[int, str]] = {
    errno.ENOSPC: "free some space, then run it again",
    errno.EDQUOT: "free some of your space there, then run it again",
    errno.EROFS: "name a folder that can be written",
    errno.EEXIST: "a file lies where a folder is to be: name another",
    errno.ENOTDIR: "a file lies where a folder is to be: name another",
}


def next_after(error: OSError) -> str | None:
    """What to do where the operating system could not write; None where its word says it all."""
    return _NEXT.get(error.errno or 0)


class RefusedError(AirgapError):
    """The bundle, its signature, its age or its contents are not to be trusted. Exit code 3.

    Attributes:
        rule: the rule that refused, as a stable dotted word for programs (`frame.digest`).
        authority: who could change what was refused, for a person.
        decision: the steps that led here, where whoever decided kept them.
    """

    exit_code = 3
    authority = "who built the bundle"

    def __init__(
        self, message: str, *, rule: str, hint: str | None = None, authority: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.rule = rule
        self.authority = authority or self.authority
        self.decision: tuple[Step, ...] = ()


class DamagedError(RefusedError):
    """Bytes differ from what was signed, or are not a bundle at all: copy the file again."""

    authority = "who made the copy; if another copy is refused too, who built the bundle"


class UntrustedError(RefusedError):
    """The signatures do not satisfy this host's policy: ask those who signed, or who set policy."""

    authority = "who signed the bundle, or who keeps this host's policy"


class OutdatedError(RefusedError):
    """Older than what this host has accepted, or past its expiry: ask for a newer bundle."""

    authority = "who built the bundle; whoever may override here, with a reason that is recorded"
