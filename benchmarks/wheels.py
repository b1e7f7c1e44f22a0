"""What the wheels of a lock unpack to, against their size: what `airgap plan` reckons with.

    python benchmarks/wheels.py PROFILE ...

Reads the directory of each wheel at the package index, and nothing else of it. Counted are whole
blocks of 4096 bytes, and each module of Python twice: pip compiles it.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from concurrent.futures import ThreadPoolExecutor

from pypi_simple import PyPISimple

from bundler.lock import read_lock
from bundler.profile import read_profile
from bundler.sources import Access
from bundler.sources.environment import access_for
from bundler.sources.ranged import RangedFile
from bundler.wheelhouse.installed import LARGE, estimate
from bundler.wheelhouse.locked import LockedRuntime
from bundler.wheelhouse.names import project_of

BLOCK = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profiles", nargs="+", metavar="PROFILE")
    print("| profile | wheels | size | installed | ratio | reckoned |")
    print("|---|---|---|---|---|---|")
    for name in parser.parse_args().profiles:
        path, profile = read_profile(name)
        runtime = read_lock(path, profile).runtime
        if runtime is None:
            raise SystemExit(f"'{name}' has no runtime")
        measured = measure(runtime, access_for(path))
        below = f"{LARGE // 1_000_000} MB"
        for label, sizes in (
            (f"{name}, below {below}", [one for one in measured if one[0] < LARGE]),
            (f"{name}, of {below} and more", [one for one in measured if one[0] >= LARGE]),
            (f"{name}, all", measured),
        ):
            print(row(label, sizes))


def measure(runtime: LockedRuntime, access: Access) -> list[tuple[int, int]]:
    """Size, and bytes installed, of each published wheel of the first target."""
    published = {file.path for one in runtime.releases if not one.recipe for file in one.files}
    wheels = [wheel for wheel in runtime.targets[0].wheels if wheel in published]
    with PyPISimple(access.index.url) as client, ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda wheel: opened(client, wheel, access), wheels))


def opened(client: PyPISimple, wheel: str, access: Access) -> tuple[int, int]:
    packages = client.get_project_page(project_of(wheel)).packages
    url = next(one.url for one in packages if one.filename == wheel)
    with RangedFile(access.web, url) as ranged:
        size = ranged.size
        with zipfile.ZipFile(io.BufferedReader(ranged)) as archive:
            listed = archive.infolist()
    return size, sum(blocks(one.file_size) * (1 + one.filename.endswith(".py")) for one in listed)


def blocks(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def row(label: str, measured: list[tuple[int, int]]) -> str:
    size, installed = (
        (sum(values) for values in zip(*measured, strict=True)) if measured else (0, 0)
    )
    return (
        f"| {label} | {len(measured)} | {size / 1e6:.0f} MB | {installed / 1e6:.0f} MB "
        f"| {installed / size if size else 0:.2f} "
        f"| {estimate([one for one, _ in measured]) / 1e6:.0f} MB |"
    )


if __name__ == "__main__":
    main()
