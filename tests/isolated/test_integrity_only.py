"""`verify --integrity-only`: for stations that hold no key; nobody can take it for a verdict."""

from __future__ import annotations

import re

import pytest

from airgap import limits


@pytest.fixture
def station(host, tmp_path, monkeypatch):
    """The command with a root in which there is nothing at all."""
    root = tmp_path / "station"
    monkeypatch.setenv("AIRGAP_ROOT", str(root))

    def airgap(*arguments):
        said = host.airgap(*arguments)
        assert not root.exists()
        return said

    return airgap


@pytest.mark.parametrize("options", [[], ["--deep"], ["--quiet"]])
@pytest.mark.parametrize("form", ["text", "json"])
def test_intact_is_not_authentic(station, bundle, options, form):
    said = station(
        "verify", bundle, "--integrity-only", *options, *(["--json"] if form == "json" else [])
    )
    assert said.code == 4
    assert not re.search("verified", said.out + said.err, re.IGNORECASE)
    assert "NOT AUTHENTICATED: nobody was asked who made this bundle" in said.out
    if form == "json":
        document = said.document
        assert document["schema"] == "airgap/integrity/v1"
        assert (document["authenticated"], document["intact"]) == (False, True)
        assert not {"signers", "approval_code", "policy", "name", "version"} & document.keys()
        return
    assert said.out.splitlines()[0].startswith("ward-1.0.0: intact, NOT AUTHENTICATED")
    assert "signed by" not in said.out
    assert "approval code" not in said.out


@pytest.mark.parametrize("people", ["nobody", "a stranger"])
def test_signatures_are_not_asked(station, write, bob, people):
    bundle = write("other", people=[bob] if people == "a stranger" else [])
    assert station("verify", bundle, "--integrity-only").code == 4


def test_a_pipe_is_read_as_well(bundle, tmp_path):
    import subprocess  # noqa: PLC0415 - the one process of this module
    import sys  # noqa: PLC0415

    with bundle.open("rb") as stream:
        said = subprocess.run(
            [sys.executable, "-m", "airgap", "verify", "-", "--integrity-only"],
            stdin=stream,
            capture_output=True,
            check=False,
            cwd=tmp_path,
        )
    assert said.returncode == 4, said.stderr


@pytest.mark.parametrize("at", [0, 40, limits.HEAD_SLOT + 8, limits.HEAD_SLOT + 60, -1])
@pytest.mark.parametrize("form", ["text", "json"])
def test_damage_is_refused(station, bundle, at, form):
    content = bytearray(bundle.read_bytes())
    content[at] ^= 1
    bundle.write_bytes(content)
    said = station("verify", bundle, "--integrity-only", *(["--json"] if form == "json" else []))
    assert said.code == 3
    assert "next: " in said.err
    assert not re.search(r"intact|\bverified", said.out + said.err, re.IGNORECASE)


@pytest.mark.parametrize("cut", ["shorter", "longer"])
def test_a_byte_less_or_more_is_refused(station, bundle, cut):
    content = bundle.read_bytes()
    bundle.write_bytes(content[:-1] if cut == "shorter" else content + b"\0")
    assert station("verify", bundle, "--integrity-only").code == 3


def test_deep_looks_at_the_files(station, write, contents):
    """Frames fit their table, and a file is another than the manifest says."""
    bad = write("bad", packed={"README.txt": b"x" * len(contents["README.txt"])})
    assert station("verify", bad, "--integrity-only").code == 4
    said = station("verify", bad, "--integrity-only", "--deep")
    assert said.code == 3
    assert "'README.txt' has the SHA-256" in said.err


@pytest.mark.parametrize(
    "option",
    [
        ["--key", "x"],
        ["--receipt", "x"],
        ["--allow-older", "x"],
        ["--clock-wrong", ""],
        ["--explain"],
    ],
)
def test_what_asks_for_more_is_not_taken(station, bundle, option):
    said = station("verify", bundle, "--integrity-only", *option)
    assert said.code == 2
    assert "--integrity-only asks nobody who made the bundle" in said.err


def test_a_host_records_nothing_about_it(host, bundle, snapshot):
    """What authenticates nobody is no event of the host's trust."""
    before = snapshot(host.root), (host.root / "audit" / "log.jsonl").read_bytes()
    assert host.airgap("verify", bundle, "--integrity-only").code == 4
    assert (snapshot(host.root), (host.root / "audit" / "log.jsonl").read_bytes()) == before
