"""The extras of this project: what installs their libraries on a host that lacks them."""

from __future__ import annotations


def by_pip(extra: str) -> str:
    """The command where there is a package index, or wheels that were carried in by hand."""
    return f"pip install 'airgap-bundler[{extra}]'"
