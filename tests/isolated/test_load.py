"""`airgap load`: an image reaches an engine byte for byte, or nothing of it passes for whole."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airgap.manifest import Artifact
from runtime import generation, loading

IMAGE = random.Random(2).randbytes(3_500_000)  # noqa: S311 - no secret
PATH = "images/server/server.tar"
SERVER = Artifact("server", "image", None, "images/server", None, None, "MIT", gated=False)
DIGEST = hashlib.sha256(IMAGE).hexdigest()


@pytest.fixture
def shipped(
    host: Any, write: Callable[..., Path], contents: Mapping[str, bytes], manifest_of: Any
) -> Any:
    """A host with a bundle that carries an image."""
    given = {**contents, PATH: IMAGE}
    manifest = manifest_of(given)
    said = host.airgap(
        "mount",
        write(
            contents=given,
            artifacts=(*manifest.artifacts, SERVER),
            files=tuple(
                replace(one, artifact="server") if one.path == PATH else one
                for one in manifest.files
            ),
        ),
    )
    assert said.code == 0, said.err
    return host


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Installs a program in an engine's place, alone on the PATH; it writes beside itself."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))

    def install(name: str, script: str = "/bin/cat > $0.got; echo $* > $0.asked") -> Path:
        program = programs / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return program

    return install


def blob(host: Any) -> Path:
    """The image in the store; writable, as for whoever owns it."""
    found: Path = host.root / "store/sha256" / DIGEST[:2] / DIGEST
    found.chmod(0o644)
    return found


def events(host: Any) -> list[Any]:
    lines = (host.root / "audit/log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("name", "program", "asked"),
    [
        ("docker", "docker", "load"),
        ("podman", "podman", "load"),
        ("containerd", "ctr", "images import -"),
    ],
)
def test_an_engine_is_given_the_image(
    shipped: Any, engine: Callable[..., Path], name: str, program: str, asked: str
) -> None:
    installed = engine(program)
    for given in ((), ("server", "--to", name, "--bundle", "ward")):
        said = shipped.airgap("load", *given)
        assert said.code == 0, said.err
        assert f"server of ward-1.0.0: verified, and handed to {name}\n" in said.out
        assert f"sha256         {DIGEST}" in said.out
        assert Path(f"{installed}.got").read_bytes() == IMAGE
        assert Path(f"{installed}.asked").read_text() == f"{asked}\n"
    recorded = events(shipped)[-1]
    assert recorded["event"] == "load"
    assert recorded["facts"]["sha256"] == DIGEST
    assert recorded["facts"]["to"] == name


def test_a_file_is_written_whole_and_never_over_another(shipped: Any, tmp_path: Path) -> None:
    out = tmp_path / "server.tar"
    said = shipped.airgap("load", "--to", out, "--json")
    assert said.code == 0, said.err
    assert out.read_bytes() == IMAGE
    assert (said.document["image"], said.document["to"]) == ("server", str(out))
    said = shipped.airgap("load", "--to", out)
    assert said.code == 2
    assert "is there already" in said.err


@pytest.mark.parametrize("change", ["flipped", "longer", "shorter"])
def test_a_damaged_image_reaches_nobody(
    shipped: Any, engine: Callable[..., Path], tmp_path: Path, change: str
) -> None:
    installed, stored = engine("docker"), blob(shipped)
    flipped = IMAGE[:-1] + bytes([IMAGE[-1] ^ 1])
    stored.write_bytes({"flipped": flipped, "longer": IMAGE + b"x"}.get(change, IMAGE[:-1]))
    for to in ((), ("--to", tmp_path / "server.tar")):
        said = shipped.airgap("load", *to)
        assert said.code == 3
        assert "is not what was signed" in said.err
    assert not Path(f"{installed}.got").exists()  # it was never started
    assert not (tmp_path / "server.tar").exists()
    assert events(shipped)[-1]["event"] == "refusal"


def test_a_byte_that_changes_after_the_check_is_not_handed_on(
    shipped: Any, engine: Callable[..., Path]
) -> None:
    """The store is changed once the engine runs: that is killed before it sees an end."""
    stored = blob(shipped)
    installed = engine(
        "docker",
        f"/bin/dd if=/dev/zero of={stored} bs=1 seek=3400000 count=9 conv=notrunc 2>/dev/null\n"
        "/bin/cat > $0.got; echo whole > $0.end",
    )
    said = shipped.airgap("load")
    assert said.code == 3
    assert "changed while it was read" in said.err
    got = Path(f"{installed}.got")
    assert not got.exists() or IMAGE.startswith(got.read_bytes())
    assert not Path(f"{installed}.end").exists()
    assert [one["event"] for one in events(shipped)][-1] == "refusal"


def test_an_engine_that_fails_is_told_with_its_own_words(
    shipped: Any, engine: Callable[..., Path]
) -> None:
    engine("docker", "echo 'Cannot connect to the daemon \x1b[31m' >&2; exit 125")
    said = shipped.airgap("load")
    assert said.code == 1
    assert "`docker load` failed with exit code 125: Cannot connect to the daemon" in said.err
    assert "\x1b" not in said.err
    assert "load" not in [one["event"] for one in events(shipped)]


def test_an_engine_may_stop_reading_before_the_end(
    shipped: Any, engine: Callable[..., Path]
) -> None:
    """What follows an archive's end is nobody's business: its exit code decides."""
    engine("podman", "/bin/head -c 10 >/dev/null; echo Loaded image: server")
    said = shipped.airgap("load")
    assert said.code == 0, said.err
    assert "Loaded image: server" in said.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 1, "no container engine is on this user's PATH"),
        (("--to", "docker"), 1, "'docker' is not on this user's PATH"),
        (("--to", "rkt"), 2, "--to 'rkt': expected docker, podman, containerd, or a file"),
        (
            ("other", "--to", "x.tar"),
            2,
            "expected the image 'other' in 'ward-1.0.0'",
        ),
        (("--to", "x.tar", "--bundle", "no"), 2, "expected 'no' mounted"),
        (("--to", "/nowhere/x.tar"), 1, "cannot write '/nowhere/x.tar'"),
    ],
)
@pytest.mark.usefixtures("engine")
def test_what_cannot_be_done_says_what_to_do(
    shipped: Any, tmp_path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    arguments = tuple(str(tmp_path / one) if one == "x.tar" else one for one in arguments)
    said = shipped.airgap("load", *arguments)
    assert said.code == code
    assert says in said.err
    assert "next: " in said.err or code == 1
    assert not (tmp_path / "x.tar").exists()


def test_two_engines_are_a_question(shipped: Any, engine: Callable[..., Path]) -> None:
    both = [engine("docker"), engine("ctr")]
    said = shipped.airgap("load")
    assert said.code == 2
    assert "this host has docker and containerd" in said.err
    assert "next: airgap load --to docker" in said.err
    assert not any(Path(f"{one}.got").exists() for one in both)


def test_a_bundle_without_an_image(mounted: Any, engine: Callable[..., Path]) -> None:
    engine("docker")
    said = mounted.airgap("load")
    assert said.code == 2
    assert "expected one image in 'ward-1.0.0', found: none" in said.err


def test_a_log_that_cannot_be_written_is_said(shipped: Any, engine: Callable[..., Path]) -> None:
    engine("docker")
    (shipped.root / "audit/log.jsonl").write_text("broken\n")
    said = shipped.airgap("load")
    assert said.code in {1, 3}
    assert "'server' was handed to docker; but that is not in the audit log" in said.err


def test_pieces_are_the_file(shipped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with generation.current(shipped.root, None) as one:
        (file,) = one.manifest.files_of(SERVER)
        for size in (1, 1000, len(IMAGE), len(IMAGE) + 1):
            monkeypatch.setattr(loading, "_PIECE", max(size, 1000))
            told: list[int] = []
            with loading.matched_pieces(one, file, told.append) as pieces:
                assert sum(told) == len(IMAGE)  # all of it was compared before the first piece
                assert b"".join(pieces) == IMAGE
