"""`airgap paperwork`: what needs no private key is made anew, the rest is kept or named."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airgap import papers, signed_papers, signing
from airgap.errors import AirgapError, DamagedError
from airgap.keys import load_public_keys
from airgap.manifest import Manifest
from bundler.build import build
from bundler.lock import Lock, LockedFile, LockedModel
from bundler.paperwork import check, remake
from bundler.profile import Profile
from bundler.sources import Access
from bundler.sources.local import Local


@pytest.fixture
def signed(tmp_path: Path, access: Access, kit: Any) -> Callable[[str], Path]:
    """Builds a small bundle into a folder, signed by alice; the same bytes every time."""
    private = [signing.generate(algorithm) for algorithm in ("ed25519", "ecdsa-p384")]
    signing.save(tmp_path / "keys", "alice", private, None)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_bytes(b"{}")

    def built(folder: str) -> Path:
        profile = Profile.parse(kit.PROFILE.encode(), "p.yaml")
        file = LockedFile("config.json", 2, kit.sha256(b"{}"))
        model = LockedModel(
            *("o--m", "asr", "faster-whisper", "o/m", kit.COMMIT, "MIT", False),
            (Local("model"),),
            (file,),
        )
        lock = Lock("n", "1.0.0", 1, "2026-01-02T03:04:05Z", profile.sha256, (model,))
        signers = {"alice": private}
        out = tmp_path / folder
        return build(profile, lock, access, out, signers, skip_dry_load=("asr",)).path

    return built


def contents(folder: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def alices(tmp_path: Path) -> list[Any]:
    return [
        key
        for path in sorted((tmp_path / "keys").glob("*.pub"))
        for key in load_public_keys(path.read_bytes(), str(path))
    ]


def names(tmp_path: Path) -> dict[str, str]:
    return {key.key_id: "alice" for key in alices(tmp_path)}


def test_two_builds_have_the_same_papers(signed: Callable[[str], Path]) -> None:
    first, second = signed("a"), signed("b")
    for name in (*papers.COPIES, "statement.json"):
        assert (first.parent / name).read_bytes() == (second.parent / name).read_bytes()


def test_papers_that_were_lost_come_back_byte_for_byte(
    signed: Callable[[str], Path], tmp_path: Path
) -> None:
    bundle = signed("a")
    before = contents(bundle.parent)
    by_keys = {"manifest.json.minisig", "model.sig"}
    assert len(before) == 1 + 3 + 3 + 2 + len(by_keys)
    for name in before.keys() - by_keys - {bundle.name}:
        (bundle.parent / name).unlink()
    remade = remake(bundle, alices(tmp_path), names(tmp_path))
    assert contents(bundle.parent) == before
    assert set(remade.made) == before.keys() - by_keys - {bundle.name}
    assert remade.kept == tuple(sorted(by_keys))
    assert remade.unchecked == remade.wrong == ()


def test_papers_that_were_altered_are_put_right(
    signed: Callable[[str], Path], tmp_path: Path
) -> None:
    bundle = signed("a")
    before = contents(bundle.parent)
    for name in (*papers.COPIES, "statement.json"):
        (bundle.parent / name).write_text("another")
    remake(bundle, alices(tmp_path), {})
    assert contents(bundle.parent) == before


def test_names_that_an_older_paper_gives_are_kept(
    signed: Callable[[str], Path], tmp_path: Path
) -> None:
    bundle = signed("a")
    remake(bundle, (), {})
    assert "  alice  " in (bundle.parent / "SIGNERS.txt").read_text()


def test_signatures_of_unknown_keys_stay_and_are_named(
    signed: Callable[[str], Path], tmp_path: Path
) -> None:
    bundle = signed("a")
    before = contents(bundle.parent)
    remade = remake(bundle, (), names(tmp_path))
    assert remade.unchecked == ("manifest.json.minisig", "model.sig")
    assert remade.kept == ()
    check(remade, bundle)
    assert contents(bundle.parent) == before


@pytest.mark.parametrize("name", ["manifest.json.minisig", "model.sig"])
@pytest.mark.parametrize("what", ["a byte", "rubbish", "another bundle's"])
def test_a_signature_file_that_does_not_check_is_named(
    signed: Callable[[str], Path], tmp_path: Path, name: str, what: str
) -> None:
    bundle = signed("a")
    path = bundle.parent / name
    before = path.read_bytes()
    match what:
        case "a byte":
            at = before.rindex(b"A") if b"A" in before else -2
            path.write_bytes(before[:at] + b"B" + before[at + 1 :])
        case "rubbish":
            path.write_bytes(b"\xff\x00")
        case _:
            path.write_bytes(_of_another(bundle, tmp_path, name))
    assert path.read_bytes() != before
    left = path.read_bytes()
    remade = remake(bundle, alices(tmp_path), {})
    assert remade.wrong == (name,)
    with pytest.raises(AirgapError, match=f"do not check .*: {name}") as caught:
        check(remade, bundle)
    assert caught.value.exit_code == 1
    assert "airgap sign" in str(caught.value.hint)
    assert path.read_bytes() == left


def _of_another(bundle: Path, tmp_path: Path, name: str) -> bytes:
    """The same signer's file over another manifest."""
    private = [signing.load(path, None) for path in sorted((tmp_path / "keys").glob("*.key"))]
    manifest = Manifest.parse((bundle.parent / "manifest.json").read_bytes())
    other = replace(manifest, sequence=2)
    statement = (bundle.parent / "statement.json").read_bytes()
    made = signed_papers.make(tmp_path, statement, other, private)
    return made[name]


def test_a_damaged_bundle_gets_no_papers(signed: Callable[[str], Path], tmp_path: Path) -> None:
    bundle = signed("a")
    alone = tmp_path / "alone" / bundle.name
    alone.parent.mkdir()
    content = bytearray(bundle.read_bytes())
    content[-1] ^= 1
    alone.write_bytes(content)
    with pytest.raises(DamagedError, match="is not what was signed") as caught:
        remake(alone, alices(tmp_path), {})
    assert caught.value.exit_code == 3
    assert list(contents(alone.parent)) == [bundle.name]


@pytest.mark.heavy
def test_a_write_protected_medium_is_told_by_its_folder(
    signed: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not by a temporary name that nobody knows."""
    bundle = signed("a")
    before = contents(bundle.parent)

    def read_only(**_how: Any) -> str:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), ".kit.1234")

    monkeypatch.setattr(tempfile, "mkdtemp", read_only)
    with pytest.raises(AirgapError) as caught:
        remake(bundle, (), {})
    assert caught.value.message == f"cannot write in '{bundle.parent}': Read-only file system"
    assert str(caught.value.hint).startswith("copy the bundle's folder to where it can be written")
    assert contents(bundle.parent) == before


def test_the_command(demo_site: Any, place: Any) -> None:
    folder = place.folder / "copy"
    shutil.copytree(demo_site.bundle.parent, folder)
    bundle = folder / demo_site.bundle.name
    before = contents(folder)
    (folder / "REVIEW.html").unlink()
    (folder / "SIGNERS.txt").unlink()
    public = sorted(demo_site.place.keys.glob("alice.*.pub"))
    asked = [word for path in public for word in ("--public-key", path)]
    said = place.airgap("paperwork", bundle, *asked, "--json")
    assert said.code == 0, said.err
    assert said.document["schema"] == "airgap/paperwork/v1"
    assert said.document["kept"] == ["manifest.json.minisig", "model.sig"]
    assert contents(folder) == before
    (folder / "model.sig").write_text("{}")
    said = place.airgap("paperwork", bundle, *asked)
    assert said.code == 1
    assert "model.sig" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    "name", ["$(touch pwned).tar.zst", "a\nb.tar.zst", "-x.tar.zst", "\u2019; calc; \u2019.tar.zst"]
)
def test_a_name_that_a_shell_would_obey_is_not_put_into_commands(
    signed: Callable[[str], Path], name: str
) -> None:
    """An officer copies these lines into a shell; who renamed the file is not to be obeyed."""
    bundle = signed("a")
    bundle = bundle.rename(bundle.with_name(name))
    papers.write(bundle, {}, {})
    text = (bundle.parent / "SIGNERS.txt").read_text()
    assert name not in text
    assert "touch" not in text
    assert "calc" not in text
    assert "| sha256sum" in text
    assert "n-1.0.0.tar.zst -C tree" in text


def test_a_newline_in_a_name_is_no_second_line(signed: Callable[[str], Path]) -> None:
    bundle = signed("a")
    bundle = bundle.rename(bundle.with_name(f"a\n{'0' * 64}  REVIEW.html\\.tar.zst"))
    papers.write(bundle, {}, {})
    checked = subprocess.run(
        ["sha256sum", "-c", "--strict", "SHA256SUMS"],
        cwd=bundle.parent,
        check=True,
        capture_output=True,
        text=True,
    )
    assert checked.stdout.count("OK") == len(contents(bundle.parent)) - 1
