"""What lies beside a bundle with a runtime: which wheels, which digests, and where it goes."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from dataclasses import replace

import pytest

from airgap import keys, pack, papers, signing, tar
from airgap.archive import read_head
from airgap.bootstrap_text import PAGE
from airgap.envelope import Envelope
from airgap.errors import AirgapError
from airgap.manifest import File, Manifest
from airgap.statement import Base, Statement
from bundler.bootstrap.kit import SCRIPT, make_kit, write_kit

CREATED = "2026-01-02T03:04:05Z"
TARGETS = ("cp311-manylinux_2_28_x86_64", "cp312-manylinux_2_28_aarch64")
NEEDS = {
    "airgap-bundler": ("typer", "old; python_version < '3.12'", "torch; extra == 'cpu'"),
    "pip": (),
    "typer": ("click (>=8)", "colorama; sys_platform == 'win32'"),
    "click": (),
    "old": (),
    "torch": (),
}


def wheel(name: str, requires: tuple[str, ...]) -> bytes:
    content = io.BytesIO()
    lines = [f"Name: {name}", "Version: 1.0", *(f"Requires-Dist: {one}" for one in requires)]
    with zipfile.ZipFile(content, "w") as archive:
        info = f"{name.replace('-', '_')}-1.0.dist-info/METADATA"
        archive.writestr(zipfile.ZipInfo(info), "\n".join(lines) + "\n")
    return content.getvalue()


def tree(lacking: str = "", targets: tuple[str, ...] = TARGETS) -> dict[str, bytes]:
    """A bundle's files: wheels, and what each target installs of them."""
    wheels = {name: wheel(name, needs) for name, needs in NEEDS.items() if name != lacking}
    files = {
        f"wheels/{name.replace('-', '_')}-1.0-py3-none-any.whl": content
        for name, content in wheels.items()
    }
    extra = {"airgap-bundler": "[cpu,server]"}
    text = "".join(
        f"{name}{extra.get(name, '')}==1.0 --hash=sha256:{hashlib.sha256(content).hexdigest()}\n"
        for name, content in sorted(wheels.items())
    )
    files |= {f"wheels/requirements-{one}.txt": text.encode() for one in targets}
    files[f"wheels/python/{TARGETS[0]}.tar.gz"] = b"a Python"
    return {**files, "README.txt": b"x\n"}


def manifest_of(contents) -> Manifest:
    files = [
        File(path, len(one), hashlib.sha256(one).hexdigest(), None, 0, None)
        for path, one in sorted(contents.items())
    ]
    return Manifest(
        name="ward",
        version="1.0.0",
        sequence=1,
        created=CREATED,
        expires=None,
        base=None,
        profile="ward",
        profile_sha256="1" * 64,
        lock_sha256="2" * 64,
        built_with={},
        platform="any",
        features={},
        artifacts=(),
        files=tuple(file for _, file in tar.members(files, CREATED)),
        derived=(),
        built=(),
        scan=None,
        dry_load=None,
    )


def kit_of(contents):
    return make_kit(manifest_of(contents), lambda file: io.BytesIO(contents[file.path]))


def test_a_kit_is_the_base_install_and_pip_for_each_target():
    kit = kit_of(tree())
    lines = {name: text.decode() for name, text in kit.texts.items()}
    names = {
        name: [line.split("==")[0] for line in text.splitlines()] for name, text in lines.items()
    }
    assert names == {
        f"requirements-{TARGETS[0]}.txt": ["airgap-bundler", "click", "old", "pip", "typer"],
        f"requirements-{TARGETS[1]}.txt": ["airgap-bundler", "click", "pip", "typer"],
    }
    assert "torch-1.0-py3-none-any.whl" not in kit.taken
    assert set(kit.taken) == {
        *(f"{name}-1.0-py3-none-any.whl" for name in ("airgap_bundler", "click", "old", "pip")),
        "typer-1.0-py3-none-any.whl",
        f"python-{TARGETS[0]}.tar.gz",
    }
    sums = kit.signed["bootstrap/SHA256SUMS"].decode().splitlines()
    assert [line.split("  ")[1] for line in sums] == sorted({*kit.taken, *kit.texts})
    assert kit.signed["bootstrap.sh"] == SCRIPT.read_bytes()


def test_a_bundle_without_a_runtime_has_no_kit():
    kit = kit_of({"README.txt": b"x\n"})
    assert (kit.signed, kit.texts, kit.taken) == ({}, {}, {})


@pytest.mark.parametrize("lacking", ["pip", "click", "airgap-bundler"])
def test_a_wheel_that_a_bare_host_needs_must_be_there(lacking):
    with pytest.raises(AirgapError, match=rf"lack '{lacking}', which a host needs to verify"):
        kit_of(tree(lacking))


def test_the_script_is_short_and_uses_what_a_bare_host_has():
    text = SCRIPT.read_text()
    assert len(text.splitlines()) < 200
    assert max(map(len, text.splitlines())) < 125


# --- beside the bundle, and on its way ------------------------------------------------------------


@pytest.fixture
def delivered(place):
    """A bundle with a kit in its folder, signed, with its papers."""
    return deliver(place, manifest_of(tree()))


def deliver(place, manifest):
    contents = tree()

    def opened(file):
        return io.BytesIO(contents[file.path])

    folder = place.folder / "out/ward-1.0.0"
    folder.mkdir(parents=True)
    kit = make_kit(manifest, opened)
    bundle = folder / "ward-1.0.0.tar.zst"
    officer = tuple(signing.generate(one) for one in (keys.ED25519, keys.ECDSA_P384))
    with bundle.open("x+b") as stream:
        statement = pack.write_bundle(stream, manifest, opened, "sha256", beside=kit.signed)
        envelope = signing.sign(Envelope(statement.to_bytes(), ()), officer)
        pack.write_head(stream, envelope)
    write_kit(kit, folder, opened)
    papers.write(bundle, {}, {})
    return bundle


def below(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_statement_names_script_and_list(delivered):
    with delivered.open("rb") as stream:
        statement = Statement.parse((delivered.parent / "statement.json").read_bytes())
        assert stream.read(4)
    for name in ("bootstrap.sh", "bootstrap/SHA256SUMS"):
        content = (delivered.parent / name).read_bytes()
        assert statement.subjects[name] == hashlib.sha256(content).hexdigest()
    page = (delivered.parent / PAGE).read_text()
    assert f"{statement.subjects['bootstrap.sh']}  bootstrap.sh" in page
    assert page.index("openssl dgst -sha384") < page.index("openssl pkeyutl -verify")


def test_the_sums_of_what_is_delivered_have_the_kit_too(delivered):
    sums = (delivered.parent / "SHA256SUMS").read_text()
    for name in ("bootstrap.sh", "BOOTSTRAP.md", "bootstrap/SHA256SUMS", "bootstrap/pip-1.0"):
        assert f"  {name}" in sums


def test_carry_brings_the_kit_along_and_refuses_a_link_in_its_place(delivered, place):
    medium = place.folder / "medium"
    medium.mkdir()
    done = place.airgap("carry", delivered.parent, medium)
    assert done.code == 0, done.err
    assert below(medium / "ward-1.0.0") == below(delivered.parent)
    shutil.rmtree(medium / "ward-1.0.0/bootstrap")
    elsewhere = place.folder / "elsewhere"
    elsewhere.mkdir()
    (medium / "ward-1.0.0/bootstrap").symlink_to(elsewhere)
    again = place.airgap("carry", delivered.parent, medium)
    assert again.code == 1
    assert "is a link: what is written there would lie elsewhere" in again.err
    assert list(elsewhere.iterdir()) == []


def test_paperwork_makes_a_lost_kit_anew(delivered, place):
    before = below(delivered.parent)
    shutil.rmtree(delivered.parent / "bootstrap")
    (delivered.parent / "bootstrap.sh").unlink()
    (delivered.parent / "BOOTSTRAP.md").unlink()
    done = place.airgap("paperwork", delivered)
    assert done.code == 0, done.err
    after = below(delivered.parent)
    kit = {name for name in before if "ootstrap" in name or name == PAGE}
    assert {name: after[name] for name in kit} == {name: before[name] for name in kit}


def test_paperwork_leaves_the_kit_of_a_delta_and_says_so(place):
    full = manifest_of(tree())
    left = {file.path for file in full.files if "click" in file.path}
    kept = tar.members((file for file in full.files if file.path not in left), CREATED)
    offsets = {file.path: file.offset for _, file in kept}
    files = tuple(replace(file, offset=offsets.get(file.path)) for file in full.files)
    delta = replace(full, files=files, base=Base("ward", "0.9.0", "3" * 64))
    bundle = deliver(place, delta)
    before = {name: one for name, one in below(bundle.parent).items() if "ootstrap" in name}
    done = place.airgap("paperwork", bundle)
    assert done.code == 0, done.err
    assert "bootstrap/ and bootstrap.sh stay as they are: a delta does not hold" in done.err
    after = below(bundle.parent)
    assert {name: after[name] for name in before} == before


def test_a_second_signature_is_in_the_page(delivered, place):
    place.keygen("bob")
    bob = ("sign", delivered, "--key", "bob", "--passphrase-file", place.passphrase)
    assert place.airgap(*bob).code == 0
    with delivered.open("rb"):
        page = (delivered.parent / PAGE).read_text()
    assert page.count("-signature statement.json.") == 2


def test_the_head_alone_makes_the_page(delivered):
    from airgap import volumes  # noqa: PLC0415 - this test alone opens a bundle
    from airgap.bootstrap_text import bootstrap_text  # noqa: PLC0415

    with volumes.opened(delivered) as source:
        assert bootstrap_text(read_head(source)) == (delivered.parent / PAGE).read_text()
