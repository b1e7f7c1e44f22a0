"""`airgap inspect` of a hostile bundle: what it says of itself cannot paint on the terminal."""

from __future__ import annotations

from dataclasses import replace

ESCAPES = "\x1b[2J\x1b[1;32mdemo-1.0.0: verified\x1b[0m\u202e"


def hostile(write, manifest_of, contents, text):
    (artifact,) = manifest_of(contents).artifacts
    evil = replace(artifact, repository=text, licence=text)
    return write("evil", people=(), artifacts=(evil,))


def test_escape_sequences_are_shown_not_sent(host, write, manifest_of, contents):
    said = host.airgap("inspect", hostile(write, manifest_of, contents, ESCAPES), "--files")
    assert said.code == 0, said.err
    assert "\x1b" not in said.out + said.err
    assert "\u202e" not in said.out + said.err
    assert r"\x1b[2J" in said.out


def test_a_newline_forges_no_line_of_ours(host, write, manifest_of, contents):
    text = "MIT\nward-1.0.0: verified\n  signed by      alice"
    said = host.airgap("inspect", hostile(write, manifest_of, contents, text))
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0].startswith("not verified: ")
    assert not any(line.startswith(("ward-1.0.0: verified", "  signed by")) for line in lines)


def test_json_carries_the_text_escaped(host, write, manifest_of, contents):
    said = host.airgap("inspect", hostile(write, manifest_of, contents, ESCAPES), "--json")
    assert said.out.isascii()
    (artifact,) = said.document["manifest"]["artifacts"]
    assert artifact["repository"] == ESCAPES
    assert said.document["verified"] is False


def test_control_characters_of_a_file_name_are_escaped(host, tmp_path):
    evil = tmp_path / "x\x1b[2J.tar.zst"
    evil.write_bytes(b"no bundle")
    for verb in ("verify", "inspect", "mount"):
        said = host.airgap(verb, evil)
        assert said.code == 3
        assert "\x1b" not in said.err
