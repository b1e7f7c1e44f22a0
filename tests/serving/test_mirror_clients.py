"""The hub's real clients, and ours, against a mirror."""

import hashlib
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme

REPOSITORY = "Systran/faster-whisper-tiny.en"

PROFILE = """\
profile: 1
name: inside
description: The same model, from a mirror inside the site
device: cpu
diarization: none
models:
  - asr: tiny.en
"""


def run(folder: Path, url: str, *command: str | Path, **variables: str) -> str:
    """What a client prints that has nothing but an address."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    done = subprocess.run(
        [str(one) for one in command],
        cwd=folder,
        env={**kept, "HOME": str(folder), "HF_ENDPOINT": url, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def python(folder: Path, url: str, program: str, **variables: str) -> Any:
    """What a program prints as JSON."""
    return json.loads(run(folder, url, sys.executable, "-c", program, **variables))


def test_hf_download_gets_what_was_signed(
    mirror: Any, tmp_path: Path, demo_files: Mapping[str, Path]
) -> None:
    hf = Path(sys.executable).with_name("hf")
    run(tmp_path, mirror.url, hf, "download", REPOSITORY, "--local-dir", tmp_path / "there")
    found = {path.name: path.read_bytes() for path in (tmp_path / "there").glob("[!.]*")}
    names = ("config.json", "model.bin", "tokenizer.json", "vocabulary.txt")
    assert found == {name: demo_files[name].read_bytes() for name in names}


ASKS = """
import json
import huggingface_hub
from huggingface_hub import HfApi, errors, hf_hub_download, snapshot_download
name, api, said = "Systran/faster-whisper-tiny.en", HfApi(), {}
said["version"] = huggingface_hub.__version__
folder = snapshot_download(name, allow_patterns=["*.json"])
said["commit"] = folder.rpartition("/")[2]
said["offline"] = snapshot_download(
    name, allow_patterns=["*.json"], local_files_only=True) == folder
info = api.model_info(name, files_metadata=True)
said["licence"] = info.card_data.license
said["lfs"] = {file.rfilename: file.lfs.sha256 for file in info.siblings if file.lfs}
said["tree"] = [(file.path, file.size, file.blob_id) for file in api.list_repo_tree(name)]
for what, ask in {
    "repository": lambda: hf_hub_download("nobody/nothing", "config.json"),
    "revision": lambda: hf_hub_download(name, "config.json", revision="v9"),
    "file": lambda: hf_hub_download(name, "absent.json"),
}.items():
    try:
        ask()
    except (errors.RepositoryNotFoundError, errors.EntryNotFoundError,
            errors.RevisionNotFoundError) as error:
        said[what] = [one.__name__ for one in type(error).__mro__]
print(json.dumps(said))
"""


def test_the_hubs_library_reads_everything_that_it_asks(
    mirror: Any,
    tmp_path: Path,
    demo_lock: Any,
    demo_files: Mapping[str, Path],
    hub_client: Any,
) -> None:
    said = python(tmp_path, mirror.url, ASKS, **hub_client.variables)
    assert said["version"].startswith(hub_client.version)
    model = next(one for one in demo_lock.models if one.repository == REPOSITORY)
    assert said["commit"] == model.commit
    assert said["offline"]
    assert said["licence"] == model.licence
    assert said["lfs"] == {"model.bin": sha256(demo_files["model.bin"])}
    sizes = {name: size for name, size, _blob in said["tree"]}
    assert sizes == {file.path: file.size for file in model.files}
    assert "RepositoryNotFoundError" in said["repository"]
    assert "RevisionNotFoundError" in said["revision"]
    assert "EntryNotFoundError" in said["file"]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_blob_of_a_small_file_is_gits(wire: Any, demo_files: Mapping[str, Path]) -> None:
    _status, headers, body = wire.get(f"/{REPOSITORY}/resolve/main/config.json")
    content = demo_files["config.json"].read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    assert (headers["etag"], body) == (f'"{blob}"', content)


@pytest.mark.heavy
def test_airgap_locks_and_fetches_from_it(
    mirror: Any, fresh_place: Callable[[], Any], demo_lock: Any, demo_files: Mapping[str, Path]
) -> None:
    place = fresh_place()
    (place.folder / "inside.yaml").write_text(PROFILE)
    environment = {**place.environment(), "HF_ENDPOINT": mirror.url}
    environment |= {"AIRGAP_CACHE": str(place.folder / "cache")}

    def airgap(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "airgap", *arguments],
            cwd=place.folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    airgap("lock", "inside.yaml")
    (theirs,) = (one for one in demo_lock.models if one.repository == REPOSITORY)
    assert str(theirs.commit) in (place.folder / "inside.lock.yaml").read_text()
    airgap("fetch", "inside.yaml")
    fetched = {sha256(path) for path in (place.folder / "cache").rglob("*") if path.is_file()}
    assert {sha256(demo_files[file.path]) for file in theirs.files} <= fetched


def test_a_download_goes_on_where_it_broke_off(
    mirror: Any, tmp_path: Path, foreign: Callable[[str], str], demo_files: Mapping[str, Path]
) -> None:
    half = tmp_path / "model.bin"
    whole = demo_files["model.bin"].read_bytes()
    half.write_bytes(whole[: len(whole) // 2])
    url = f"{mirror.url}/{REPOSITORY}/resolve/main/model.bin"
    command = [foreign("curl"), "-sS", "--fail", "--continue-at", "-", "--output", half]
    run(tmp_path, mirror.url, *command, "--write-out", "%{http_code}", url)
    assert half.read_bytes() == whole
    rest = len(whole) - len(whole) // 2
    mirror.wait_for(lambda: mirror.said("request")[-1]["bytes"] == rest)  # written after the answer


def test_thirty_two_clients_at_once(mirror: Any, wire: Any, demo_files: Mapping[str, Path]) -> None:
    path = f"/{REPOSITORY}/resolve/main/tokenizer.json"

    def digest(_number: int) -> str:
        status, _headers, body = wire.get(path)
        assert status == 200
        return hashlib.sha256(body).hexdigest()

    with ThreadPoolExecutor(32) as clients:
        assert set(clients.map(digest, range(96))) == {sha256(demo_files["tokenizer.json"])}
    assert mirror.process.poll() is None


@pytest.mark.heavy
def test_faster_whisper_loads_a_model_by_its_name(
    mirror: Any, tmp_path: Path, jfk: Path, hub_client: Any
) -> None:
    program = f"""
import json
from faster_whisper import WhisperModel
segments, _ = WhisperModel("tiny.en", device="cpu").transcribe({str(jfk)!r})
print(json.dumps(" ".join(segment.text for segment in segments)))
"""
    assert "your country" in python(tmp_path, mirror.url, program, **hub_client.variables)


@pytest.mark.heavy
def test_a_bundle_is_built_from_a_mirror(mirror: Any, fresh_place: Callable[[], Any]) -> None:
    place = fresh_place()
    place.keygen("carol")
    (place.folder / "inside.yaml").write_text(PROFILE)
    environment = {**place.environment(), "HF_ENDPOINT": mirror.url}
    environment |= {"AIRGAP_CACHE": str(place.folder / "cache")}
    for arguments in (
        ("lock", "inside.yaml"),
        ("build", "inside.yaml", "--key", "carol", "--passphrase-file", str(place.passphrase)),
    ):
        subprocess.run(
            [sys.executable, "-m", "airgap", *arguments],
            cwd=place.folder,
            env=environment,
            check=True,
        )
    assert (place.folder / "inside-1.0.0/inside-1.0.0.tar.zst").exists()


def test_a_key_is_asked_for_where_there_are_keys(
    own_site: Any, start_mirror: Callable[..., Any], wire_to: Callable, tmp_path: Path
) -> None:
    made = own_site.place.airgap("apikey", "add", "ward-7")
    assert made.code == 0, made.err
    key = made.out.strip()
    mirror = start_mirror()
    wire = wire_to(mirror)
    for asked in ((), ("Authorization: Bearer wrong",), ("Authorization: Basic " + key,)):
        status, headers, body = wire.get(f"/{REPOSITORY}/resolve/main/config.json", *asked)
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert b"Invalid credentials" in body
        assert wire.get("/", *asked)[0] == 401
    assert wire.get("/health")[0] == 200
    program = f"""
import json
from huggingface_hub import hf_hub_download
print(json.dumps(hf_hub_download({REPOSITORY!r}, "config.json")))
"""
    assert python(tmp_path, mirror.url, program, HF_TOKEN=key).endswith("config.json")
    mirror.wait_for(lambda: mirror.said("request")[-1]["caller"] == "ward-7")
    assert key not in mirror.log.read_text()


def test_tls(
    start_mirror: Callable[..., Any], tmp_path: Path, demo_files: Mapping[str, Path], foreign: Any
) -> None:
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    chain, key, trusted = (tmp_path / name for name in ("chain.pem", "key.pem", "ca.pem"))
    chain.write_bytes(b"".join(one.bytes() for one in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(trusted))
    mirror = start_mirror("--tls-cert", chain, "--tls-key", key)
    assert mirror.url.startswith("https://")
    url = f"{mirror.url}/{REPOSITORY}/resolve/main/model.bin"
    there = tmp_path / "model.bin"
    run(tmp_path, mirror.url, foreign("curl"), "-sS", "--cacert", trusted, "-o", there, url)
    assert there.read_bytes() == demo_files["model.bin"].read_bytes()
    with pytest.raises(ssl.SSLError):
        ssl.get_server_certificate(
            ("127.0.0.1", int(mirror.url.rpartition(":")[2])), ca_certs=str(chain)
        )
    assert mirror.process.poll() is None
