"""`airgap cache`: what the caches of this machine hold, and what may go.

Each side that is installed adds its caches with `Caches.of(app)`; the verb belongs to neither.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console, human_size
from airgap.verbs import options

if TYPE_CHECKING:
    from airgap.caches import Holding, Request, Side

NAME = "cache"
DOWNLOADS = "downloads"
EVERYTHING = "all"


class Caches(typer.Typer):
    """The verb with its parts, and the sides whose caches it shows."""

    def __init__(self) -> None:
        super().__init__(
            name=NAME,
            help="Model caches: what they hold, what may go, and how other programs find them.",
            no_args_is_help=True,
            rich_markup_mode=None,
        )
        self.sides: list[Side] = []
        self.command("show")(self.show)
        self.command("clear")(self.clear)
        self.command("key")(self.key)

    @classmethod
    def of(cls, app: typer.Typer) -> Caches:
        """The verb of this command, added where it has none yet."""
        for group in app.registered_groups:
            if isinstance(group.typer_instance, cls):
                return group.typer_instance
        caches = cls()
        app.add_typer(caches)
        return caches

    def show(self, root: options.Root = None, json: options.Json = False) -> None:
        """Show what the caches hold: per kind and model, mounted or not, verified or not.

        A file with several names is counted once. What is mounted was verified when it was
        mounted, and is hashed again when airgap loads it; what is foreign came by another way, and
        nobody verified it. `downloads` are a builder's files by SHA-256, checked as they came.

        \b
        Examples:
          airgap cache show
          airgap cache show --json
        """
        console.configure(as_json=json)
        found = [one for side in self.sides for one in side.holdings(root)]
        _print(found)
        for sentence in (one for side in self.sides for one in side.warnings(root)):
            console.warn(sentence)
        console.document(
            "airgap/cache/v1",
            {"holdings": [asdict(one) for one in found], "size": sum(one.size for one in found)},
        )

    def clear(
        self,
        kind: Annotated[
            str,
            typer.Argument(
                metavar="[KIND]",
                help="downloads, hf, torch, nemo, whisper, emotion, diarization, or all.",
                show_default=False,
            ),
        ] = DOWNLOADS,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Only show what would go.")
        ] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
        keep_days: Annotated[
            int | None,
            typer.Option(
                min=0,
                metavar="N",
                help="Keep what was used in the last N days; for downloads.",
                show_default=False,
            ),
        ] = None,
        root: options.Root = None,
        json: options.Json = False,
    ) -> None:
        """Remove what a cache holds: a builder's downloads, unless a kind is named.

        What is mounted stays, whatever is asked: `airgap unmount` and `airgap gc` remove that.

        \b
        Examples:
          airgap cache clear --keep-days 30
          airgap cache clear hf --dry-run
          airgap cache clear all --yes
        """
        console.configure(as_json=json)
        requests = self._requests(kind, root, keep_days)
        going = [one for side, asked in requests for one in side.clear(asked, dry_run=True)]
        _print(going)
        for sentence in (one for side, _asked in requests for one in side.staying(root)):
            console.say(sentence)
        if going and not dry_run:
            if not yes:
                typer.confirm("Remove them?", abort=True, err=True)
            going = [one for side, asked in requests for one in side.clear(asked, dry_run=False)]
        files, size = sum(one.files for one in going), sum(one.size for one in going)
        done = "would be removed, which would free" if dry_run else "removed, which freed"
        console.data(f"{files} files {done} {human_size(size)}")
        console.document(
            "airgap/cache-clear/v1",
            {
                "dry_run": dry_run,
                "files": files,
                "size": size,
                "holdings": [asdict(one) for one in going],
            },
        )

    def key(
        self,
        name: Annotated[
            str | None,
            typer.Argument(
                metavar="[PROFILE|BUNDLE]",
                help="A profile with its lock, or the name of a mounted bundle, which need not be "
                "given where one alone is mounted.",
                show_default=False,
            ),
        ] = None,
        root: options.Root = None,
        json: options.Json = False,
    ) -> None:
        """Print a key for a CI's cache: another one when, and only when, model files changed.

        Where a bundle was built and where it is mounted, the key is the same.

        \b
        Examples:
          airgap cache key demo
        """
        console.configure(as_json=json)
        from airgap.errors import UsageError

        found = next((one for side in self.sides if (one := side.key(name, root))), None)
        if found is None:
            wanted = f"'{name}'" if name else "nothing"
            raise UsageError(
                f"expected a profile or the name of a mounted bundle, found {wanted}",
                hint="airgap list, which shows what is mounted",
            )
        console.data(found)
        console.document("airgap/cache-key/v1", {"key": found})

    def _requests(
        self, kind: str, root: Path | None, keep_days: int | None
    ) -> list[tuple[Side, Request]]:
        """What each side is asked for. Raises UsageError for what no side has."""
        from airgap.caches import Request
        from airgap.errors import UsageError

        known = [one for side in self.sides for one in side.kinds]
        if kind not in {*known, EVERYTHING}:
            raise UsageError(
                f"expected a kind of cache that this machine has, found '{kind}'",
                hint=f"airgap cache clear {'|'.join([*known, EVERYTHING])}",
            )
        if keep_days is not None and kind != DOWNLOADS:
            raise UsageError(
                f"--keep-days is for {DOWNLOADS}: of other caches nobody notes when they were used",
                hint=f"airgap cache clear {kind} --dry-run",
            )
        return [
            (side, Request(asked, root, keep_days))
            for side in self.sides
            if (asked := tuple(one for one in side.kinds if kind in {one, EVERYTHING}))
        ]


def _print(found: list[Holding]) -> None:
    """One row for each, and the sum where there are several."""
    rows = [
        (one.kind, one.name, str(one.files), human_size(one.size), one.state, one.place)
        for one in found
    ]
    if len(rows) > 1:
        files, size = sum(one.files for one in found), sum(one.size for one in found)
        rows.append(("total", "", str(files), human_size(size), "", ""))
    if rows:
        console.table(("KIND", "MODEL", "FILES", "SIZE", "STATE", "PLACE"), rows)
    else:
        console.say("there is nothing")
