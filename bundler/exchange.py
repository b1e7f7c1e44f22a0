"""Files of one download cache into another: to a machine that reaches no source, and back.

A folder that was exported is a download cache itself: the same layout, checked in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from airgap.console import Advance, console
from airgap.digest import CHUNK
from airgap.errors import AirgapError
from airgap.sink import OwnSideError, Sink
from bundler.download_cache import DownloadCache, Fill


@dataclass(frozen=True)
class Exchanged:
    """What was copied; what was there already is not counted."""

    files: int
    bytes: int


def copy_files(source: DownloadCache, target: DownloadCache, digests: Iterable[str]) -> Exchanged:
    """Have these files of `source` in `target` too, each checked on the way.

    A file that is not what its name says does not stop the others.

    Raises:
        AirgapError: some files are other bytes than their names say; the others were copied.
        OwnSideError: the target cannot be written, or has no room.
    """
    wanted = [sha256 for sha256 in sorted(set(digests)) if source.path(sha256).is_file()]
    sizes = {sha256: source.path(sha256).stat().st_size for sha256 in wanted}
    missing = {one: size for one, size in sizes.items() if not target.holds(one, size)}
    target.check_room(missing)
    rotten = []
    with console.progress("copy", sum(missing.values())) as progress:
        for number, (sha256, size) in enumerate(missing.items()):
            progress.note(f"{number}/{len(missing)} files, {sha256[:12]}")
            try:
                _copy(source, target, sha256, size, progress.advance)
            except OwnSideError:
                raise
            except AirgapError as error:
                rotten.append(f"  '{source.path(sha256)}': {error.message}")
    if rotten:
        raise AirgapError(
            f"{len(rotten)} of {len(missing)} files are not what their names say, and were not "
            "copied:\n" + "\n".join(rotten),
            hint="copy them again from where they came, or fetch them",
        )
    return Exchanged(len(missing), sum(missing.values()))


def _copy(
    source: DownloadCache, target: DownloadCache, sha256: str, size: int, advance: Advance
) -> None:
    target.keep(sha256, size, size, advance, _read_from(source, sha256))


def _read_from(source: DownloadCache, sha256: str) -> Fill:
    def fill(sink: Sink) -> None:
        try:
            with source.path(sha256).open("rb") as stream:
                stream.seek(sink.position)
                while chunk := stream.read(CHUNK):
                    sink.write(chunk)
        except OSError as error:
            raise AirgapError(f"cannot be read: {error.strerror}") from error

    return fill
