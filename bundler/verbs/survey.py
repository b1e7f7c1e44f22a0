"""`airgap survey`: the script that a site runs to tell what it is, before anything is built."""

from __future__ import annotations

import sys

import typer

from airgap.console import console


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("survey")(survey)


def survey() -> None:
    """Print survey.sh, which asks an isolated host what it is. It needs a shell there, no more.

    Short, to be read before it is run; it changes nothing and needs no root. What it prints is one
    page: machine, C library, Python, openssl, GPU, memory, disks, what may run programs, clock.
    People read it, and `airgap plan PROFILE --site FILE` says what would fail there.

    \b
    Examples:
      airgap survey > survey.sh
      sh survey.sh > site.txt
      airgap plan cpu-small --site site.txt
    """
    from bundler.site.page import SCRIPT

    sys.stdout.write(SCRIPT.read_text(encoding="utf-8"))
    console.say("next, at the site: sh survey.sh > site.txt")
