"""From a host without airgap to a transcript, by the words of BOOTSTRAP.md alone.

The wheels are those of what is installed here, packed again; the host is a PATH with coreutils,
openssl and a Python, an empty home, and a namespace without a network.
"""

from __future__ import annotations

import base64
import ensurepip
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from airgap import keys, pack, papers, signing, tar
from airgap.digest import grouped
from airgap.envelope import Envelope
from airgap.keys import PublicKey
from airgap.manifest import Artifact, File
from bundler.bootstrap.kit import make_kit, write_kit
from runtime import generation

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).parents[2]
TOOLS = (
    *("cat", "chmod", "cp", "cut", "df", "dirname", "du", "head", "mkdir", "mv", "rm", "sha256sum"),
    *("sha384sum", "uname", "wc", "env", "openssl", "sh", "ls", "id", "date", "tr"),
)
CARRIES = ("tar", "gzip")
TARGET = f"cp3{sys.version_info.minor}-manylinux_2_17_{platform.machine()}"
SENTENCE = "ask what you can do for your country"


# --- wheels of what is installed here -----------------------------------------------------------


def wheel(files: Mapping[str, bytes], tag: str) -> tuple[str, bytes]:
    """A wheel of these files, with its RECORD; stored, since a bundle compresses."""
    info = next(path for path in files if path.endswith(".dist-info/METADATA")).split("/")[0]
    lines = []
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(content)}")
    record = "\n".join([*lines, f"{info}/RECORD,,\n"]).encode()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path, one in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(path), one)
    return f"{info.removesuffix('.dist-info')}-{tag}.whl", content.getvalue()


def repacked(name: str) -> tuple[str, bytes]:
    """The wheel that a distribution was installed from, as far as it lies in site-packages."""
    one = metadata.distribution(name)
    files = {
        str(path): Path(str(path.locate())).read_bytes()
        for path in one.files or ()
        if not str(path).startswith("..")
        and "__pycache__" not in path.parts
        and path.name not in {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
    }
    tags = re.findall(r"^Tag: (.+)$", one.read_text("WHEEL") or "", re.MULTILINE)
    parts = zip(*(tag.split("-") for tag in tags), strict=True)
    return wheel(files, "-".join(".".join(dict.fromkeys(part)) for part in parts))


def own() -> tuple[str, bytes]:
    """This project's wheel, out of the checkout."""
    one = metadata.distribution("airgap-bundler")
    info = f"airgap_bundler-{one.version}.dist-info"
    kinds = {".py", ".sh", ".yaml", ".css", ".html", ".typed"}
    files = {
        str(path.relative_to(ROOT)): path.read_bytes()
        for package in ("airgap", "bundler", "runtime", "profiles")
        for path in sorted((ROOT / package).rglob("*"))
        if path.suffix in kinds or path.name == "py.typed"
    }
    files |= {
        f"{info}/METADATA": str(one.metadata).encode(),
        f"{info}/entry_points.txt": (one.read_text("entry_points.txt") or "").encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    return wheel(files, "py3-none-any")


def closure(*wanted: str) -> Iterator[str]:
    """Names of distributions that are installed here, of what is wanted and all that it needs."""
    seen: set[tuple[str, str]] = set()
    todo = [Requirement(one) for one in wanted]
    while todo:
        one = todo.pop()
        name = re.sub(r"[-_.]+", "-", one.name).lower()
        for extra in ("", *one.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            todo += [
                needed
                for needed in map(Requirement, metadata.requires(name) or ())
                if needed.marker is None or needed.marker.evaluate({"extra": extra})
            ]
    yield from sorted({name for name, _ in seen} - {"airgap-bundler"})


def pip() -> tuple[str, bytes]:
    """pip's own wheel, which every CPython brings."""
    (path,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    return path.name, path.read_bytes()


def wheelhouse() -> dict[str, bytes]:
    """What the bundle's tree has below `wheels/`."""
    found = {"airgap-bundler[cpu]": own(), "pip": pip()}
    found |= {name: repacked(name) for name in closure("airgap-bundler[cpu]")}
    lines = []
    for name, (file, content) in sorted(found.items()):
        digest = hashlib.sha256(content).hexdigest()
        lines.append(f"{name}=={file.split('-')[1]} --hash=sha256:{digest}\n")
    tree = {f"wheels/{file}": content for file, content in found.values()}
    return {**tree, f"wheels/requirements-{TARGET}.txt": "".join(lines).encode()}


def carried_python() -> bytes:
    """A relocatable Python: this one's own, whose prefix follows its place."""
    top = Path(sys.base_prefix)
    version = f"python3.{sys.version_info.minor}"
    packed = io.BytesIO()

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        parts = member.name.split("/")
        return None if {"__pycache__", "site-packages", "test", "tests"} & set(parts) else member

    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        archive.add(top / "bin" / version, f"python/bin/{version}")
        link = tarfile.TarInfo("python/bin/python3")
        link.type, link.linkname = tarfile.SYMTYPE, version
        archive.addfile(link)
        archive.add(top / "lib" / version, f"python/lib/{version}", filter=plain)
        for library in sorted((top / "lib").glob("libpython3*.so*")):
            archive.add(library, f"python/lib/{library.name}")
    return packed.getvalue()


# --- a bundle with them, delivered, and the officer's key ---------------------------------------


@dataclass(frozen=True)
class Delivery:
    """A medium with a bundle and its papers, and the officer's public keys, by algorithm."""

    medium: Path
    keys: Mapping[str, PublicKey]


@pytest.fixture(scope="module")
def delivery(demo_host, tmp_path_factory) -> Callable[..., Delivery]:
    """Makes deliveries. What lies below `wheels/` is packed once."""
    wheels = wheelhouse()
    officer = tuple(signing.generate(one) for one in (keys.ED25519, keys.ECDSA_P384))

    def delivered(*, carried: bool = False) -> Delivery:
        folder = tmp_path_factory.mktemp("delivery")
        more = {f"wheels/python/{TARGET}.tar.gz": carried_python()} if carried else {}
        medium = folder / "demo-2.0.0"
        medium.mkdir()
        write(demo_host, medium, {**wheels, **more}, officer)
        return Delivery(medium, {one.public.algorithm: one.public for one in officer})

    return delivered


def write(demo_host, medium: Path, more: Mapping[str, bytes], officer) -> None:
    """The demo, as version 2.0.0 and with a runtime, signed, with its papers."""
    with generation.current(demo_host.root, "demo") as demo:
        old = {file.path: file for file in demo.manifest.files}
        extra = [
            File(path, len(one), hashlib.sha256(one).hexdigest(), None, 0, None)
            for path, one in more.items()
        ]
        files = sorted((*old.values(), *extra), key=lambda file: file.path)
        manifest = replace(
            demo.manifest,
            version="2.0.0",
            sequence=demo.manifest.sequence + 1,
            artifacts=(
                *demo.manifest.artifacts,
                Artifact("wheels", "wheels", None, "wheels", None, None, "various", gated=False),
            ),
            files=tuple(file for _, file in tar.members(files, demo.manifest.created)),
        )

        def opened(file: File):
            if file.path in more:
                return io.BytesIO(more[file.path])
            return (demo.folder.path / file.path).open("rb")

        kit = make_kit(manifest, opened)
        bundle = medium / "demo-2.0.0.tar.zst"
        with bundle.open("x+b") as stream:
            statement = pack.write_bundle(stream, manifest, opened, "sha256", beside=kit.signed)
            envelope = signing.sign(Envelope(statement.to_bytes(), ()), officer)
            pack.write_head(stream, envelope)
        write_kit(kit, medium, opened)
        papers.write(bundle, {}, {})


@pytest.fixture(scope="module")
def plain(delivery) -> Delivery:
    """A bundle for hosts with a Python. Do not change its files."""
    return delivery()


# --- a host with next to nothing ----------------------------------------------------------------


@dataclass(frozen=True)
class Bare:
    """A host: an empty home but for the officer's key, and a PATH of a few tools."""

    home: Path
    path: Path
    prefix: tuple[str, ...]
    medium: Path
    key: PublicKey

    def run(self, script: str, *prefix: str) -> subprocess.CompletedProcess[str]:
        """Run lines of a shell, in the folder of the bundle."""
        return subprocess.run(
            [*self.prefix, *prefix, str(self.path / "sh"), "-c", script],
            cwd=self.medium,
            env={"PATH": str(self.path), "HOME": str(self.home)},
            capture_output=True,
            text=True,
            check=False,
        )

    def commands(self) -> list[tuple[str, str]]:
        """What BOOTSTRAP.md says to type, for the key that is at hand, with what it shows."""
        page = (self.medium / "BOOTSTRAP.md").read_text()
        mine = grouped(self.key.key_id[:8])
        page = re.sub(rf"Key (?!{mine})[0-9a-f ]+ ….*?```\n", "", page, flags=re.DOTALL)
        number = grouped(self.key.key_id)
        page = page.replace("--fingerprint NUMBER", f"--fingerprint '{number}'")
        blocks = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
        return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", "".join(blocks), re.MULTILINE)

    def follow(self, *prefix: str, last: str = "") -> tuple[subprocess.CompletedProcess[str], str]:
        """Type them all, one after the other; stop where one fails or shows something else.

        Args:
            prefix: a program to run the shell by.
            last: how the last one to type begins; nothing is typed after it.

        Returns:
            How the shell ended, and the last command that was typed.
        """
        script, typed = ["set -e"], ""
        for command, shown in self.commands():
            compare = f'\n[ "$shown" = {quoted(shown.strip())} ]' if shown.strip() else ""
            script.append(
                f"printf '%s\\n' {quoted('$ ' + command)}\n"
                + (f"shown=$({command})" if compare else command)
                + compare
            )
            if last and command.startswith(last):
                break
        done = self.run("\n".join(script), *prefix)
        typed = [line for line in done.stdout.splitlines() if line.startswith("$ ")][-1]
        return done, typed


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@pytest.fixture
def bare(tmp_path, empty_network, foreign) -> Callable[..., Bare]:
    """Makes hosts for a delivery, whose medium is a copy of its own."""

    def bare(
        one: Delivery, *tools: str, copy: bool = True, algorithm: str = keys.ECDSA_P384
    ) -> Bare:
        path = tmp_path / "bin"
        path.mkdir()
        for tool in (*TOOLS, *tools):
            found = sys.base_prefix + "/bin/python3" if tool == "python3" else shutil.which(tool)
            assert found, f"'{tool}' is not installed"
            (path / tool).symlink_to(found)
        home = tmp_path / "home"
        home.mkdir()
        (home / "officer.pub").write_text(one.keys[algorithm].pem)
        medium = one.medium
        if copy:
            medium = tmp_path / "stick" / one.medium.name
            shutil.copytree(one.medium, medium, copy_function=os.link)
        unshare = (foreign("unshare"), *empty_network[1:])
        return Bare(home, path, unshare, medium, one.keys[algorithm])

    foreign("openssl")
    return bare


def altered(path: Path, at: int = -100) -> None:
    """Flip a bit of a file that may have other names."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.unlink()
    path.write_bytes(content)


# --- the way there ------------------------------------------------------------------------------


def test_the_page_leads_from_a_bare_host_to_the_transcript(plain, bare):
    host = bare(plain, "python3")
    done, typed = host.follow()
    assert done.returncode == 0, f"{typed}\n{done.stdout}\n{done.stderr}"
    assert typed == "$ ~/airgap/bin/airgap runtime try demo"
    assert SENTENCE in done.stdout
    assert "Running in OFFLINE mode" in done.stderr
    heard = host.run(
        '~/airgap/bin/airgap transcribe "$HOME"/.local/share/airgap/mounts/demo/'
        "current/samples/*/jfk.wav"
    )
    assert heard.returncode == 0, heard.stderr
    assert SENTENCE in heard.stdout
    examined = host.run("~/airgap/bin/airgap doctor --quiet")
    assert examined.returncode == 0, examined.stdout  # by the runtime, as it would serve
    serve = host.run("~/airgap/bin/airgap serve")
    assert serve.returncode == 2
    assert "`airgap serve` needs fastapi, which is not installed" in serve.stderr
    assert "whose profile has `server` among the `extras` of its `runtime`" in serve.stderr
    left = sorted(one.name for one in host.home.iterdir())
    assert left == [".local", "airgap", "officer.pub", "papers"]


def test_the_same_with_the_bundles_own_python(delivery, bare):
    host = bare(delivery(carried=True), *CARRIES)
    assert not (host.path / "python3").exists()
    done, typed = host.follow()
    assert done.returncode == 0, f"{typed}\n{done.stdout}\n{done.stderr}"
    assert SENTENCE in done.stdout
    again = host.run(
        f"rm {host.path}/gzip; {NO_WHEELS}; sh bootstrap.sh --key ~/officer.pub --to ~/again"
    )
    assert (again.returncode, "'gzip' is not installed" in said(again)) == (1, True)
    runs = host.run("~/airgap/bin/python -c 'import sys; print(sys.base_prefix)'")
    assert runs.stdout.strip() == str(host.home / "airgap/python")


def test_an_ed25519_key_leads_to_airgap_as_well(plain, bare):
    host = bare(plain, "python3", algorithm=keys.ED25519)
    done, typed = host.follow(last="sh bootstrap.sh")
    assert done.returncode == 0, f"{typed}\n{done.stdout}\n{done.stderr}"
    assert "$ openssl pkeyutl -verify -pubin -inkey ~/officer.pub -rawin" in done.stdout
    assert "openssl dgst" not in done.stdout
    assert "signed by" in done.stdout
    assert (host.home / "airgap/bin/airgap").exists()


# --- and what stops it --------------------------------------------------------------------------


@pytest.mark.parametrize("victim", ["statement.json", "statement.json.{}.sig"])
def test_an_ed25519_signature_that_does_not_hold_is_refused(plain, bare, victim):
    host = bare(plain, "python3", algorithm=keys.ED25519)
    altered(host.medium / victim.format(host.key.key_id[:8]), 20)
    done, typed = host.follow()
    assert done.returncode != 0
    assert typed.startswith("$ openssl pkeyutl -verify")
    done = host.run(RUN)
    assert done.returncode == 3
    assert "is bad: somebody changed the statement" in said(done)
    assert not (host.home / "airgap").exists()


@pytest.mark.parametrize(
    ("victim", "at", "stops"),
    [
        ("statement.json", 50, "openssl dgst"),
        ("statement.json.*.sig", 20, "openssl dgst"),
        ("bootstrap.sh", 3000, "sha256sum bootstrap.sh"),
        ("bootstrap/SHA256SUMS", 5, "sh bootstrap.sh"),
        ("bootstrap/pip-*.whl", 5000, "sh bootstrap.sh"),
        ("bootstrap/airgap_bundler-*.whl", -50, "sh bootstrap.sh"),
        ("bootstrap/requirements-*.txt", 5, "sh bootstrap.sh"),
        ("demo-2.0.0.tar.zst", 70_000, "airgap verify"),
        ("demo-2.0.0.tar.zst", -9, "airgap verify"),
    ],
)
def test_what_was_altered_is_refused_before_anything_of_it_runs(
    plain, bare, strace, tmp_path, *, victim, at, stops
):
    host = bare(plain, "python3")
    for path in host.medium.glob(victim):
        altered(path, at)
    trace = tmp_path / "trace"
    done, typed = host.follow(strace, "-f", "-qq", "-e", "trace=execve", "-s", "4096", "-o", trace)
    assert done.returncode != 0
    assert stops in typed
    ran = [
        found[1]
        for line in trace.read_text(errors="replace").splitlines()
        if line.endswith("= 0") and (found := re.search(r'execve\("([^"]+)", (.*)', line))
    ]
    of_airgap = [program for program in ran if program.startswith(f"{host.home}/airgap/bin")]
    if stops == "airgap verify":
        assert "refused" in done.stderr or "not what was signed" in done.stderr
        assert not (host.home / ".local/share/airgap/mounts").exists()
        return
    assert of_airgap == []
    pythons = {program for program in ran if "python" in Path(program).name}
    host_s_own = {str(host.path / "python3")} if victim in LISTED else set()
    assert pythons <= host_s_own  # asked what it is, once the list was found to be signed
    assert not (host.home / "airgap").exists()
    if stops == "sh bootstrap.sh":
        assert "refused: " in done.stderr
        assert "next: copy it again" in done.stderr
    else:
        assert '["sh", "bootstrap.sh", "--key"' not in trace.read_text(errors="replace")


def said(done) -> str:
    return done.stderr.strip()


def stand_in(tool: str, does: str) -> str:
    """Lines of a shell that put another program in a tool's place; $P is the PATH."""
    return f"rm $P/{tool}; printf '#!%s/sh\\n%s\\n' $P '{does}' >$P/{tool}; chmod +x $P/{tool}"


LISTED = ("bootstrap/pip-*.whl", "bootstrap/airgap_bundler-*.whl", "bootstrap/requirements-*.txt")
"""Altered files of which the list is what was signed."""

RUN = "sh bootstrap.sh --key ~/officer.pub --to ~/airgap"


NO_WHEELS = "rm bootstrap/*.whl"
"""What is looked at before a wheel is copied needs none of them."""


def test_every_key_that_is_given_must_have_signed(plain, bare, tmp_path):
    host = bare(plain, "python3")
    stranger = signing.generate(keys.ECDSA_P384).public
    (host.home / "second.pub").write_text(stranger.pem)
    done = host.run(f"{RUN} --key ~/second.pub")
    assert done.returncode == 3
    assert f"'statement.json.{stranger.key_id[:8]}.sig' is not there" in said(done)
    assert not (host.home / "airgap").exists()


def test_the_same_key_twice_is_not_two_keys(plain, bare):
    host = bare(plain, "python3")
    shutil.copyfile(host.home / "officer.pub", host.home / "again.pub")
    done = host.run(f"{RUN} --key ~/again.pub")
    assert done.returncode == 2
    assert "was given already" in said(done)
    assert not (host.home / "airgap").exists()


def test_a_signature_by_another_key_under_this_ones_name_is_refused(plain, bare):
    host = bare(plain, "python3")
    stranger = signing.generate(keys.ECDSA_P384)
    (host.home / "officer.pub").write_text(stranger.public.pem)
    (signed,) = (
        one for one in host.medium.glob("statement.json.*.sig") if one.stat().st_size != 64
    )
    shutil.copyfile(signed, host.medium / f"statement.json.{stranger.public.key_id[:8]}.sig")
    done = host.run(RUN)
    assert done.returncode == 3
    assert "is bad: somebody changed the statement" in said(done)
    assert not (host.home / "airgap").exists()


def test_a_file_that_nobody_signed_is_not_taken_along(plain, bare):
    host = bare(plain, "python3")
    (host.medium / "bootstrap/pip-99-py3-none-any.whl").write_bytes(b"not a wheel")
    (host.medium / "bootstrap/sitecustomize.py").write_text("raise SystemExit('ran')")
    done = host.run(RUN)
    assert done.returncode == 0, done.stderr
    assert not list((host.home / "airgap").rglob("sitecustomize.py"))


def test_a_link_on_the_medium_is_refused(plain, bare):
    host = bare(plain, "python3")
    (path,) = (host.medium / "bootstrap").glob("pip-*.whl")
    path.unlink()
    path.symlink_to("/dev/zero")
    done = host.run(RUN)
    assert done.returncode == 3
    assert "is no plain file" in said(done)
    assert not (host.home / "airgap").exists()


@pytest.mark.parametrize(
    ("breaks", "code", "message", "hint"),
    [
        ("rm $P/openssl", 1, "'openssl' is not installed", "install coreutils and openssl"),
        (
            f"rm $P/python3; {NO_WHEELS}",
            1,
            "and no python3",
            "or ask for a bundle that carries one",
        ),
        ("mkdir ~/airgap", 1, "is there already", "give another folder"),
        (
            stand_in("openssl", "echo OpenSSL 1.0.2k"),
            1,
            "expected OpenSSL 1.1.1 or newer, found OpenSSL 1.0.2k",
            "install a newer openssl",
        ),
        (
            f"{stand_in('uname', '[ $1 = -m ] && echo riscv64 || echo Linux')}; {NO_WHEELS}",
            1,
            "found riscv64",
            "install such a Python",
        ),
        (
            stand_in("df", "echo x; echo x 1 1 100 1 x"),
            1,
            "has 100 KiB free",
            "free some space",
        ),
    ],
)
def test_what_the_host_lacks_is_named_with_what_to_do(plain, bare, *, breaks, code, message, hint):
    host = bare(plain, "python3")
    done = host.run(f"P={host.path}; {breaks}; {RUN}")
    assert done.returncode == code, done.stderr
    assert message in said(done)
    assert hint in said(done).splitlines()[-1]
    assert not (host.home / "airgap/bin").exists()


def with_openssl_1_1_1(host: Bare) -> Bare:
    """The host, with a stand-in that knows no -rawin, as the command line of 1.1.1."""
    real = shutil.which("openssl")
    (host.path / "openssl").unlink()
    (host.path / "openssl").write_text(
        f"#!{host.path}/sh\n"
        'case "$*" in version) echo "OpenSSL 1.1.1k  FIPS 25 Mar 2021"; exit ;; '
        f'*-rawin*) exit 1 ;; esac\nexec {real} "$@"\n'
    )
    (host.path / "openssl").chmod(0o755)
    return host


def test_openssl_1_1_1_checks_a_p384_signature(plain, bare):
    done = with_openssl_1_1_1(bare(plain, "python3")).run(RUN)
    assert done.returncode == 0, done.stderr


def test_openssl_1_1_1_is_told_from_a_bad_ed25519_signature(plain, bare):
    host = with_openssl_1_1_1(bare(plain, "python3", algorithm=keys.ED25519))
    done = host.run(RUN)
    assert done.returncode == 1
    assert "this openssl cannot check the key" in said(done)
    assert "next: give that owner's NAME.ecdsa-p384.pub" in said(done)
    assert not (host.home / "airgap").exists()


@pytest.mark.parametrize(
    "arguments", ["", "--to x", "--key ~/officer.pub", "--key", "--keys a --to b"]
)
def test_a_wrong_command_line_says_what_is_right(plain, bare, arguments):
    host = bare(plain, "python3")
    done = host.run(f"sh bootstrap.sh {arguments}")
    assert done.returncode == 2
    assert "next: sh bootstrap.sh --key officer.pub" in said(done)
