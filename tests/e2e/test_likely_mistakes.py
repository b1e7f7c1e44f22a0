"""The ten mistakes that people make first: the very words that they read, and nothing written.

Each says what was expected and found, and what to type next.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys

import pytest

pytestmark = pytest.mark.heavy


@pytest.fixture
def unchanged(demo_host):
    """The host that a mistake was made on is as it was; its audit log may tell of a refusal."""

    def files():
        paths = (path for path in demo_host.root.rglob("*") if "audit" not in path.parts)
        return sorted((str(path), path.lstat().st_mtime_ns) for path in paths if path.is_file())

    before = files()
    yield
    assert files() == before


def told(said, code, *lines):
    assert (said.code, said.err.splitlines()) == (code, [*lines])
    assert said.out == ""


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("verb", ["verify", "mount"])
def test_the_wrong_file(demo_host, tmp_path, verb):
    film = tmp_path / "film.mkv"
    film.write_bytes(b"\x1a\x45\xdf\xa3 a film, and no bundle" * 10_000)
    told(
        demo_host.airgap(verb, film),
        3,
        f"error: '{film}' is no airgap bundle: expected a head of 65536 bytes that starts with "
        "502a4d18f8ff0000, found 1a45dfa320612066",
        "  rule: head.magic; up to: who made the copy; if another copy is refused too, who built "
        "the bundle",
        "  next: check that the file was copied whole, and that it is the .tar.zst itself",
    )


@pytest.mark.usefixtures("unchanged")
def test_no_such_file(demo_host, tmp_path):
    absent = tmp_path / "demo-1.0.0.tar.zst"
    told(
        demo_host.airgap("mount", absent),
        1,
        f"error: cannot open '{absent}': No such file or directory",
        "  next: check the path, and that the medium is mounted: findmnt",
    )


@pytest.mark.usefixtures("unchanged")
def test_a_missing_volume(demo_host, demo_site, tmp_path):
    folder = tmp_path / "stick"
    split = demo_site.place.airgap("split", demo_site.bundle, "--size", "30M", "--out", folder)
    assert split.code == 0, split.err
    (lost,) = folder.rglob("*.002")
    lost.unlink()
    told(
        demo_host.airgap("mount", lost.parent),
        3,
        f"error: missing in '{lost.parent}': '{lost.name}'",
        "  rule: volumes.missing; up to: who made the copy; if another copy is refused too, who "
        "built the bundle",
        f"  next: copy '{lost.name}' there, or give the folder that has the rest: --also FOLDER",
    )


def test_no_trust(place, demo_site):
    told(
        place.airgap("mount", demo_site.bundle),
        3,
        f"error: no trust store in '{place.root}/trust', so no signature can be trusted",
        "  rule: trust.missing; up to: who signed the bundle, or who keeps this host's policy",
        "  next: airgap trust init, then: airgap trust add PUBKEYS --signer NAME --fingerprint FPR",
    )
    assert not (place.root / "store").exists()


def test_the_wrong_passphrase(demo_site, tmp_path):
    bundle = tmp_path / demo_site.bundle.name
    shutil.copyfile(demo_site.bundle, bundle)
    wrong = tmp_path / "passphrase"
    wrong.write_text("correct horse battery stable\n")
    keys = demo_site.place.keys
    told(
        demo_site.place.airgap("sign", bundle, "--key", "alice", "--passphrase-file", wrong),
        2,
        f"error: cannot load '{keys}/alice.ed25519.key': the passphrase is wrong",
        "  next: try again; it cannot be recovered, so where it is lost: airgap keygen, and new "
        "trust",
    )
    assert bundle.read_bytes() == demo_site.bundle.read_bytes()


def test_an_unknown_profile(place):
    told(
        place.airgap("build", "dmeo"),
        2,
        "error: no profile is named 'dmeo': did you mean 'demo'?",
        "  next: a file of your own is named by its path: ./dmeo.yaml",
    )
    assert not list(place.folder.glob("d*"))


@pytest.mark.usefixtures("unchanged")
def test_a_port_that_is_taken(demo_host):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        told(
            demo_host.airgap("serve", "--port", str(port)),
            1,
            f"error: port {port} on 127.0.0.1 is taken: another program listens there",
            f"  next: --port {port + 1}; or see which it is: ss -ltnp 'sport = :{port}'",
        )


def test_no_space(make_host, demo_site):
    host = make_host()
    script = f"""
        mount -t tmpfs -o size=40m tmpfs /mnt && cp -a '{host.root}' /mnt/root &&
        '{sys.executable}' -m airgap mount '{demo_site.bundle}' --root /mnt/root
        code=$?
        test -z "$(find /mnt/root/store /mnt/root/staging -type f 2>/dev/null)" || exit 99
        exit $code
    """
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    if "unshare failed" in done.stderr or "must be superuser" in done.stderr:
        pytest.skip("needs a mount namespace: run as root")
    assert done.returncode == 1, done.stderr
    first, then = done.stderr.splitlines()
    assert first.startswith("error: not enough space in '/mnt/root': the bundle needs ")
    assert first.endswith(" are free")
    assert then == "  next: free some space, or choose a larger place with --root"


def test_nothing_is_mounted(place):
    for verb in ("serve", "mirror", "rollback"):
        told(
            place.airgap(verb),
            2,
            f"error: expected one bundle mounted in '{place.root}', found: none",
            "  next: airgap mount BUNDLE",
        )


@pytest.mark.usefixtures("unchanged")
def test_a_model_that_the_bundle_has_not(demo_host):
    told(
        demo_host.airgap("serve", "--model", "large-v3"),
        2,
        "error: expected 'large-v3' of the role asr in 'demo-1.0.0', found: tiny.en",
        "  next: --model tiny.en",
    )


@pytest.mark.usefixtures("unchanged")
def test_what_is_no_audio(demo_host, tmp_path):
    letter = tmp_path / "letter.docx"
    letter.write_bytes(b"PK\x03\x04 not audio at all" * 100)
    said = demo_host.airgap("transcribe", letter)
    assert (said.code, said.out) == (2, "")
    why = "is not audio that can be decoded: Invalid data found when processing input"
    assert said.err.splitlines()[-2:] == [
        f"error: '{letter}' {why}",
        "  next: give a recording such as WAV, FLAC, MP3, M4A, Ogg, Opus, WebM or MP4",
    ]


@pytest.mark.usefixtures("unchanged")
def test_no_gpu(demo_host, jfk):
    """The driver is hidden, where there is one."""
    said = demo_host.airgap("transcribe", jfk, "--device", "cuda", CUDA_VISIBLE_DEVICES="")
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines()[-2:] == [
        "error: device 'cuda': no GPU was found",
        "  next: give --device cpu; airgap doctor --device cuda says what a GPU would need",
    ]
