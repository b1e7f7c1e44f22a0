"""What programs see: an exit code for each decision, and one JSON document whatever happens."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import airgap
import runtime

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def damaged(demo_site, tmp_path_factory):
    """The demo with its last byte flipped."""
    path = tmp_path_factory.mktemp("damaged") / "demo-1.0.0.tar.zst"
    shutil.copyfile(demo_site.bundle, path)
    with path.open("r+b") as stream:
        stream.seek(-1, 2)
        byte = stream.read(1)[0]
        stream.seek(-1, 2)
        stream.write(bytes([byte ^ 1]))
    return path


@pytest.mark.parametrize(
    ("code", "verb"),
    [
        (0, ["verify", "BUNDLE"]),
        (1, ["verify", "MISSING"]),
        (2, ["verify", "BUNDLE", "--nope"]),
        (2, ["verify"]),
        (3, ["verify", "DAMAGED"]),
        (3, ["verify", "BUNDLE", "--root", "NOWHERE"]),
        (0, ["mount", "BUNDLE"]),
        (1, ["mount", "MISSING"]),
        (1, ["mount", "FOLDER"]),
        (2, ["mount"]),
        (3, ["mount", "DAMAGED"]),
        (0, ["inspect", "BUNDLE"]),
        (1, ["inspect", "MISSING"]),
        (2, ["inspect", "BUNDLE", "BUNDLE"]),
        (3, ["inspect", "PICTURE"]),
        (0, ["list"]),
        (2, ["list", "extra"]),
        (1, ["sign", "MISSING", "--key", "alice"]),
        (2, ["sign", "BUNDLE"]),
        (2, ["sign", "COPY", "--key", "nobody"]),
        (3, ["sign", "DAMAGED", "--key", "alice"]),
        (1, ["repair", "MISSING"]),
        (3, ["repair", "DAMAGED"]),
        (3, ["repair", "PICTURE"]),
        (1, ["split", "MISSING", "--size", "cd"]),
        (2, ["split", "BUNDLE", "--size", "tiny"]),
        (1, ["carry", "BUNDLE", "MISSING"]),
        (2, ["carry", "BUNDLE"]),
        (2, ["build", "nope"]),
        (2, ["build", "demo", "--key", "nobody"]),
    ],
)
def test_exit_code_and_one_document(*, demo_host, demo_site, damaged, tmp_path, code, verb):
    paths = {
        "BUNDLE": demo_site.bundle,
        "MISSING": tmp_path / "missing.tar.zst",
        "NOWHERE": tmp_path / "nowhere",
        "FOLDER": tmp_path,
        "DAMAGED": damaged,
        "PICTURE": tmp_path / "picture.png",
        "COPY": tmp_path / "copy.tar.zst",
    }
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n" * 20_000)
    if "COPY" in verb:
        shutil.copyfile(demo_site.bundle, tmp_path / "copy.tar.zst")
    given = [str(paths.get(one, one)) for one in verb]
    said = demo_host.airgap(*given, "--json")
    assert said.code == code, said.err
    assert "Traceback" not in said.err
    document = said.document  # exactly one, or this raises
    if code == 0:
        assert document["schema"] == f"airgap/{verb[0]}/v1"
        return
    assert document["schema"] == "airgap/error/v1"
    assert document["exit_code"] == code
    assert document["message"] in said.err.replace("\n", " ") or document["message"] in said.err
    assert bool(document["rule"]) is (code == 3)
    assert not (tmp_path / "nowhere").exists()


def test_a_build_that_cannot_write_fails_with_one(demo_site, tmp_path):
    (tmp_path / "file").write_text("")
    said = demo_site.place.airgap("build", "demo", "--out", tmp_path / "file", "--json")
    assert said.code == 1
    assert said.document["exit_code"] == 1
    assert "Traceback" not in said.err


def test_a_build_that_is_there_already_is_not_overwritten(demo_site):
    before = demo_site.bundle.stat()
    said = demo_site.place.airgap("build", "demo", "--json")
    assert said.code == 2
    assert "a bundle is never overwritten" in said.document["message"]
    assert demo_site.bundle.stat().st_mtime_ns == before.st_mtime_ns


def test_inspect_says_first_that_it_is_no_verification(demo_host, demo_site):
    said = demo_host.airgap("inspect", demo_site.bundle)
    assert said.out.splitlines()[0] == (
        "not verified: this is what the bundle says of itself; `airgap verify` proves it"
    )
    document = demo_host.airgap("inspect", demo_site.bundle, "--json").document
    assert document["verified"] is False
    assert "not verified" in document["caution"]


def test_quiet_leaves_the_data_and_the_errors(demo_host, demo_site, damaged):
    said = demo_host.airgap("verify", demo_site.bundle, "--quiet")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("demo-1.0.0: verified\n")
    assert "error:" in demo_host.airgap("verify", damaged, "--quiet").err


def hints():
    """Every hint of the code base: text that stands behind `hint=`."""
    for package in (airgap, runtime):
        for path in Path(package.__file__).parent.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.keyword) and node.arg == "hint":
                    text = "".join(
                        one.value
                        for one in ast.walk(node.value)
                        if isinstance(one, ast.Constant) and isinstance(one.value, str)
                    )
                    yield path.name, text


def test_no_hint_proposes_a_key_that_lies_beside_a_bundle():
    """First trust rests on paper: who swaps a bundle swaps the key beside it as well."""
    found = list(hints())
    assert len(found) > 30
    for where, text in found:
        if "trust add" in text:
            assert "--fingerprint FPR" in text or "fingerprint from paper" in text, where


def test_refusals_of_strangers_point_to_paper(demo_host, demo_site, tmp_path, fresh_place):
    stranger = fresh_place()
    stranger.keygen("mallory")
    copy = tmp_path / "demo-1.0.0.tar.zst"
    shutil.copyfile(demo_site.bundle, copy)
    for path in stranger.keys.glob("*.pub"):
        shutil.copyfile(path, tmp_path / path.name)
    nobody = fresh_place()
    assert nobody.airgap("trust", "init").code == 0
    said = nobody.airgap("verify", copy)
    assert said.code == 3
    assert "wants 1 signer(s) of none yet" in said.err
    assert "on paper" in said.err
    for path in tmp_path.glob("*.pub"):
        assert path.name not in said.err


def test_documents_are_ascii_and_end_in_a_newline(demo_host):
    said = demo_host.airgap("list", "--json")
    assert said.out.isascii()
    assert said.out.endswith("}\n")
    assert json.loads(said.out)["schema"] == "airgap/list/v1"


def test_an_exit_code_stands_where_nobody_reads_the_document(tmp_path):
    """As in `airgap verify BUNDLE --json | head -0`: a refusal is one all the same."""
    (tmp_path / "other.tar.zst").write_bytes(bytes(100_000))
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "airgap", "verify", "other.tar.zst", "--json", "--root", "root"],
            cwd=tmp_path,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)
    assert done.returncode == 3
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
