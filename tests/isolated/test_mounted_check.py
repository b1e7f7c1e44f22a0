"""verify --mounted finds every change to what is mounted; repair --mounted mends from a bundle."""

from __future__ import annotations

import json

import pytest

from airgap.errors import AirgapError
from runtime import generation, recheck
from runtime.folders import Folder


@pytest.fixture
def model(mounted, contents):
    """The mounted model's largest file."""
    return mounted.current.resolve() / next(path for path in contents if path.endswith("model.bin"))


def damage(path):
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    path.chmod(0o444)


def last_event(host):
    return json.loads((host.root / "audit" / "log.jsonl").read_text().splitlines()[-1])


@pytest.mark.parametrize("named", [(), ("tiny",)])
def test_what_is_as_signed_passes_and_is_recorded(mounted, snapshot, named):
    before = snapshot(mounted.root)
    said = mounted.airgap("verify", "--mounted", *named, "--json")
    assert said.code == 0, said.err
    (one,) = said.document["mounts"]
    assert (one["bundle"], one["generation"]) == ("ward-1.0.0", 1)
    assert one["files"] == (4 if named else 5)
    assert snapshot(mounted.root) == before
    assert last_event(mounted)["event"] == "recheck"
    assert "what is mounted is what was signed" in mounted.airgap("verify", "--mounted").out


def test_everything_that_is_wrong_is_told(mounted, model, snapshot):
    damage(model)
    model.with_name("config.json").unlink()
    model.with_name("evil.py").write_text("import os\n")
    before = snapshot(mounted.root)
    said = mounted.airgap("verify", "--mounted", "--json")
    assert (said.code, said.document["rule"]) == (3, "mount.digest")
    for told in (
        "model.bin' has the SHA-256",
        "config.json' cannot be used",
        "evil.py' was signed",
    ):
        assert told in said.document["message"]
    assert said.document["hint"] == (
        "airgap repair --mounted BUNDLE, with the bundle that was mounted; "
        f"rm -r {model.with_name('evil.py')}"
    )
    assert snapshot(mounted.root) == before
    assert last_event(mounted)["event"] == "refusal"


@pytest.mark.parametrize("kind", ["link", "folder", "fifo"])
def test_something_else_in_place_of_a_file(mounted, model, kind):
    import os  # noqa: PLC0415 - for the fifo

    model.unlink()
    {
        "link": lambda: model.symlink_to("/etc/hostname"),
        "folder": model.mkdir,
        "fifo": lambda: os.mkfifo(model),
    }[kind]()
    assert mounted.airgap("verify", "--mounted").code == 3


def test_an_artifact_alone(mounted):
    readme = mounted.current.resolve() / "README.txt"
    damage_short(readme)
    assert mounted.airgap("verify", "--mounted", "tiny").code == 0
    assert mounted.airgap("verify", "--mounted").code == 3
    said = mounted.airgap("verify", "--mounted", "large-v3", "--json")
    assert (said.code, said.document["message"]) == (
        2,
        "no mounted bundle has an artifact 'large-v3'",
    )


def damage_short(path):
    path.chmod(0o644)
    path.write_bytes(b"another")


def test_nothing_is_mounted(host):
    said = host.airgap("verify", "--mounted", "--json")
    assert (said.code, said.document["hint"]) == (2, "airgap mount BUNDLE")


@pytest.mark.parametrize(
    "options", [("--deep",), ("--explain",), ("--integrity-only",), ("--allow-older", "why")]
)
def test_options_about_a_bundle_are_not_ignored(mounted, options):
    said = mounted.airgap("verify", "--mounted", *options)
    assert said.code == 2
    assert options[0] in said.err or "an override" in said.err


def test_no_bundle_and_no_mount_asked_for(mounted):
    assert mounted.airgap("verify").code == 2


def test_a_further_name_that_leads_elsewhere(mounted, model, bundle):
    further = mounted.current / "whisper/tiny/model.bin"
    further.unlink()
    assert mounted.airgap("verify", "--mounted").code == 0  # nothing that was signed is gone
    further.write_bytes(model.read_bytes())
    said = mounted.airgap("verify", "--mounted")
    assert said.code == 3
    assert "'whisper/tiny/model.bin' is another file than 'hf/hub/" in said.err
    assert mounted.airgap("repair", "--mounted", bundle).code == 0
    assert further.samefile(model)


def test_repair_restores_what_is_wrong_and_writes_nothing_else(
    mounted, model, bundle, unsound, snapshot
):
    whole = snapshot(mounted.root)
    damage(model)
    said = mounted.airgap("repair", "--mounted", bundle, "--json")
    assert said.code == 0, said.err
    further = mounted.root / "mounts/ward/generations/000001/whisper/tiny/model.bin"
    assert said.document["restored"] == [str(model), str(further)]
    assert further.samefile(model)
    assert unsound(mounted.root) == []
    assert mounted.airgap("verify", "--mounted").code == 0
    changed = {
        path.rpartition("/")[2]
        for path, found in snapshot(mounted.root).items()
        if whole.get(path) != found and not path.startswith("receipts")
    }
    assert changed == {"model.bin", next(b.name for b in mounted.blobs() if b.samefile(model))}
    assert last_event(mounted)["event"] == "recheck"


def test_what_nobody_signed_is_no_success_of_repair(mounted, bundle, snapshot):
    """It is named with the command that removes it, by both; and removed by neither."""
    stranger = mounted.current.resolve() / "hf/an extra"
    stranger.mkdir()
    before = snapshot(mounted.root / "mounts")
    for verb in (("verify", "--mounted"), ("repair", "--mounted", bundle)):
        said = mounted.airgap(*verb, "--json")
        assert (said.code, said.document["rule"]) == (3, "mount.digest"), verb
        assert "an extra' was signed by nobody" in said.document["message"]
        assert said.document["hint"] == f"rm -r '{stranger}'"
    assert snapshot(mounted.root / "mounts") == before
    stranger.rmdir()
    assert "nothing to repair" in mounted.airgap("repair", "--mounted", bundle).out
    assert mounted.airgap("verify", "--mounted").code == 0


def test_repair_mends_what_it_can_beside_what_nobody_signed(mounted, model, bundle):
    damage(model)
    stranger = model.with_name("evil.py")
    stranger.write_text("import os\n")
    said = mounted.airgap("repair", "--mounted", bundle)
    assert said.code == 3
    assert f"restored from ward-1.0.0: {model}\n" in said.out
    assert f"next: rm -r {stranger}\n" in said.err
    stranger.unlink()
    assert mounted.airgap("verify", "--mounted").code == 0


def test_a_file_that_is_gone_or_was_replaced_is_linked_again(mounted, model, bundle, unsound):
    """The blob in the store is intact: nothing is taken from the bundle."""
    blobs = {blob: blob.stat().st_ino for blob in mounted.blobs()}
    model.unlink()
    other = model.with_name("config.json")
    other.unlink()
    other.symlink_to("/etc/hostname")
    assert mounted.airgap("repair", "--mounted", bundle).code == 0
    assert unsound(mounted.root) == []
    assert {blob: blob.stat().st_ino for blob in mounted.blobs()} == blobs


def test_every_generation_and_bundle_that_has_the_file_is_mended(
    mounted, write, model, bundle, unsound
):
    assert mounted.airgap("mount", write("newer", version="1.1.0", sequence=8)).code == 0
    assert mounted.airgap("mount", write("other", title="clinic")).code == 0
    damage(model)
    assert mounted.airgap("repair", "--mounted", bundle).code == 0
    assert unsound(mounted.root) == []
    assert mounted.airgap("rollback", "ward").code == 0


def test_an_older_bundle_mends_and_is_not_accepted_by_that(mounted, write, model, bundle):
    assert mounted.airgap("mount", write("newer", version="1.1.0", sequence=8)).code == 0
    before = mounted.record.read_bytes()
    damage(model)
    assert mounted.airgap("repair", "--mounted", bundle).code == 0
    assert mounted.record.read_bytes() == before


def test_nothing_to_repair(mounted, bundle, snapshot):
    before = snapshot(mounted.root)
    said = mounted.airgap("repair", "--mounted", bundle)
    assert (said.code, said.out) == (
        0,
        "nothing to repair: every file that is mounted is what was signed\n",
    )
    assert snapshot(mounted.root) == before


def test_what_the_bundle_does_not_hold_is_told(mounted, write, model):
    damage(model)
    other = write("other", title="clinic", contents={"README.txt": b"no model\n"}, artifacts=())
    said = mounted.airgap("repair", "--mounted", other, "--json")
    assert (said.code, said.document["rule"]) == (3, "mount.digest")
    assert str(model) in said.document["message"]
    assert "and this bundle does not carry it" in said.document["message"]


def test_a_bundle_that_nobody_trusts_mends_nothing(mounted, write, bob, model, snapshot):
    damage(model)
    before = snapshot(mounted.root)
    said = mounted.airgap("repair", "--mounted", write("bobs", people=[bob]), "--json")
    assert (said.code, said.document["kind"]) == (3, "UntrustedError")
    assert snapshot(mounted.root) == before


def test_a_bundle_that_is_damaged_itself_mends_nothing(mounted, bundle, model, snapshot):
    damage(model)
    content = bytearray(bundle.read_bytes())
    content[-5] ^= 1
    bundle.write_bytes(content)
    before = snapshot(mounted.root)
    said = mounted.airgap("repair", "--mounted", bundle, "--json")
    assert (said.code, said.document["rule"]) == (3, "frame.digest")
    assert snapshot(mounted.root) == before


def test_a_manifest_that_was_changed_is_left_to_a_new_mount(mounted, bundle):
    (mounted.current.resolve() / "manifest.json").unlink()
    said = mounted.airgap("repair", "--mounted", bundle, "--json")
    assert said.code == 3
    assert "airgap mount BUNDLE" in said.document["hint"]
    assert generation.mounted(mounted.root) == ["ward"]


def test_repair_out_and_mounted_do_not_go_together(mounted, bundle, tmp_path):
    assert mounted.airgap("repair", "--mounted", bundle, "--out", tmp_path / "x").code == 2
    assert not (tmp_path / "x").exists()


def test_a_folder_that_cannot_be_looked_into_hides_no_stranger(mounted, monkeypatch):
    """Signed names may lie there and be readable: that says nothing of what lies beside them."""
    (mounted.current.resolve() / "evil.py").write_text("import os\n")
    inside = Folder.inside

    def closed(folder, relative, *, make=True):
        if relative == "hf" and folder.path == mounted.current.resolve():
            raise AirgapError("cannot use 'hf': Permission denied")
        return inside(folder, relative, make=make)

    monkeypatch.setattr(Folder, "inside", closed)
    with generation.current(mounted.root, None) as one:
        found = [path.name for path in recheck.strangers(one)]
    assert found == ["evil.py", "hf"]
