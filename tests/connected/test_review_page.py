"""REVIEW.html: whole, harmless, the same every time, and loud about what an officer must see."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from airgap.manifest import Check, Exemption, Manifest
from bundler import layout
from bundler.compose import Checks, compose
from bundler.lock import Lock, LockedFile, LockedModel
from bundler.profile import Profile
from bundler.review.visible import visible
from bundler.scan.findings import Finding, Judged, caution, danger
from bundler.scan.verdict import Scan, Verdict, report
from bundler.sources.local import Local

PROFILE = """\
profile: 1
name: n
description: For ward <7> & others
device: cpu
diarization: none
models:
- asr: o/m
"""

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHA256 = hashlib.sha256(b"weights").hexdigest()

VOID = {"meta", "br"}


class Strict(HTMLParser):
    """Refuses what a browser would forgive, and what would reach out of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
        for name, _value in attrs:
            assert name not in {"src", "href", "action", "style", "srcset"}
            assert not name.startswith("on")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)
        else:
            assert "url(" not in data
            assert "@import" not in data


def read(page: bytes) -> str:
    """The page's text, its white space squeezed, after every tag was found in its place."""
    parser = Strict()
    parser.feed(page.decode())
    parser.close()
    assert parser.open == []
    return re.sub(r"\s+", " ", " ".join(parser.text))


def make(
    *,
    findings: tuple[Finding, ...] = (),
    exempt: tuple[Exemption, ...] = (),
    not_loaded: tuple[Exemption, ...] = (),
    is_checked: bool = True,
    profile: str = PROFILE,
    base: Manifest | None = None,
    previous: Manifest | None = None,
    **traits: Any,
) -> tuple[Manifest, bytes]:
    """The manifest and the page of a bundle of one model with these traits."""
    wanted = Profile.parse(profile.encode(), "p.yaml")
    model = LockedModel(
        "o--m",
        "asr",
        "faster-whisper",
        "o/m",
        COMMIT,
        "MIT",
        False,
        (Local("x"),),
        (LockedFile("w.bin", 7, SHA256),),
    )
    lock = Lock("n", "1.0.0", 3, "2026-01-02T03:04:05Z", wanted.sha256, (replace(model, **traits),))
    scan = Scan((Judged(layout.lay_out(lock).locked[0].path, "pickle", findings),))
    check = Check("clean" if not findings else "cautions", exempt)
    checks = Checks(
        Verdict(check, report(scan, check.verdict, exempt), scan),
        Check("loaded" if not not_loaded else "not dry-loaded", not_loaded),
    )
    manifest, contents = compose(
        wanted,
        lock,
        {SHA256: Path("w.bin")},
        checks if is_checked else None,
        base=base,
        previous=previous,
    )
    page = contents["REVIEW.html"]
    assert isinstance(page, bytes)
    return manifest, page


def test_the_page_is_whole_and_reaches_for_nothing() -> None:
    manifest, page = make()
    text = read(page)
    assert page.startswith(b"<!DOCTYPE html>\n")
    assert "Review of n-1.0.0" in text
    assert "For ward <7> & others" in text
    assert f"huggingface.co/o/m At commit {COMMIT}" in text
    assert SHA256 in text
    assert manifest.lock_sha256 in text
    assert "n-1.0.0 , sequence 3" in text
    assert text.count("Reviewed by Signature") == 2
    assert b"default-src 'none'" in page


def test_a_plain_bundle_has_nothing_that_stands_out() -> None:
    text = read(make()[1])
    assert "Nothing stands out" in text
    assert "Look at this first" not in text


def test_it_is_a_member_of_the_tree_and_its_bytes_never_change() -> None:
    manifest, page = make()
    file = next(one for one in manifest.files if one.path == "REVIEW.html")
    assert file.sha256 == hashlib.sha256(page).hexdigest()
    assert make()[1] == page
    assert make()[0] == manifest


@pytest.mark.parametrize(
    ("traits", "says"),
    [
        ({"licence": "cc-by-nc-4.0"}, "o--m must not be used commercially"),
        ({"licence": "cc-by-nc-4.0"}, "NON-COMMERCIAL"),
        ({"licence": "unknown"}, "o--m has no licence that its publisher names"),
        ({"gated": True}, "o--m is gated"),
        ({"gated": True}, "GATED"),
        ({"not_loaded": (Exemption("o--m", "no engine"),)}, "o--m was not loaded before signing"),
        ({"not_loaded": (Exemption("o--m", "no engine"),)}, "NOT LOADED"),
        ({"findings": (caution("c.json", "config.url", "a URL", "look"),)}, "has 1 caution"),
        ({"is_checked": False}, "The files were not scanned"),
        ({"is_checked": False}, "The models were not loaded"),
    ],
)
def test_what_an_officer_must_see_stands_first(traits: dict[str, Any], says: str) -> None:
    text = read(make(**traits)[1])
    assert "Nothing stands out" not in text
    first = text[text.index("Look at this first") :]
    assert says in first


def test_findings_and_waivers_are_told_with_their_reasons() -> None:
    finding = danger("w.bin!data.pkl", "pickle.global", "it names os.system")
    waived = Exemption("pickle.global in w.bin!data.pkl: it names os.system", "alice\nlooked at it")
    text = read(make(findings=(finding,), exempt=(waived,))[1])
    assert "1 danger was found in the files and let pass" in text
    assert "w.bin!data.pkl it names os.system [pickle.global]" in text
    assert "Instead: use the publisher's safetensors" in text
    assert "alice looked at it" in text


EVIL = "\u202e<script>alert(1)</script>\u2066'\"&\x1b[2K\u2028{{ 31337*7 }}"


def test_names_from_files_do_nothing_in_the_page() -> None:
    manifest, page = make(
        licence=f"MIT {EVIL}",
        findings=(danger(f"w{EVIL}", "pickle.global", f"it names {EVIL}", f"fix {EVIL}"),),
        exempt=(Exemption(f"subject {EVIL}", f"reason {EVIL}"),),
        not_loaded=(Exemption("o--m", EVIL),),
    )
    text = read(page)
    decoded = page.decode()
    assert not set(decoded) & set("\u202e\u2066\u2028\x1b")
    assert (
        text.count("⟨U+202E⟩<script>alert(1)</script>⟨U+2066⟩'\"&⟨U+001B⟩[2K⟨U+2028⟩{{ 31337*7 }}")
        >= 7
    )
    assert "219359" not in decoded
    assert manifest.artifacts[0].licence == f"MIT {EVIL}"


def test_a_newline_stays_and_other_values_pass() -> None:
    assert visible("a\nb\tc") == "a\nb⟨U+0009⟩c"
    assert visible(7) == 7


def test_cnsa_commands_use_its_hash() -> None:
    text = read(make(profile=PROFILE + "hash: sha384\n")[1])
    assert "n-1.0.0.tar.zst | sha384sum" in text
    assert "-Algorithm SHA384 -InputStream" in text
    assert """'"sha384":"[0-9a-f]*"},"name":"payload"'""" in text


def test_it_names_no_signer_and_no_digest_of_the_bundle() -> None:
    text = read(make()[1])
    assert "It was made before anybody signed" in text
    assert "alice" not in text


def test_what_changed_since_an_older_bundle_is_told() -> None:
    older, _page = make()
    manifest, page = make(previous=older, licence="cc-by-nc-4.0", gated=True)
    text = read(page)
    told = text[text.index("What changed since n-1.0.0") : text.index("What it promises")]
    assert "o--m licence MIT cc-by-nc-4.0" in told
    assert "o--m gated no yes" in told
    assert manifest.base is None
    assert "What changed since" not in read(make()[1])


def test_nothing_changed_is_said() -> None:
    older, _page = make()
    text = read(make(previous=older)[1])
    assert "were not judged here. Nothing." in text


def test_a_delta_tells_the_changes_since_its_base_and_what_its_tree_lacks() -> None:
    older, _page = make()
    manifest, page = make(base=older, gated=True)
    text = read(page)
    assert manifest.base is not None
    assert "What changed since n-1.0.0" in text
    assert "sha256sum -c --quiet --strict --ignore-missing SHA256SUMS" in text
    assert "leaves to n-1.0.0 are not in the tree" in text
    assert "--ignore-missing" not in read(make()[1])
