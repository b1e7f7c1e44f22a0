"""Container images in a bundle: what a profile may say, what is locked, what a scan refuses."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from airgap.errors import AirgapError, UsageError
from bundler.build import build
from bundler.lock import Lock
from bundler.locking import lock_profile
from bundler.profile import Profile
from bundler.scan.findings import Severity
from bundler.scan.images import judge_image
from bundler.scan.verdict import UnsafeError
from bundler.sources import Access
from bundler.sources.local import Local

IMAGE = "{image: server, file: server.tar, source: {local: images}, licence: Apache-2.0}"
PROFILE = """\
profile: 1
name: ward
description: A Whisper and its server
device: cpu
diarization: none
models:
- asr: tiny
images: [IMAGE]
"""
LAYER = b"a layer" * 1000
Files = dict[str, bytes]


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def paper(value: Any) -> bytes:
    return json.dumps(value).encode()


def config_of(*layers: bytes) -> bytes:
    diffs = [f"sha256:{sha(one)}" for one in layers]
    return paper({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": diffs}})


def saved(config: bytes = config_of(LAYER), layer: bytes = LAYER) -> Files:
    """What `docker save` and `podman save` write."""
    name = f"{sha(config)}.json"
    listed = [{"Config": name, "RepoTags": ["server:1"], "Layers": ["layer.tar"]}]
    return {name: config, "layer.tar": layer, "manifest.json": paper(listed)}


def oci(layer: bytes = LAYER, plain: bytes = LAYER) -> Files:
    """An OCI layout, with an index inside its index, as of an image for several platforms."""
    blobs: Files = {}

    def blob(content: bytes, kind: str = "manifest") -> dict[str, Any]:
        blobs[f"blobs/sha256/{sha(content)}"] = content
        kind = f"application/vnd.oci.image.{kind}.v1+json"
        return {"mediaType": kind, "digest": f"sha256:{sha(content)}", "size": len(content)}

    document = {"config": blob(config_of(plain)), "layers": [blob(layer)]}
    inner = blob(paper({"manifests": [blob(paper(document))]}), "index")
    return {
        **blobs,
        "index.json": paper({"manifests": [inner]}),
        "oci-layout": paper({"imageLayoutVersion": "1.0.0"}),
    }


def archive(files: Files, *more: tarfile.TarInfo, twice: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in [*files.items(), *([(twice, b"x")] if twice else [])]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for member in more:
            tar.addfile(member)
    return stream.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def judged(content: bytes) -> Any:
    return judge_image(io.BytesIO(content), "images/server/server.tar")


# --- profile and lock -------------------------------------------------------------------------


def profile(image: str = IMAGE) -> Profile:
    return Profile.parse(PROFILE.replace("IMAGE", image).encode(), "p.yaml")


def test_a_profile_names_an_image() -> None:
    (wanted,) = profile().images
    assert (wanted.name, wanted.file, wanted.licence) == ("server", "server.tar", "Apache-2.0")
    assert (wanted.source, wanted.sha256) == (Local("images"), None)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (IMAGE.replace("image: server, ", ""), "'image'"),
        (IMAGE.replace(", licence: Apache-2.0", ""), "'licence'"),
        (IMAGE.replace("image: server", "image: Server"), "'Server' is not a name that is free"),
        (IMAGE.replace("image: server", "image: tiny"), "'tiny' is not a name that is free"),
        (IMAGE.replace("server.tar", "server.tar.gz"), "expected the name of a .tar"),
        (IMAGE.replace("server.tar", "../server.tar"), "expected the name of a .tar"),
        (IMAGE.replace("}, licence", "}, sha256: abc, licence"), "expected 64 hex digits"),
        (f"{IMAGE}, {IMAGE}", "'images': a name stands twice"),
    ],
)
def test_a_defect_is_named(image: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        profile(image)
    assert said in caught.value.message
    assert caught.value.message.startswith("p.yaml:")


@pytest.fixture
def place(tmp_path: Path) -> Callable[[bytes], None]:
    """Puts an image where the profile's source has it."""
    (tmp_path / "images").mkdir()
    return lambda content: (tmp_path / "images/server.tar").write_bytes(content) and None


def test_an_image_is_locked_by_its_digest(
    place: Callable[[bytes], None], whisper: Any, access: Access
) -> None:
    content = archive(saved())
    place(content)
    lock = lock_profile(profile(), None, access).lock
    (image,) = [one for one in lock.models if one.role == "image"]
    assert [(f.path, f.size, f.sha256) for f in image.files] == [
        ("server.tar", len(content), sha(content))
    ]
    assert access.cache.holds_intact(sha(content))
    assert Lock.parse(lock.to_bytes(), "l") == lock
    assert lock_profile(profile(), lock, access, runtime_only=True).lock == lock
    place(archive(saved(config_of(LAYER[1:]), LAYER[1:])))
    again = lock_profile(profile(), lock, access)
    assert again.lock.sequence == 2
    assert [change.what for change in again.changes] == ["server/server.tar"]


def test_an_image_that_is_not_what_the_profile_says(
    place: Callable[[bytes], None], whisper: Any, access: Access
) -> None:
    place(archive(saved()))
    other = IMAGE.replace("}, licence", f"}}, sha256: '{'0' * 64}', licence")
    with pytest.raises(AirgapError, match=r"'server\.tar' is not what the profile says") as caught:
        lock_profile(profile(other), None, access)
    assert caught.value.exit_code == 1
    assert not access.cache.holds_intact(sha(archive(saved())))


# --- scan ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "files",
    [
        saved(),
        saved(layer=gzip.compress(LAYER)),
        oci(),
        oci(gzip.compress(LAYER)),
        oci(zstandard.compress(LAYER)),
        {**saved(), "repositories": b"{}", f"{'0' * 64}/json": b"{}", f"{'0' * 64}/VERSION": b"1"},
        {**oci(), **saved()},
    ],
    ids=["saved", "saved, gzip", "oci", "oci, gzip", "oci, zstd", "for old readers", "both"],
)
def test_a_sound_image_passes(files: Files) -> None:
    found = judged(archive(files, special("blobs", tarfile.DIRTYPE)))
    assert (found.kind, found.findings) == ("image linux/amd64", ())


def test_a_layer_may_be_a_link_inside_the_archive() -> None:
    """As Docker before 25 saves a layer that two images share."""
    files = saved()
    files["other.tar"] = files.pop("layer.tar")
    found = judged(archive(files, special("layer.tar", tarfile.SYMTYPE, "other.tar")))
    assert found.findings == ()


def without(files: Files, start: str) -> Files:
    return {name: content for name, content in files.items() if not name.startswith(start)}


def altered_blob(files: Files, content: bytes) -> Files:
    return {name: content[:-1] + b"?" if one == content else one for name, one in files.items()}


BROKEN = {
    "not a tar": (b"MZ" * 5000, "it is no image that can be read"),
    "compressed": (gzip.compress(archive(saved())), "it is no image that can be read"),
    "another tar": (archive({"model.bin": b"x"}), "neither manifest.json"),
    "no layer": (archive(without(saved(), "layer")), "'layer.tar' is named in it"),
    "another layer": (archive(saved(layer=b"evil")), "is not what the image names"),
    "another configuration": (
        archive({**saved(), f"{sha(config_of(LAYER))}.json": config_of(b"evil")}),
        "is not what its name says",
    ),
    "a layer more": (
        archive(saved(config_of(LAYER, LAYER))),
        "names 2 layers, and there are 1",
    ),
    "a blob is another": (archive(altered_blob(oci(), LAYER)), "is not what its name says"),
    "no blob": (archive(without(oci(), f"blobs/sha256/{sha(LAYER)}")), "is not there"),
    "no index": (archive(without(oci(), "index")), "'index.json' is named in it"),
    "an empty index": (
        archive({**oci(), "index.json": paper({"manifests": []})}),
        "its index names no image",
    ),
    "another layout": (
        archive({**oci(), "oci-layout": paper({"imageLayoutVersion": "2"})}),
        "expected 1.0.0",
    ),
    "another digest's name": (
        archive({**oci(), "index.json": paper({"manifests": [{"digest": "md5:00", "size": 1}]})}),
        "'md5:00' is named in it",
    ),
    "out of the archive": (
        archive(
            {**oci(), "index.json": paper({"manifests": [{"digest": "sha256:../x", "size": 1}]})}
        ),
        "'sha256:../x' is named in it",
    ),
    "an index of another form": (archive({**oci(), "index.json": b"[1]"}), "no image"),
    "a key twice": (archive({**oci(), "index.json": b'{"a": 1, "a": 2}'}), "no image"),
    "a size that lies": (
        archive(
            {
                **oci(),
                "index.json": paper({"manifests": [{"digest": f"sha256:{sha(LAYER)}", "size": 1}]}),
            }
        ),
        "has 7000 bytes, expected 1",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_image_is_a_danger(name: str) -> None:
    content, said = BROKEN[name]
    (finding,) = judged(content).findings
    assert (finding.severity, finding.rule) == (Severity.DANGER, "image.broken")
    assert said in finding.reason


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (archive(saved(), twice="layer.tar"), "image.twice"),
        (archive(saved(), twice="./layer.tar"), "image.twice"),
        (archive({**saved(), "../../etc/cron.d/x": b"x"}), "image.traversal"),
        (archive({**saved(), "/etc/cron.d/x": b"x"}), "image.traversal"),
        (archive(saved(), special("x", tarfile.SYMTYPE, "/etc/passwd")), "image.link"),
        (archive(saved(), special("x", tarfile.SYMTYPE, "../x")), "image.link"),
        (archive(saved(), special("x", tarfile.LNKTYPE, "layer.tar")), "image.device"),
        (archive(saved(), special("x", tarfile.CHRTYPE)), "image.device"),
        (archive(saved(), special("x", tarfile.FIFOTYPE)), "image.device"),
        (archive(saved(), special("x", tarfile.GNUTYPE_SPARSE)), "image.device"),
    ],
)
def test_what_engines_read_differently_is_a_danger(content: bytes, rule: str) -> None:
    findings = judged(content).findings
    dangers = {one.rule for one in findings if one.severity is Severity.DANGER}
    assert rule in dangers or "image.broken" in dangers
    if "image.broken" not in dangers:
        assert dangers == {rule}


def test_what_nothing_refers_to_is_told() -> None:
    (finding,) = judged(archive({**oci(), "notes.txt": b"x"})).findings
    assert (finding.severity, finding.rule) == (Severity.CAUTION, "image.stranger")
    assert finding.place.endswith("!notes.txt")


def test_a_bomb_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bundler.scan.images.UNPACKED", 5000)
    (finding,) = judged(archive(oci(gzip.compress(LAYER)))).findings
    assert "comes to more than 5000 bytes" in finding.reason
    monkeypatch.setattr("bundler.scan.images.MEMBERS", 2)
    (finding,) = judged(archive(saved())).findings
    assert "more than 2 members" in finding.reason


def test_a_build_refuses_a_broken_image_and_leaves_nothing(
    place: Callable[[bytes], None], whisper: Any, access: Access, tmp_path: Path
) -> None:
    place(archive(saved(layer=b"evil")))
    wanted = profile()
    lock = lock_profile(wanted, None, access).lock
    with pytest.raises(UnsafeError, match=r"image\.broken") as caught:
        build(wanted, lock, access, tmp_path / "out", {}, skip_dry_load=["asr"])
    assert caught.value.exit_code == 3
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_a_bundle_carries_an_image(
    place: Callable[[bytes], None], whisper: Any, access: Access, tmp_path: Path
) -> None:
    place(archive(oci()))
    # The model is one byte after the other, which no judge knows.
    wanted = Profile.parse(
        (PROFILE.replace("IMAGE", IMAGE) + "scan: {dangers: warn}\n").encode(), "p.yaml"
    )
    lock = lock_profile(wanted, None, access).lock
    built = build(wanted, lock, access, tmp_path / "out", {}, skip_dry_load=["asr"])
    (file,) = [one for one in built.manifest.files if one.artifact == "server"]
    assert (file.path, file.sha256) == ("images/server/server.tar", sha(archive(oci())))
    bom = json.loads((built.path.parent / "sbom.cdx.json").read_text())
    assert [one["type"] for one in bom["components"] if one["name"] == "server"] == ["container"]
    assert "server" in (built.path.parent / "REVIEW.html").read_text()
