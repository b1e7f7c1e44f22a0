"""airgap's speed against named tools: pack, verify, mount, and `airgap --help`.

    python benchmarks/run.py [--size GB] [--dir FOLDER] [--runs N]

Every contender is a process of its own; all of them take turns, and the fastest run of each
counts. Everything lies in the page cache, for both sides. docs/benchmarks.md explains the rows.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import machine
from measure import Contender, interleaved, output_of, timed
from place import AIRGAP, HERE, Site, prepared

SMALL, HUGE = 0.4, 8.0
"""GB: how large the other bundles are whose verification shows how memory grows, or does not."""

ROOM = 8
"""Times the input's size that a place needs: tree, two archives, and what two runs write."""


def main() -> None:
    """Prepare, run, print."""
    options = _options()
    print(*machine.described(options.dir), sep="\n")
    with prepared(options.dir, options.size) as site:
        print(_sizes(site))
        _compare(site, f"on {machine.filesystem(site.folder)}", options.runs)
        _frames_alone(site, options.runs)
        _by_size(site, options.dir)
    _compare_in_memory(options.size, options.runs)
    _help(site)


def _sizes(site: Site) -> str:
    """What was made of the input: a compressor that does less is faster."""
    whole = site.tree_size
    ours, theirs = (path.stat().st_size / whole for path in (site.bundle, site.plain))
    return f"input {whole / 1e9:.2f} GB; bundle {ours:.1%} of it, tar | zstd -3 {theirs:.1%}"


def _compare(site: Site, where: str, runs: int) -> None:
    """Pack, verify and mount, each against the plain tools."""
    for title, (theirs, ours) in (
        ("pack", _packers(site)),
        ("verify", _verifiers(site)),
        ("mount", _mounters(site)),
    ):
        interleaved([*theirs, *ours], runs)
        _print_table(f"{title} {where}", theirs, ours)


def _packers(site: Site) -> tuple[list[Contender], list[Contender]]:
    packed, size = site.out / "packed", site.tree_size
    shell = f"tar -C {site.tree} -cf - . | zstd -q -T0 -3 -o {packed}"
    alone = (sys.executable, HERE / "inside.py", "pack", site.profile, packed)
    return [
        site.contender("tar | zstd -T0 -3", shell, size),
        site.contender("the same, then sync", f"{shell} && sync {packed}", size),
    ], [
        site.contender("airgap build, packing alone, synced", alone, size),
    ]


def _verifiers(site: Site) -> tuple[list[Contender], list[Contender]]:
    size = site.bundle.stat().st_size
    sums = site.folder / "bundle.sha256"
    sums.write_text(output_of("sha256sum", site.bundle))
    verify = (AIRGAP, "verify", site.bundle, "--quiet")
    return [
        site.contender("sha256sum -c", ("sha256sum", "--quiet", "-c", sums), size),
    ], [
        site.contender("airgap verify", verify, size),
        site.contender("airgap verify --deep", (*verify, "--deep"), size),
    ]


def _mounters(site: Site) -> tuple[list[Contender], list[Contender]]:
    size = site.tree_size
    unpack = f"zstd -q -dc {site.plain} | tar -C {site.out} -xf -"
    shell = f"{unpack} && cd {site.out} && sha256sum --quiet -c {site.sums}"
    mount = (AIRGAP, "mount", site.bundle, "--quiet")
    return [
        site.contender("zstd -dc | tar x, sha256sum -c", shell, size),
        site.contender("the same, then sync", f"{shell} && sync -f .", size),
    ], [
        site.contender("airgap mount, synced", mount, size),
    ]


def _print_table(title: str, theirs: Sequence[Contender], ours: Sequence[Contender]) -> None:
    """A row a contender; ours with how many times as fast it is as each of theirs."""
    print(
        f"\n{title:<40}{'best':>8}{'median':>9}{'MB/s':>7}{'CPU':>8}{'peak MB':>9}  times as fast"
    )
    for one in (*theirs, *ours):
        ratios = [f"{one.times(other):.2f}" for other in theirs] if one in ours else []
        print(
            f"  {one.name:<38}{one.best:>6.2f} s{one.median:>7.2f} s{one.rate:>7.0f}"
            f"{min(one.work):>6.2f} s{one.peak / 1e6:>9.0f}  {', '.join(ratios)}".rstrip()
        )


def _frames_alone(site: Site, runs: int) -> None:
    """Checking frames against one thread of hashlib, without the start of Python on either side."""
    size = site.bundle.stat().st_size
    taken = [
        [float(site.inside(step, site.bundle)) for step in ("hash", "frames")] for _ in range(runs)
    ]
    hashing, checking = (size / min(column) / 1e6 for column in zip(*taken, strict=True))
    print(
        f"\nframes alone, without Python's start: {checking:.0f} MB/s; hashlib over the same file, "
        f"one thread: {hashing:.0f} MB/s; {checking / hashing / machine.cores():.2f} of it a core"
    )


def _by_size(site: Site, parent: Path) -> None:
    """Verify on three sizes: what its start weighs, and its peak; the largest bundle is holes."""
    holes = site.folder / "holes.tar.zst"
    site.inside("sparse", holes, str(int(HUGE * 1e9)), site.folder / "keys" / "bench")
    print("\nairgap verify by size                airgap  sha256sum -c    peak  times as fast")
    with prepared(parent, SMALL) as small:
        for owner, bundle in ((small, small.bundle), (site, site.bundle), (site, holes)):
            (sums := site.folder / "one.sha256").write_text(output_of("sha256sum", bundle))
            ours = timed((AIRGAP, "verify", bundle, "--quiet"), owner.environment)
            theirs = timed(("sha256sum", "--quiet", "-c", sums), owner.environment)
            print(
                f"  {bundle.stat().st_size / 1e9:>6.2f} GB{ours.seconds:>31.2f} s"
                f"{theirs.seconds:>12.2f} s{ours.peak / 1e6:>5.0f} MB"
                f"{theirs.seconds / ours.seconds:>15.2f}"
            )


def _compare_in_memory(gigabytes: float, runs: int) -> None:
    """The same without a disk, where there is memory enough for it."""
    memory = Path("/dev/shm")  # noqa: S108 - the one place that is a tmpfs everywhere
    if not memory.is_dir() or shutil.disk_usage(memory).free < ROOM * gigabytes * 1e9:
        print("\nnot run on tmpfs: /dev/shm is too small")
        return
    with prepared(memory, gigabytes) as site:
        _compare(site, "on tmpfs", runs)


def _help(site: Site) -> None:
    """How long the command takes to say what it can do, and whose code it loads for that."""
    taken = [timed((AIRGAP, "--help"), site.environment).seconds for _ in range(9)]
    listed = output_of(
        sys.executable, "-c",
        "import sys; from airgap.cli import run; run(['--help']); print('\\0', *sys.modules)",
    ).partition("\0")[2].split()  # fmt: skip
    own = sys.stdlib_module_names
    loaded = {name.partition(".")[0] for name in listed} - own
    packages = sorted(name for name in loaded if re.fullmatch(r"[a-z]\w*", name))
    print(
        f"\nairgap --help: {statistics.median(taken) * 1e3:.0f} ms, the median of 9; "
        f"{len(listed)} modules, beside Python's own of: {', '.join(packages)}"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="airgap's speed against named tools")
    parser.add_argument("--size", type=float, default=1.5, metavar="GB", help="of input (1.5)")
    parser.add_argument(
        "--dir", type=Path, default=Path(tempfile.gettempdir()), metavar="FOLDER",
        help=f"on the disk to measure; needs {ROOM} times the size",
    )  # fmt: skip
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="of each contender (5)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
