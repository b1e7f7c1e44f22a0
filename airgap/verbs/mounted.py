"""`--mounted` of verify and repair: what is mounted is the isolated side's to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping

GROUP = "airgap.mounted"
"""The entry-point group under which that side offers both."""


def verb(name: str) -> Callable[..., None]:
    """What `airgap NAME --mounted` does. Raises UsageError where that side is not installed."""
    from importlib import metadata

    from airgap.errors import UsageError

    for entry in metadata.entry_points(group=GROUP, name=name):
        try:
            found: Callable[..., None] = entry.load()
        except ModuleNotFoundError as error:
            if error.name != "runtime":  # the builder's image carries one side alone
                raise
            continue
        return found
    raise UsageError(
        f"`airgap {name} --mounted` belongs to the isolated side, which is not installed here",
        hint="the same on the isolated host",
    )


def refuse_together(name: str, given: Mapping[str, object]) -> None:
    """Raise UsageError where options were given that say nothing about what is mounted."""
    from airgap.errors import UsageError

    if named := ", ".join(option for option, value in given.items() if value):
        raise UsageError(
            f"--mounted looks at what is mounted, and {named} at a bundle",
            hint=f"airgap {name} --help",
        )
