"""A model out of a mount: the bytes that were hashed are those that the engine gets."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from airgap.errors import AirgapError, DamagedError, UsageError
from runtime import generation, loading


@pytest.fixture
def opened(mounted):
    with generation.current(mounted.root, None) as one:
        yield one


@pytest.fixture
def model_bin(mounted, contents):
    (path,) = (path for path in contents if path.endswith("model.bin"))
    return mounted.current.resolve() / path


WAYS = pytest.mark.parametrize("load", [loading.buffers, loading.folder])


def overwrite(file, at, content):
    file.chmod(0o644)
    with file.open("r+b") as stream:
        stream.seek(at)
        stream.write(content)


def test_buffers_are_the_signed_bytes(opened, contents):
    artifact = opened.artifact("asr", None)
    found = loading.buffers(opened, artifact)
    prefix = f"{artifact.path}/"
    assert found == {
        path.removeprefix(prefix): content
        for path, content in contents.items()
        if path.startswith(prefix)
    }


def test_folder_is_a_generations_own_and_no_link(opened, contents):
    artifact = opened.artifact("asr", None)
    folder = loading.folder(opened, artifact)
    assert folder == opened.folder.path / artifact.path
    assert "current" not in folder.parts


@WAYS
def test_progress_is_told_in_bytes(opened, load):
    told = []
    artifact = opened.artifact("asr", None)
    load(opened, artifact, told.append)
    files = opened.manifest.files_of(artifact)
    assert sum(told) in {
        sum(file.size for file in files),
        sum(file.size for file in files if file.path.startswith(f"{artifact.path}/")),
    }


@WAYS
def test_a_flipped_byte_is_refused_naming_the_file(opened, model_bin, load):
    overwrite(model_bin, 3_000_000, b"\0\1")
    with pytest.raises(DamagedError) as caught:
        load(opened, opened.artifact("asr", None))
    assert caught.value.rule == "mount.digest"
    assert str(model_bin) in caught.value.message
    assert "expected SHA-256" in caught.value.message
    assert caught.value.exit_code == 3
    assert caught.value.hint.startswith("airgap mount BUNDLE, once more")


@WAYS
@pytest.mark.parametrize("size", [0, 4_999_999, 5_000_001])
def test_another_length_is_refused(opened, model_bin, load, size):
    model_bin.chmod(0o644)
    os.truncate(model_bin, size)
    with pytest.raises(DamagedError, match="is not what was signed") as caught:
        load(opened, opened.artifact("asr", None))
    assert str(model_bin) in caught.value.message


@WAYS
@pytest.mark.parametrize("kind", ["missing", "link", "fifo", "folder"])
def test_what_is_no_file_is_refused(opened, model_bin, load, kind, tmp_path):
    copy = tmp_path / "copy"
    copy.write_bytes(model_bin.read_bytes())
    model_bin.unlink()
    match kind:
        case "link":
            model_bin.symlink_to(copy)
        case "fifo":
            os.mkfifo(model_bin)
        case "folder":
            model_bin.mkdir()
    with pytest.raises(AirgapError) as caught:
        load(opened, opened.artifact("asr", None))
    assert str(model_bin) in caught.value.message


def test_a_file_that_was_added_is_not_loaded_by_path(opened, model_bin):
    """faster-whisper would take it: preprocessor_config.json decides what a model hears."""
    stranger = model_bin.with_name("preprocessor_config.json")
    stranger.write_text("{}")
    with pytest.raises(DamagedError) as caught:
        loading.folder(opened, opened.artifact("asr", None))
    assert caught.value.rule == "mount.stranger"
    assert caught.value.message == (f"'{stranger}' is in the model's folder, and nobody signed it")


def test_a_file_that_was_added_is_no_part_of_the_buffers(opened, model_bin):
    model_bin.with_name("preprocessor_config.json").write_text("{}")
    assert "preprocessor_config.json" not in loading.buffers(opened, opened.artifact("asr", None))


def test_each_file_is_read_once_into_memory(opened, model_bin, monkeypatch):
    """A swap after the hash changes nothing: there is no second read to swap for."""
    opens = []
    real = type(opened.folder).open

    def counted(folder, relative):
        opens.append(relative)
        return real(folder, relative)

    monkeypatch.setattr(type(opened.folder), "open", counted)
    found = loading.buffers(opened, opened.artifact("asr", None))
    assert len(opens) == len(set(opens)) == len(found)
    before = bytes(found["model.bin"])
    overwrite(model_bin, 0, b"evil")
    assert found["model.bin"] == before


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """An empty TMPDIR."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def copied(opened):
    return loading.private_copy(opened, [opened.artifact("asr", None)])


def test_a_private_copy_is_the_signed_bytes_for_this_user_alone(opened, contents, temporary):
    with copied(opened) as folder:
        assert folder.parent == temporary
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        found = [path for path in folder.rglob("*") if path.is_file()]
        assert {str(path.relative_to(folder)): path.read_bytes() for path in found} == {
            path: content for path, content in contents.items() if path.startswith("hf/")
        }
        assert {stat.S_IMODE(path.stat().st_mode) for path in found} == {0o400}
        assert not any(path.is_symlink() or path.stat().st_nlink > 1 for path in found)
    assert list(temporary.iterdir()) == []


def test_a_private_copy_is_gone_however_the_block_ends(opened, temporary):
    with pytest.raises(ZeroDivisionError), copied(opened):
        raise ZeroDivisionError
    assert list(temporary.iterdir()) == []


def test_what_changes_in_the_store_does_not_change_a_private_copy(opened, model_bin, temporary):
    with copied(opened) as folder:
        copy = next(folder.rglob("model.bin"))
        before = copy.read_bytes()
        overwrite(model_bin, 0, b"evil")
        assert copy.read_bytes() == before


@pytest.mark.parametrize("change", ["flip", "shorter", "longer"])
def test_no_private_copy_of_what_was_not_signed(opened, model_bin, temporary, change):
    if change == "flip":
        overwrite(model_bin, 3_000_000, b"\0\1")
    else:
        model_bin.chmod(0o644)
        os.truncate(model_bin, {"shorter": 4_999_999, "longer": 5_000_001}[change])
    with pytest.raises(DamagedError) as caught, copied(opened):
        pytest.fail("it was handed out")
    assert caught.value.rule == "mount.digest"
    assert str(model_bin) in caught.value.message
    assert list(temporary.iterdir()) == []


def test_bytes_that_change_while_they_are_copied_are_found(
    opened, model_bin, temporary, monkeypatch
):
    """There is one read: what reaches the copy has been through the hash."""
    real = loading._write

    def written_then_changed(*given):
        real(*given)
        overwrite(model_bin, 4_000_000, b"evil")  # ahead of the reader

    monkeypatch.setattr(loading, "_write", written_then_changed)
    with pytest.raises(DamagedError), copied(opened):
        pytest.fail("it was handed out")
    assert list(temporary.iterdir()) == []


def test_a_link_planted_on_the_way_is_not_followed(opened, temporary, tmp_path, monkeypatch):
    """Another process of the same user is not kept out, but writes nothing elsewhere."""
    real = loading.Folder.create

    def planted(folder, name, mode=0o444):
        (folder.path / name).symlink_to(tmp_path / "elsewhere")
        return real(folder, name, mode)

    monkeypatch.setattr(loading.Folder, "create", planted)
    with pytest.raises(AirgapError, match="cannot write"), copied(opened):
        pytest.fail("it was handed out")
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_says_how_much_a_private_copy_needs(opened, temporary, monkeypatch):
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(loading.Folder, "create", lambda *_given: full)
    with pytest.raises(AirgapError) as caught, copied(opened):
        pytest.fail("it was handed out")
    assert caught.value.exit_code == 1
    assert "No space left on device; it needs 5.0 MB for as long" in caught.value.message
    assert "TMPDIR" in caught.value.hint
    assert list(temporary.iterdir()) == []


def test_a_place_that_cannot_be_written_names_tmpdir(opened, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    with (
        pytest.raises(
            AirgapError, match="cannot make a private folder in '/nonexistent'"
        ) as caught,
        copied(opened),
    ):
        pytest.fail("it was handed out")
    assert caught.value.hint == "set TMPDIR to a folder that this user may write"


def test_a_read_that_fails_names_the_file(opened, model_bin, monkeypatch):
    def fail(*_given):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(loading.hashlib, "file_digest", fail)
    with pytest.raises(AirgapError, match="Input/output error") as caught:
        loading.folder(opened, opened.artifact("asr", None))
    assert "cannot read '" in caught.value.message
    assert caught.value.exit_code == 1


def test_a_changed_manifest_is_refused(mounted):
    manifest = mounted.current.resolve() / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_bytes(manifest.read_bytes().replace(b'"MIT"', b'"GPL"'))
    said = mounted.airgap("list", "--json")
    assert (said.code, said.document["rule"]) == (3, "mount.manifest")
    assert said.document["message"] == (
        f"'{manifest}' was changed after it was mounted: it is not the manifest that was signed"
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "mount.json is damaged"),
        (b'{"schema":"airgap/mount/v1"}', "'mounted' is missing"),
        (b'{"schema":"airgap/mount/v2","mounted":"","signers":[],"policy":""}', "expected"),
    ],
)
def test_a_damaged_record_is_refused(mounted, content, why):
    record = mounted.current.resolve() / "mount.json"
    record.chmod(0o644)
    record.write_bytes(content)
    said = mounted.airgap("list")
    assert said.code == 3
    assert "mount.json is damaged" in said.err
    assert why in said.err


def test_an_unknown_bundle_or_model_is_named_with_what_there_is(mounted):
    with (
        pytest.raises(UsageError, match=r"expected 'nope' mounted in .*, found: ward") as caught,
        generation.current(mounted.root, "nope"),
    ):
        pass
    assert caught.value.hint == "--bundle ward"
    with generation.current(mounted.root, "ward") as one:
        with pytest.raises(UsageError, match="expected 'large' of the role asr") as caught:
            one.artifact("asr", "large")
        assert caught.value.hint == "--model tiny"
        with pytest.raises(UsageError, match="found: none"):
            one.artifact("diarization", None)


def test_of_two_bundles_one_must_be_named(mounted, write):
    assert mounted.airgap("mount", write("clinic", title="clinic")).code == 0
    with (
        pytest.raises(UsageError, match=r"expected one bundle mounted in .* found: clinic, ward"),
        generation.current(mounted.root, None),
    ):
        pass
    with generation.current(mounted.root, "clinic") as one:
        assert one.statement.name == "clinic"


def test_a_generation_that_is_open_outlives_the_next_mount(mounted, write, contents):
    with generation.current(mounted.root, None) as one:
        newer = write("newer", version="2", sequence=8)
        assert mounted.airgap("mount", newer).code == 0
        assert one.statement.version == "1.0.0"
        assert "model.bin" in loading.buffers(one, one.artifact("asr", None))
    assert Path(one.folder.path).name == "000001"
