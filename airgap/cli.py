"""The `airgap` command: its verbs, and the one place where an error becomes an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from functools import cache
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from airgap import __version__, introduction
from airgap.console import console
from airgap.errors import AirgapError, UsageError, next_after
from airgap.verbs import audit, inspect, keygen, repair, sign, trust, verify

COMMANDS = "airgap.commands"
"""The entry-point group through which each side adds its verbs."""

CONNECTED = frozenset(
    {"survey", "plan", "lock", "fetch", "scan", "build", "paperwork", "split", "carry", "diff"}
)
"""Verbs that are missing where the connected side is not installed."""

OWN = (verify, inspect, sign, repair, keygen, trust, audit)

STATUS = "status"
"""The isolated side's verb that needs not be typed."""

INTERRUPTED = 128 + 2
"""Exit code after Ctrl-C, as a shell gives it."""


class Verbs(TyperGroup):
    """The verbs in the order of the data's path; a missing side's verb says where it belongs."""

    order = (
        *(
            "survey",
            "plan",
            "lock",
            "fetch",
            "scan",
            "keygen",
            "build",
            "paperwork",
            "split",
            "carry",
        ),
        *("diff", "cache", "inspect", "verify", "sign", "repair"),
        *("trust", "mount", "runtime", "update", "status", "doctor", "list", "rollback"),
        *("unmount", "gc", "load", "transcribe", "serve", "mirror", "apikey", "audit"),
        *("push", "pull"),
    )

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs, sorted as the data travels."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: self.order.index(name) if name in self.order else 99)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The verb; raises UsageError for one whose side is not installed."""
        command = super().get_command(ctx, cmd_name)
        if command is None and cmd_name in CONNECTED:
            raise UsageError(
                f"`airgap {cmd_name}` belongs to the connected side, which is not installed here",
                hint="on a connected machine: pip install 'airgap-bundler[bundler]'",
            )
        return command


app = typer.Typer(
    cls=Verbs,
    name="airgap",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(asked: bool) -> None:
    if asked:
        console.data(f"airgap {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def airgap(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Carry speech models across an air gap, so that what crossed can be proven.

    \b
    On a connected machine:   airgap keygen NAME, airgap build PROFILE --key NAME
    On the isolated host:     airgap trust init, airgap trust add …,
                              airgap verify BUNDLE, airgap mount BUNDLE, airgap transcribe FILE

    Exit codes: 0 done; 1 it failed; 2 the command line or a file of yours is wrong; 3 refused: not
    to be trusted; 4 intact, but not authenticated.
    """
    if context.invoked_subcommand is None:
        installed = {verb.name for verb in app.registered_commands}
        console.data(introduction.text(connected=installed >= CONNECTED))


def main() -> None:
    """Run the command and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command with these arguments; returns its exit code."""
    console.configure(as_json="--json" in arguments)
    try:
        _load_verbs(arguments[0] if arguments else "")
        code = app(arguments or _unasked(), standalone_mode=False)
        sys.stdout.flush()
    except AirgapError as error:
        return _told(error)
    except OSError as error:
        return _broken_pipe() if error.errno == errno.EPIPE else _failed(error)
    except KeyboardInterrupt:
        return _interrupted()
    except Exception as error:  # noqa: BLE001 - the last handler: it words every other error
        return _unexpected(error)
    if code == INTERRUPTED:  # the parser has caught the interrupt, and says so by this number
        return _interrupted()
    return code if isinstance(code, int) else 0


def _unasked() -> list[str]:
    """What `airgap` alone does: a host with a mount says how it is, any other what this is."""
    from airgap import places  # 1 ms that a verb need not take

    mounts = places.isolated_root(None) / places.MOUNTS
    has_status = any(verb.name == STATUS for verb in app.registered_commands)
    return [STATUS] if has_status and mounts.is_dir() and any(mounts.iterdir()) else []


def _interrupted() -> int:
    console.warn("interrupted; nothing half-written is left")
    return INTERRUPTED


def _load_verbs(asked: str = "") -> None:
    """Register our verbs and, unless one of them is asked for, those of the sides."""
    _load_own()
    if asked not in {verb.__name__.rpartition(".")[2] for verb in OWN}:
        _load_sides()  # looking for them takes 20 ms, and verify needs neither


@cache
def _load_own() -> None:
    for verb in OWN:
        verb.register(app)


@cache
def _load_sides() -> None:
    from importlib import metadata  # 20 ms that our own verbs need not take

    for entry in metadata.entry_points(group=COMMANDS):
        try:
            register = entry.load()
        except ModuleNotFoundError as error:
            if error.name not in {"bundler", "runtime"}:  # an image carries one side alone
                raise
            continue
        register(app)


def _told(error: AirgapError) -> int:
    """Say an error, and return its exit code: it stands also where nobody reads any more."""
    try:
        console.fail(error)
        sys.stdout.flush()
    except BrokenPipeError:
        _broken_pipe()
    return error.exit_code


def _failed(error: OSError) -> int:
    """An error of the operating system that no module knew more about."""
    subject = f"'{error.filename}': " if error.filename else ""
    return _told(AirgapError(f"{subject}{error.strerror or error}", hint=next_after(error)))


def _broken_pipe() -> int:
    """Whoever read our output has gone (`airgap list | head`): end without a word, like cat."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + 13


def _unexpected(error: Exception) -> int:
    """The command line's own errors are the parser's to word; anything else is our mistake."""
    if isinstance(error, typer.Abort):
        stopped = "stopped: a question was not answered with y; nothing was done"
        hint = "answer y, or give --yes where nobody can be asked"
        return _told(AirgapError(stopped, hint=hint))
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):
        if callable(format_message := getattr(error, "format_message", None)):
            context = getattr(error, "ctx", None)
            hint = f"{context.command_path} --help" if context else "airgap --help"
            _told(UsageError(format_message(), hint=hint))
        return code
    traceback.print_exc()
    return _told(AirgapError(f"{type(error).__name__}: {error}", hint="this is a bug of airgap's"))
