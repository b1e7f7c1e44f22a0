"""`airgap build --base`: what travels, what is refused, and that the real tar makes the whole."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airgap import cli, frames
from airgap.errors import UsageError
from airgap.manifest import Manifest
from airgap.statement import Base
from bundler.build import Built, build
from bundler.claims import read_manifest
from bundler.lock import Lock, lock_path
from bundler.profile import Profile
from bundler.sources import Access

WEIGHTS = hashlib.shake_256(b"noise").hexdigest(36_000).encode()
OLD = {"config.json": b'{"a": 1}', "weights.txt": WEIGHTS, "vocabulary.txt": b"a\nb\n"}
NEW = {"config.json": b'{"a": 2}', "weights.txt": WEIGHTS, "it's new.txt": b"new\n"}
LATER = "b" * 40

Make = Callable[..., Built]


@pytest.fixture
def make(tmp_path: Path, access: Access, ward: Profile, ward_lock: Callable[..., Lock]) -> Make:
    """Build a bundle of `ward`, without loading its model, which is none."""

    def make(
        files: dict[str, bytes],
        number: int,
        base: Manifest | None = None,
        out: str = "out",
        **changes: Any,
    ) -> Built:
        lock = ward_lock(files, number, **changes)
        return build(ward, lock, access, tmp_path / out, {}, skip_dry_load=["asr"], base=base)

    return make


@pytest.fixture
def base(make: Make) -> Built:
    return make(OLD, 1)


def paths(built: Built, *, carried: bool) -> set[str]:
    files = built.manifest.carried if carried else built.manifest.left_to_base
    return {file.path.rpartition("/")[2] for file in files}


def test_only_new_content_travels(make: Make, base: Built) -> None:
    delta = make(NEW, 2, base.manifest)
    assert paths(delta, carried=False) == {"weights.txt", "main"}
    papers = {"README.txt", "REVIEW.html", "SHA256SUMS", "sbom.cdx.json", "scan.json"}
    assert paths(delta, carried=True) == {"config.json", "it's new.txt", *papers}
    digest = frames.digest(base.manifest.to_bytes(), "sha256").hex()
    assert delta.manifest.base == Base("ward", "1.1.0", digest)
    assert delta.statement.base == delta.manifest.base
    assert digest == base.statement.subjects["manifest.json"]
    assert delta.path.name == "ward-1.2.0.tar.zst"
    full = make(NEW, 2, out="full")
    assert [file.path for file in full.manifest.files] == [f.path for f in delta.manifest.files]
    assert delta.size < full.size


def test_a_file_that_a_new_commit_moved_stays(make: Make, base: Built) -> None:
    delta = make(NEW, 2, base.manifest, commit=LATER)
    (left,) = delta.manifest.left_to_base
    assert left.path == f"hf/hub/models--o--m/snapshots/{LATER}/weights.txt"


@pytest.mark.parametrize("changes", [{}, {"commit": LATER}], ids=["in place", "moved"])
def test_the_real_tar_makes_the_whole_over_the_base(
    make: Make, base: Built, changes: dict[str, str], tmp_path: Path
) -> None:
    """As README.txt says, and SHA256SUMS then finds every file of a full build."""
    delta = make(NEW, 2, base.manifest, **changes)
    tree = tmp_path / "tree"
    tree.mkdir()
    for bundle in (base, delta):
        subprocess.run(["tar", "--zstd", "-xf", bundle.path, "-C", tree], check=True)
    assert (tree / "README.txt").read_text().count("This is a delta") == 1
    copies = [line for line in (tree / "README.txt").read_text().splitlines() if "&& cp " in line]
    assert bool(copies) == bool(changes)
    subprocess.run(["sh", "-e"], input="\n".join(copies).encode(), cwd=tree, check=True)
    subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"], cwd=tree, check=True)
    summed = {line[66:] for line in (tree / "SHA256SUMS").read_text().splitlines()}
    assert summed | {"SHA256SUMS"} == {file.path for file in delta.manifest.files}


def test_a_path_that_a_shell_would_read_is_quoted(make: Make, tmp_path: Path) -> None:
    hostile = "$(touch hurt) 'x'; #.txt"
    base = make({**OLD, hostile: b"moved"}, 1)
    delta = make({**NEW, hostile: b"moved"}, 2, base.manifest, commit=LATER)
    tree = tmp_path / "tree"
    tree.mkdir()
    for bundle in (base, delta):
        subprocess.run(["tar", "--zstd", "-xf", bundle.path, "-C", tree], check=True)
    copies = [line for line in (tree / "README.txt").read_text().splitlines() if "&& cp " in line]
    subprocess.run(["sh", "-e"], input="\n".join(copies).encode(), cwd=tree, check=True)
    assert not list(tree.rglob("hurt"))
    moved = tree / f"hf/hub/models--o--m/snapshots/{LATER}" / hostile
    assert moved.read_bytes() == b"moved"


def test_the_same_input_gives_the_same_bytes(make: Make, base: Built, tmp_path: Path) -> None:
    first = make(NEW, 2, base.manifest).path.read_bytes()
    shutil.rmtree(tmp_path / "out/ward-1.2.0")
    assert make(NEW, 2, read_manifest(base.path)).path.read_bytes() == first


def test_a_base_is_a_bundle_or_the_manifest_beside_it(base: Built) -> None:
    assert read_manifest(base.path) == base.manifest
    assert read_manifest(base.path.parent / "manifest.json") == base.manifest


def test_nothing_new_but_the_papers_is_a_delta_all_the_same(make: Make, base: Built) -> None:
    """A new version may change a licence or an expiry alone."""
    delta = make(OLD, 2, base.manifest)
    assert paths(delta, carried=True) == {
        "README.txt",
        "REVIEW.html",
        "SHA256SUMS",
        "sbom.cdx.json",
        "scan.json",
    }


def test_the_base_is_named_in_the_deltas_own_hash(
    *, base: Built, access: Access, ward: Profile, ward_lock: Callable[..., Lock], tmp_path: Path
) -> None:
    stronger = replace(ward, hash="sha384")
    lock, out = ward_lock(NEW, 2), tmp_path / "out"
    delta = build(stronger, lock, access, out, {}, skip_dry_load=["asr"], base=base.manifest)
    digest = hashlib.sha384(base.manifest.to_bytes()).hexdigest()
    assert delta.statement.base == Base("ward", "1.1.0", digest)


def test_what_is_scanned_is_the_whole(make: Make, base: Built) -> None:
    delta, full = make(NEW, 2, base.manifest), make(NEW, 2, out="full")
    assert delta.manifest.scan == full.manifest.scan
    assert delta.manifest.dry_load == full.manifest.dry_load
    scans = [
        next(f.sha256 for f in one.manifest.files if f.path == "scan.json") for one in (delta, full)
    ]
    assert scans[0] == scans[1]


@pytest.mark.parametrize(
    ("change", "saying", "hint"),
    [
        (
            {"sequence": 2},
            "must be newer than its base 'ward-1.1.0' with sequence 2",
            "airgap lock",
        ),
        ({"version": "1.2.0"}, "must be newer than its base 'ward-1.2.0'", "airgap lock"),
        ({"name": "other"}, "expected a base of the name 'ward', found 'other-1.1.0'", "--base"),
        (
            {"base": Base("ward", "1.0.0", "0" * 64)},
            "the base 'ward-1.1.0' is itself a delta, of 'ward-1.0.0'",
            "manifest.json of 'ward-1.0.0'",
        ),
        ({"files": ()}, "has no file of 'ward-1.2.0': a delta would leave nothing out", "without"),
    ],
)
def test_a_base_that_cannot_be_one(
    *, make: Make, base: Built, tmp_path: Path, change: dict[str, Any], saying: str, hint: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    wrong = replace(base.manifest, **change)
    with pytest.raises(UsageError) as caught:
        make(NEW, 2, wrong)
    assert saying in caught.value.message
    assert hint in str(caught.value.hint)
    assert caught.value.exit_code == 2
    made = [path for path in sorted(tmp_path.rglob("*")) if path not in before]
    assert {path.relative_to(tmp_path).parts[0] for path in made} == {"model-2"}


# --- the verb -----------------------------------------------------------------------------------


@pytest.fixture
def locked(
    *, tmp_path: Path, ward_lock: Callable[..., Lock], kit: Any, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A profile with its lock, on the disk."""
    path = tmp_path / "ward.yaml"
    path.write_text(kit.WARD)
    lock_path(path).write_bytes(ward_lock(NEW, 2).to_bytes())
    monkeypatch.chdir(tmp_path)
    return path


@pytest.mark.parametrize("as_manifest", [True, False])
def test_the_verb(
    locked: Path, base: Built, as_manifest: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    given = base.path.parent / "manifest.json" if as_manifest else base.path
    words = ["build", "./ward.yaml", "--skip-dry-load", "asr", "--base", str(given)]
    assert cli.run(words) == 0
    said = capsys.readouterr()
    assert "delta          leaves 2 files (72.0 kB) to ward-1.1.0" in said.out
    assert f"ward-1.1.0: read from '{given}', not verified" in said.err
    assert read_manifest(Path("ward-1.2.0/ward-1.2.0.tar.zst")).base


@pytest.mark.parametrize(
    ("content", "code", "saying"),
    [
        (None, 1, "cannot open"),
        (b"", 3, "manifest.json is not one that this version reads"),
        (b'{"format": 1}', 3, "manifest.json is not one that this version reads"),
        (b"\x50\x2a\x4d\x18", 3, "is no airgap bundle"),
    ],
)
def test_a_base_that_is_none(
    *,
    locked: Path,
    tmp_path: Path,
    content: bytes | None,
    code: int,
    saying: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = tmp_path / "given"
    if content is not None:
        given.write_bytes(content)
    before = sorted(tmp_path.rglob("*"))
    words = ["build", "./ward.yaml", "--skip-dry-load", "asr", "--base", str(given)]
    assert cli.run(words) == code
    assert saying in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
    assert not os.path.lexists(tmp_path / "ward-1.2.0")
