"""`airgap diff`: bundles, manifests, locks and profiles, told apart by what they hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airgap import cli, signing
from airgap.errors import UsageError
from airgap.keys import ED25519
from bundler.build import Built, build
from bundler.changes import Change, changes, compare
from bundler.claims import read_inventory
from bundler.inventory import of_lock, of_profile
from bundler.lock import Lock
from bundler.profile import Profile
from bundler.sources import Access

OLD = {"config.json": b'{"a": 1}', "weights.txt": b"0.25 0.5\n" * 99, "vocabulary.txt": b"a\n"}
NEW = {"config.json": b'{"x": "https://example.org/y"}', "weights.txt": OLD["weights.txt"]}
LATER = "b" * 40


@pytest.fixture
def locks(ward_lock: Callable[..., Lock]) -> tuple[Lock, Lock]:
    return (
        ward_lock(OLD, 1),
        ward_lock(NEW, 2, commit=LATER, licence="CC-BY-NC-4.0", gated=True),
    )


@pytest.fixture
def built(tmp_path: Path, access: Access, ward: Profile, locks: Any) -> tuple[Built, Built]:
    """Two bundles of one name: the second by another key, of a newer commit."""
    keys = [{name: [signing.generate(ED25519)]} for name in ("alice", "bob")]
    first, second = (
        build(ward, lock, access, tmp_path / "out", signers, skip_dry_load=["asr"])
        for lock, signers in zip(locks, keys, strict=True)
    )
    return first, second


def told(group: tuple[Change, ...]) -> dict[str, tuple[str | None, str | None]]:
    return {one.what: (one.old, one.new) for one in group}


def test_two_bundles(built: tuple[Built, Built], kit: Any) -> None:
    old, new = built
    found = compare(read_inventory(old.path), read_inventory(new.path))
    assert (found.old, found.new) == ("ward-1.1.0", "ward-1.2.0")
    assert told(found.facts) == {"version": ("1.1.0", "1.2.0"), "sequence": ("1", "2")}
    models = told(found.models)
    assert models["o--m commit"] == (kit.COMMIT, LATER)
    assert models["o--m licence"] == ("MIT", "CC-BY-NC-4.0")
    assert models["o--m gated"] == ("no", "yes")
    files = told(found.files)
    assert set(files) == {"o--m/config.json", "o--m/vocabulary.txt", f"o--m/{REF}"}
    assert files["o--m/vocabulary.txt"][1] is None
    assert files["o--m/config.json"][1] == f"30 B sha256 {kit.sha256(NEW['config.json'])}"
    findings = told(found.findings)
    assert findings["scan"] == ("clean", "cautions")
    assert [one for one in findings if one.startswith("caution config.address in hf/hub")]
    ids = [one.envelope.signatures[0].key_id for one in built]
    assert told(found.signatures) == {
        ids[1]: (None, "claims to have signed"),
        ids[0]: ("claims to have signed", None),
    }


REF = "hf/hub/models--o--m/refs/main"


def test_what_is_to_be_carried_is_what_a_delta_carries(
    *, built: tuple[Built, Built], access: Access, ward: Profile, locks: Any, tmp_path: Path
) -> None:
    old, new = built
    delta = build(
        ward,
        locks[1],
        access,
        tmp_path / "deltas",
        {},
        skip_dry_load=["asr"],
        base=old.manifest,
    )
    found = changes(old.manifest, delta.manifest)
    assert found.carry == sum(file.size for file in delta.manifest.carried)
    assert told(found.facts)["base"] == ("none", "ward-1.1.0")
    of_delta, of_full = (
        sum(f.size for f in one.manifest.files if f.artifact is None) for one in (delta, new)
    )
    assert changes(old.manifest, new.manifest).carry == found.carry - of_delta + of_full


def test_manifests_alone_say_nothing_of_signers_and_findings(built: tuple[Built, Built]) -> None:
    old, new = (read_inventory(one.path.parent / "manifest.json") for one in built)
    found = compare(old, read_inventory(built[1].path))
    assert found == compare(old, new)
    assert found.signatures == ()
    assert told(found.findings) == {"scan": ("clean", "cautions")}
    assert found == changes(built[0].manifest, built[1].manifest)


def test_a_lock_and_the_bundle_of_it_hold_the_same(built: tuple[Built, Built], locks: Any) -> None:
    for lock, bundle in zip(locks, built, strict=True):
        found = compare(of_lock(lock), read_inventory(bundle.path))
        assert not any(found.groups.values())
    crossed = compare(read_inventory(built[0].path), of_lock(locks[1]))
    assert crossed.models == compare(of_lock(locks[0]), of_lock(locks[1])).models != ()
    assert crossed.findings == crossed.signatures == ()


def test_a_second_finding_in_one_file_is_a_change(
    *, access: Access, ward: Profile, ward_lock: Callable[..., Lock], tmp_path: Path
) -> None:
    one = b'"https://example.org/y"'
    inventories = []
    for number, content in enumerate((b'{"x": %s}', b'{"a": "http://a.b/", "x": %s}'), 1):
        lock = ward_lock({"config.json": content % one}, number)
        built = build(ward, lock, access, tmp_path / "out", {}, skip_dry_load=["asr"])
        inventories.append(read_inventory(built.path))
    ((old, new),) = told(compare(*inventories).findings).values()
    assert "a.b" in str(new)
    assert "a.b" not in str(old)


def test_the_same_twice(built: tuple[Built, Built]) -> None:
    found = changes(built[0].manifest, built[0].manifest)
    assert not any(found.groups.values())
    assert found.carry == 0


def test_nothing_is_to_be_carried_where_nothing_differs(built: Any, locks: Any, diff: Any) -> None:
    """A delta's papers are its own: they are no reason to build one."""
    bundle = built[0].path
    code, out, _ = diff(bundle, bundle.parent)
    assert code == 0
    assert out.splitlines()[1:] == ["ward-1.1.0 -> ward-1.1.0", "no difference"]
    assert json.loads(diff(bundle, bundle, "--json")[1])["carry"] == 0
    assert compare(of_lock(locks[0]), read_inventory(bundle)).carry == 0


def test_another_signature_is_nothing_to_carry(built: tuple[Built, Built]) -> None:
    bundle = read_inventory(built[0].path)
    found = compare(bundle, replace(bundle, signatures=()))
    assert found.signatures
    assert found.carry == 0


def test_a_model_more_and_one_less(built: tuple[Built, Built]) -> None:
    old = built[0].manifest
    empty = replace(old, artifacts=(), files=())
    assert [str(one) for one in changes(empty, old).models] == [
        "+ o--m  asr, o/m@01234567, MIT, 4 files, 941 B"
    ]
    assert changes(empty, old).files == ()  # the model's line counts them
    assert [one.new for one in changes(old, empty).models] == [None]


def test_features_expiry_and_waivers(built: tuple[Built, Built]) -> None:
    old = built[0].manifest
    new = replace(
        old, features={"diarization_enabled": True}, expires="2027-01-01T00:00:00Z", dry_load=None
    )
    found = changes(old, new)
    assert told(found.facts) == {
        "diarization_enabled": ("no", "yes"),
        "expires": ("never", "2027-01-01T00:00:00Z"),
    }
    assert told(found.findings)["dry-load"] == ("not dry-loaded", "none")
    assert told(found.findings)["dry-load exempt: o--m"][1] is None


def test_profiles(ward: Profile, kit: Any) -> None:
    text = kit.WARD.replace("cpu", "gpu") + "expires_after_days: 90\n"
    text = text.replace("- asr: o/m", "- asr: o/m\n  revision: v2\n- asr: o/other")
    found = compare(of_profile(ward), of_profile(Profile.parse(text.encode(), "new.yaml")))
    assert told(found.facts) == {"device": ("cpu", "gpu"), "expires": ("never", "after 90 days")}
    assert told(found.models) == {"o/m revision": ("main", "v2"), "o/other": (None, "asr")}
    assert found.carry is None


def test_a_profile_is_compared_with_no_bytes(ward: Profile, locks: Any) -> None:
    with pytest.raises(UsageError, match="'ward' is a profile, which says what is wanted") as no:
        compare(of_profile(ward), of_lock(locks[0]))
    assert "lock.yaml" in str(no.value.hint)


# --- the verb -----------------------------------------------------------------------------------


@pytest.fixture
def diff(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def diff(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.run(["diff", *map(str, words)])
        return code, *capsys.readouterr()

    return diff


def test_what_a_person_reads(built: tuple[Built, Built], diff: Any) -> None:
    code, out, _ = diff(built[0].path.parent / "manifest.json", built[1].path)
    assert code == 0
    lines = out.splitlines()
    assert lines[:3] == [
        "not verified: this is what the files say of themselves",
        "ward-1.1.0 -> ward-1.2.0",
        "facts:",
    ]
    assert "  ~ version   1.1.0 -> 1.2.0" in lines
    assert "  ~ sequence  1 -> 2" in lines
    assert f"  ~ o--m commit   0123456789ab… -> {LATER[:12]}…" in lines
    assert lines[-1].startswith("to carry: ")
    assert lines[-1].endswith(" that ward-1.1.0 lacks, with its own papers")


def test_what_a_program_reads(built: tuple[Built, Built], diff: Any, kit: Any) -> None:
    code, out, _ = diff(built[0].path, built[1].path, "--json")
    document = json.loads(out)
    assert code == 0
    assert document["schema"] == "airgap/diff/v1"
    assert document["caution"].startswith("not verified")
    assert {"what": "o--m commit", "old": kit.COMMIT, "new": LATER} in document["models"]
    assert type(document["carry"]) is int


def test_locks_and_profiles_need_no_caution(locks: Any, tmp_path: Path, diff: Any) -> None:
    for number, lock in enumerate(locks):
        (tmp_path / f"{number}.lock.yaml").write_bytes(lock.to_bytes())
    code, out, _ = diff(tmp_path / "0.lock.yaml", tmp_path / "1.lock.yaml")
    assert (code, out.splitlines()[0]) == (0, "ward-1.1.0 -> ward-1.2.0")
    assert out.splitlines()[-1].endswith(" that ward-1.1.0 lacks")  # a lock has no papers
    code, out, _ = diff("demo", "demo")
    assert (code, out) == (0, "demo -> demo\nno difference\n")


def test_hostile_words_forge_no_line(built: tuple[Built, Built], tmp_path: Path, diff: Any) -> None:
    """Unauthenticated text: newlines and control characters reach no terminal."""
    old = built[0].manifest
    (artifact,) = old.artifacts
    bad = replace(artifact, licence="MIT\nno difference\x1b[2J")
    (tmp_path / "bad.json").write_bytes(replace(old, artifacts=(bad,)).to_bytes())
    code, out, _ = diff(built[0].path, tmp_path / "bad.json")
    assert code == 0
    assert "MIT\\nno difference\\x1b[2J" in out
    assert "\x1b" not in out
    assert "no difference" not in out.splitlines()


def test_digests_are_compared_whole(built: tuple[Built, Built], tmp_path: Path, diff: Any) -> None:
    """Two contents whose first digits are alike are two."""
    old = built[0].manifest
    files = tuple(
        replace(one, sha256=one.sha256[:-1] + ("0" if one.sha256[-1] != "0" else "1"))
        for one in old.files
    )
    (tmp_path / "near.json").write_bytes(replace(old, files=files).to_bytes())
    code, out, _ = diff(built[0].path, tmp_path / "near.json")
    assert code == 0
    assert "~ o--m/config.json" in out


def test_a_damaged_bundle_is_refused(built: tuple[Built, Built], diff: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.tar.zst"
    content = bytearray(built[1].path.read_bytes())
    content[-9] ^= 1  # the frame that holds scan.json
    bad.write_bytes(content)
    code, _, err = diff(built[0].path, bad)
    assert code == 3
    assert "is not what was signed: frame 1" in err


@pytest.mark.parametrize(
    ("content", "code", "saying"),
    [
        (b"# notes\n", 2, "expected a bundle or its folder, its manifest"),
        (b"", 2, "expected a bundle or its folder, its manifest"),
        (b"{}", 3, "manifest.json is not one that this version reads"),
        (b"lock: 1\n", 2, "'name'"),
        (b"\x50\x2a\x4d\x18 and more", 3, "is no airgap bundle"),
    ],
)
def test_what_is_none_of_ours(
    *, content: bytes, code: int, saying: str, tmp_path: Path, diff: Any
) -> None:
    (tmp_path / "given").write_bytes(content)
    found, _, err = diff(tmp_path / "given", "demo")
    assert (found, saying in err) == (code, True), err


def test_a_bundles_folder_is_the_bundle_and_a_profiles_name_the_profile(
    built: tuple[Built, Built], tmp_path: Path, diff: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = built
    assert diff(old.path.parent, new.path.parent) == diff(old.path, new.path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    assert diff("demo", "cpu-small")[0] == 0
