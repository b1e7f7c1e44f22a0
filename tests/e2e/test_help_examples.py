"""Every example that `--help` gives is typed, on a machine where its files are what they say."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme
import typer.main

from airgap import cli, places, signing

pytestmark = pytest.mark.heavy

LARGE = 1 << 20
"""Bytes of a file above which machines share it, where no example changes it."""

CHANGES_BUNDLES = ("sign", "repair", "paperwork")

_NEW_TRUST = "cp -r root/trust new-trust; sed -i 's/^version: 1/version: 2/' new-trust/policy.yaml"
_ROTATION = f"{_NEW_TRUST}; airgap trust rotate --make policy-2.rotation --from new-trust"
_NEWER = (
    "cp $PROFILES/demo.yaml .; "
    "sed 's/^version: .*/version: 1.1.0/; s/^sequence: 1/sequence: 2/' "
    "$PROFILES/demo.lock.yaml > demo.lock.yaml; airgap build ./demo.yaml --key alice"
)
_SURVEYED = "airgap survey > survey.sh; sh survey.sh > site.txt"

BEFORE = {
    "airgap build demo --key alice": "rm -r demo-1.0.0",
    "airgap build ./ward-7.yaml --key alice --key bob --out /srv/bundles": (
        "cp $PROFILES/demo.yaml ward-7.yaml; cp $PROFILES/demo.lock.yaml ward-7.lock.yaml"
    ),
    "airgap carry demo-1.0.0 /media/stick": "rm -r media/stick/*",
    "airgap diff demo-1.0.0/manifest.json demo-1.1.0/demo-1.1.0.tar.zst": (
        "mkdir demo-1.1.0; cp demo-1.0.0.tar.zst demo-1.1.0/demo-1.1.0.tar.zst"
    ),
    "airgap diff demo-1.0.0/manifest.json ./demo.lock.yaml": "cp $PROFILES/demo.lock.yaml .",
    "airgap fetch --import /media/usb/cache": "airgap fetch demo --export media/usb/cache",
    "airgap scan ~/models/pytorch_model.bin": (
        "mkdir models; python -c 'import pickle; print(end=pickle.dumps({}, 0).decode())' "
        "> models/pytorch_model.bin"
    ),
    "airgap scan ./speaker-model --json": "mkdir speaker-model; echo {} > speaker-model/a.json",
    "airgap doctor /media/stick/demo-1.0.0.tar.zst": "cp demo-1.0.0.tar.zst media/stick",
    "airgap repair --mounted /media/stick/demo-1.0.0.tar.zst": "cp demo-1.0.0.tar.zst media/stick",
    "openssl pkeyutl -sign -inkey KEY -rawin -in demo.pae -out demo.sig": (
        "airgap sign demo-1.0.0.tar.zst --export demo.pae; cp keys/officer.ed25519.key KEY"
    ),
    "airgap sign demo-1.0.0.tar.zst --import demo.sig --public-key KEY.pub": (
        "airgap sign demo-1.0.0.tar.zst --export demo.pae; "
        "cp keys/officer.ed25519.pub KEY.pub; openssl pkeyutl -sign "
        "-inkey keys/officer.ed25519.key -rawin -in demo.pae -out demo.sig"
    ),
    "airgap trust init": "rm -r $AIRGAP_ROOT",
    "airgap trust init --threshold 2 --accept 'ward-*'": "rm -r $AIRGAP_ROOT",
    "airgap apikey revoke ward-7": "airgap apikey add ward-7",
    "airgap serve --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem": "airgap apikey add ward-7",
    "airgap mirror --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem": (
        "airgap apikey add ward-7"
    ),
    "airgap serve --print-unit > /etc/systemd/system/airgap.service": "mkdir -p etc/systemd/system",
    "airgap audit verify --against /media/stick/ward-7-2026-01-31.audit": (
        "airgap audit export media/stick/ward-7-2026-01-31.audit"
    ),
    "airgap trust rotate --make policy-2.rotation --from new-trust": _NEW_TRUST,
    "airgap sign policy-2.rotation --key alice": _ROTATION,
    "airgap trust rotate policy-2.rotation": (
        f"{_ROTATION}; airgap sign policy-2.rotation --key alice"
    ),
    "sh survey.sh > site.txt": "airgap survey > survey.sh",
    "airgap plan cpu-small --site site.txt": _SURVEYED,
    "airgap update /media/stick/demo-1.1.0": f"{_NEWER}; cp -r demo-1.1.0 media/stick",
    "airgap rollback": f"{_NEWER}; airgap mount demo-1.1.0",
    "airgap rollback demo --to 3": "for _ in 2 3 4; do airgap mount demo-1.0.0; done",
    "airgap transcribe recordings --format srt --format json --out texts": (
        "mkdir recordings; cp call.wav recordings"
    ),
    "airgap transcribe *.wav --language en --attest": "cp call.wav another.wav",
    "find /archive -name '*.mp3' | airgap transcribe --from-file - --out texts": (
        "mkdir archive; cp call.wav archive/call.mp3"
    ),
    "airgap verify --response meeting.srt --audio meeting.m4a": (
        "airgap transcribe meeting.m4a --format srt --attest --out ."
    ),
    "HF_ENDPOINT=http://127.0.0.1:8001 hf download Systran/faster-whisper-tiny.en": (
        'airgap mirror 2> mirror.log & trap "kill $!" EXIT; '
        'until grep -q \'"event": "ready"\' mirror.log; do sleep 0.1; done'
    ),
    "airgap trust add host.pub --signer ward-7 --role receipt --fingerprint '51bb …'": (
        "export AIRGAP_ROOT=$HOME/ward-7; airgap audit key --json > key.json; "
        "cp ward-7/audit/host.pub .; export AIRGAP_ROOT=$HOME/root"
    ),
}
"""What a person has done before, where the machine as it is made does not have it."""

ENDS = {
    "airgap plan cpu-small --site site.txt": {0, 1},  # what is planned for may be another machine
    "airgap doctor --device cuda --compute-type float16 --json": {0, 1},  # with a GPU, without
}
"""Exit codes other than 0."""

_STORE = "needs a store of the site's: tests/isolated/site"
_IMAGE = "needs a bundle with an image: tests/isolated/test_load.py"
_LIBRARIES = "needs a bundle with more models: tests/speakers"

NOT_HERE = {
    "airgap push demo-1.0.0 s3://whisper-models/models": _STORE,
    "airgap push demo-1.0.0 oci://registry.site:5000/speech/demo": _STORE,
    "airgap pull s3://whisper-models/models/demo-1.0.0": _STORE,
    "airgap pull oci://registry.site:5000/speech/demo:demo-1.0.0 --out /srv/bundles": _STORE,
    "airgap runtime install": "needs a bundle with a runtime: tests/e2e/test_bootstrap.py",
    "airgap update demo-1.1.0.tar.zst --service airgap.service": (
        "needs systemd: tests/isolated/test_update.py"
    ),
    "airgap lock ./my-profile.yaml --runtime-only": (
        "needs a package index: tests/connected/test_wheelhouse.py"
    ),
    "airgap load": _IMAGE,
    "airgap load airgap-cpu --to podman": _IMAGE,
    "airgap load --to ./airgap-cpu.tar": _IMAGE,
    "airgap lock ./my-profile.yaml": "needs a hub: tests/connected/test_connected_cli.py",
    "airgap fetch gpu-full --export /media/usb/cache": "needs 10 GB from a hub",
    "airgap keygen alice": "asks on a terminal: tests/isolated/test_keygen_verb.py",
    "airgap keygen alice --cnsa2 --out /media/key-stick": "asks on a terminal: likewise",
    "airgap build demo --key alice --base demo-1.0.0/manifest.json": (
        "needs a newer lock: tests/connected/test_delta_build.py"
    ),
    "airgap transcribe meeting.m4a --diarization auto --speakers 2": _LIBRARIES,
    "airgap transcribe call.wav --format json --emotion": _LIBRARIES,
}
"""What one machine without a network, a terminal or other people cannot do, and who tests it."""


def commands() -> Iterator[tuple[str, Any]]:
    """Each verb with its command, those inside groups as well."""
    cli._load_verbs()
    waiting = [("airgap", typer.main.get_command(cli.app))]
    while waiting:
        name, command = waiting.pop(0)
        yield name, command
        inner = getattr(command, "commands", {})
        waiting += [(f"{name} {one}", inner[one]) for one in inner]


def examples() -> list[str]:
    """The lines under `Examples:`, in the order of the help."""
    found = []
    for _name, command in commands():
        _, _, block = (command.help or "").partition("Examples:")
        found += [line.strip() for line in block.splitlines() if line.strip()]
    return found


def test_every_verb_gives_an_example() -> None:
    without = [
        name
        for name, command in commands()
        if not hasattr(command, "commands") and "Examples:" not in (command.help or "")
    ]
    assert without == []


def test_no_example_is_excused_that_is_not_given() -> None:
    assert {*BEFORE, *ENDS, *NOT_HERE} <= set(examples())


@pytest.fixture(scope="module")
def machine(
    demo_site: Any,
    demo_files: Mapping[str, Path],
    jfk: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Both sides on one machine: keys without passphrases, the demo built, trusted and mounted.

    Its download cache is its own: an example clears it.
    """
    folder = tmp_path_factory.mktemp("machine")
    place = type(demo_site.place)(folder)
    place.passphrase.write_text("unused\n")
    shutil.copytree(demo_site.place.keys, place.keys)
    place.trust("alice", demo_site.fingerprint)
    secret = demo_site.place.passphrase.read_bytes().strip()
    for path in place.keys.glob("*.key"):
        path.write_bytes(signing.load(path, secret).to_pem(None))
    for name in ("bob", "officer"):
        assert place.airgap("keygen", name, "--unencrypted").code == 0
    assert place.airgap("mount", demo_site.bundle).code == 0
    for target in ("demo-1.0.0", "media/stick/demo-1.0.0"):
        shutil.copytree(demo_site.bundle.parent, folder / target)
    shutil.copyfile(demo_site.bundle, folder / "demo-1.0.0.tar.zst")
    for path in demo_files.values():
        kept = folder / ".cache/airgap" / path.relative_to(places.download_cache())
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, kept)
    for path in place.keys.glob("*.pub"):
        shutil.copy(path, folder)
    for name in ("meeting.m4a", "call.wav"):
        shutil.copyfile(jfk, folder / name)
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    server.private_key_and_cert_chain_pem.write_to_path(str(folder / "cert.pem"))
    server.private_key_pem.write_to_path(str(folder / "key.pem"))
    return folder


def copied(machine: Path, folder: Path, *, share: bool) -> Path:
    """A machine for one example; two names of one file stay that."""
    twins: dict[int, str] = {}

    def copy(source: str, target: str) -> None:
        there = Path(source).stat()
        if share and there.st_size > LARGE:
            os.link(source, target)
        elif there.st_ino in twins:
            os.link(twins[there.st_ino], target)
        else:
            shutil.copy2(source, target)
            twins[there.st_ino] = target

    own = folder / "machine"
    shutil.copytree(machine, own, copy_function=copy, symlinks=True)
    return own


@pytest.mark.parametrize("example", [one for one in examples() if one not in NOT_HERE])
def test_an_example_does_what_it_is_given_for(
    example: str, machine: Path, tmp_path: Path, demo_site: Any, empty_network: list[str]
) -> None:
    share = not any(f"airgap {verb} " in example for verb in CHANGES_BUNDLES)
    own = copied(machine, tmp_path, share=share)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(own),
        "AIRGAP_ROOT": str(own / "root"),
        "AIRGAP_KEYS": str(own / "keys"),
        "AIRGAP_CACHE": str(own / ".cache/airgap"),
        "PROFILES": str(Path(cli.__file__).parents[1] / "profiles"),
        "NO_COLOR": "1",
    }
    typed = re.sub(r"(?<![\w.])/(media|srv|etc|archive)\b", rf"{own}/\1", example)
    key = signing.load(machine / "keys/alice.ed25519.key", None).public.key_id
    typed = typed.replace("7f3a 09c1 …", demo_site.fingerprint).replace("6953120a", key[:8])
    typed = typed.replace("'51bb …'", '"$(jq -r .fingerprint key.json)"')
    # In a network of its own a port is free, whoever else runs this.
    script = f"ip link set lo up\n{{ {BEFORE.get(example, ':')}; }} >/dev/null 2>&1\n{typed}"
    serves = re.search("airgap (serve|mirror)", example)
    done = run([*empty_network, "bash", "-c", script], own, environment, until_told=serves)
    assert done.returncode in ENDS.get(example, {0}), done.stderr
    shutil.rmtree(own)


def run(
    command: list[str], folder: Path, environment: dict[str, str], *, until_told: Any
) -> subprocess.CompletedProcess[str]:
    """A command, its questions answered with y; a server is stopped when it is ready."""
    log = folder / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
        assert process.stdin is not None
        with process.stdin as answers:
            answers.write(b"y\n")
        deadline = time.monotonic() + 120
        while process.poll() is None:
            if until_told and '"event": "ready"' in log.read_text():
                os.killpg(process.pid, signal.SIGTERM)
                until_told = None
            if time.monotonic() > deadline:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.05)
    return subprocess.CompletedProcess(command, process.returncode, "", log.read_text())
