"""`push` and `pull` with a registry: Debian's own, copied by skopeo, and one that lies."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import trustme

MIB = 1 << 20
PASSWORD_HASH = "$2b$04$feS7cRhI0NVPpwInABASWuAOJG6dOSIx1y5qOs/g9PdMP9NQhT0om"
"""Of `site-password`, by bcrypt, which is what the registry takes."""


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def manifest(registry: str, reference: str, repository: str = "speech/ward") -> dict[str, Any]:
    connection = HTTPConnection(registry)
    headers = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    connection.request("GET", f"/v2/{repository}/manifests/{reference}", headers=headers)
    content: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return content


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_there_and_back_by_tag_and_by_digest(
    host: Any, shipment: Path, registry: str, tmp_path: Path
) -> None:
    pushed = host.airgap("push", shipment, f"oci://{registry}/speech/ward", "--json")
    assert pushed.code == 0, pushed.err
    (one,) = pushed.document["pushed"]
    assert one["where"] == f"oci://{registry}/speech/ward:ward-1.0.0"
    said = manifest(registry, "ward-1.0.0")
    assert said["artifactType"] == "application/vnd.airgap.bundle.v1"
    titles = {layer["annotations"]["org.opencontainers.image.title"] for layer in said["layers"]}
    assert titles == set(files_of(shipment))
    sources = {
        "tag": one["where"],
        "only": f"oci://{registry}/speech/ward",
        "digest": f"oci://{registry}/speech/ward@{one['digest']}",
    }
    for name, source in sources.items():
        pulled = host.airgap("pull", source, "--out", tmp_path / name)
        assert pulled.code == 0, pulled.err
        assert files_of(tmp_path / name / "ward-1.0.0") == files_of(shipment)
        assert f"from           oci://{registry}/speech/ward@{one['digest']}" in pulled.out


def test_another_registry_gets_it_from_skopeo(
    host: Any,
    shipment: Path,
    registry_of: Callable[..., str],
    tmp_path: Path,
    foreign: Callable[[str], str],
) -> None:
    """What we push is an artifact to others: they copy it, digest and all."""
    skopeo = foreign("skopeo")
    here, there = registry_of("here"), registry_of("there")
    pushed = host.airgap("push", shipment, f"oci://{here}/speech/ward:v1", "--json")
    (one,) = pushed.document["pushed"]
    copied = subprocess.run(
        [
            *(skopeo, "copy", "--insecure-policy", "--preserve-digests"),
            *("--src-tls-verify=false", "--dest-tls-verify=false"),
            *(f"docker://{here}/speech/ward:v1", f"docker://{there}/mirror/ward:v1"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert copied.returncode == 0, copied.stderr
    source = f"oci://{there}/mirror/ward@{one['digest']}"
    pulled = host.airgap("pull", source, "--out", tmp_path / "in")
    assert pulled.code == 0, pulled.err
    assert files_of(tmp_path / "in/ward-1.0.0") == files_of(shipment)


def test_what_is_there_is_not_sent_again(host: Any, shipment: Path, line: Any) -> None:
    where = f"oci://{line.host}/speech/ward"
    assert host.airgap("push", shipment, where).code == 0
    line.seen.clear()
    again = host.airgap("push", shipment, where, "--json")
    assert again.document["pushed"][0]["sent"] == 0
    assert line.asked("PATCH") == []


def test_a_tag_with_another_content_is_not_moved(
    host: Any, shipment: Path, registry: str, write: Callable[..., Path]
) -> None:
    where = f"oci://{registry}/speech/ward:stable"
    first = host.airgap("push", shipment, where, "--json").document["pushed"][0]["digest"]
    newer = write("newer", version="1.1.0", sequence=8)
    refused = host.airgap("push", newer, where)
    assert refused.code == 1
    assert f"there {first}" in refused.err
    assert "here sha256:" in refused.err
    assert (
        manifest(registry, "stable")["annotations"]["org.opencontainers.image.version"] == "1.0.0"
    )
    assert host.airgap("push", newer, where, "--replace").code == 0
    assert (
        manifest(registry, "stable")["annotations"]["org.opencontainers.image.version"] == "1.1.0"
    )


def test_a_push_whose_line_was_cut_goes_on_in_the_middle_of_a_blob(
    host: Any, shipment: Path, line: Any, tmp_path: Path
) -> None:
    patches = iter(range(100))
    line.refuse = lambda method, _path: 503 if method == "PATCH" and next(patches) == 12 else None
    pushed = host.airgap("push", shipment, f"oci://{line.host}/speech/ward", "--json")
    assert pushed.code == 0, pushed.err
    size = (shipment / "ward-1.0.0.tar.zst").stat().st_size
    pieces = -(-size // MIB)
    others = len(files_of(shipment))  # each of them, and the empty config, in one piece
    assert len(line.asked("PATCH")) == pieces + others + 1  # one piece twice
    pulled = host.airgap("pull", pushed.document["pushed"][0]["where"], "--out", tmp_path / "in")
    assert pulled.code == 0, pulled.err


def test_a_line_that_is_cut_within_a_piece_begins_the_blob_anew(
    host: Any, shipment: Path, line: Any, tmp_path: Path
) -> None:
    """The registry has more of it than it has said, and drops such an upload."""
    patches = iter(range(100))
    line.spoil = lambda method, _path, body: (
        None if method == "PATCH" and next(patches) == 12 else body
    )
    pushed = host.airgap("push", shipment, f"oci://{line.host}/speech/ward", "--json")
    assert pushed.code == 0, pushed.err
    others = len(files_of(shipment)) + 1  # the empty config
    assert len(line.asked("POST")) == others + 1
    pulled = host.airgap("pull", pushed.document["pushed"][0]["where"], "--out", tmp_path / "in")
    assert pulled.code == 0, pulled.err


def test_a_blob_that_never_gets_through_is_given_up(host: Any, shipment: Path, line: Any) -> None:
    """Each try gets its first pieces through, so that the tries alone never end."""
    line.spoil = lambda method, path, body: (
        None if method == "PATCH" and len(line.asked(method, path.partition("?")[0])) > 2 else body
    )
    failed = host.airgap("push", shipment, f"oci://{line.host}/speech/ward")
    assert failed.code == 1
    assert "'ward-1.0.0.tar.zst': the registry 127.0.0.1" in failed.err
    assert "broke off 4 times, and lost what it had; at last 2.1 MB of " in failed.err
    assert "airgap split" in failed.err
    assert "tags" not in manifest(line.host, "ward-1.0.0")
    assert line.asked("PUT", "/manifests/") == []


def test_a_truncated_upload_is_not_taken(host: Any, shipment: Path, line: Any) -> None:
    def shorten(method: str, body: bytes | None) -> bytes | None:
        return body[:-1] if method == "PATCH" and body and len(body) == MIB else body

    line.drop = shorten
    failed = host.airgap("push", shipment, f"oci://{line.host}/speech/ward")
    assert failed.code == 1
    assert "ward-1.0.0.tar.zst" in failed.err
    assert "tags" not in manifest(line.host, "ward-1.0.0")
    assert line.asked("PUT", "/manifests/") == []


def test_a_pull_that_was_cut_off_goes_on(
    host: Any, shipment: Path, line: Any, tmp_path: Path
) -> None:
    where = f"oci://{line.host}/speech/ward:v1"
    assert host.airgap("push", shipment, where).code == 0
    path = shipment / "ward-1.0.0.tar.zst"
    blob = hashlib.sha256(path.read_bytes()).hexdigest()
    line.spoil = lambda _method, path, body: None if blob in path else body
    failed = host.airgap("pull", where, "--out", tmp_path / "in")
    assert failed.code == 1
    came = (tmp_path / "in/.ward-1.0.0.pulling/ward-1.0.0.tar.zst").stat().st_size
    assert path.stat().st_size // 2 <= came < path.stat().st_size
    line.spoil = lambda _method, _path, body: body
    line.seen.clear()
    pulled = host.airgap("pull", where, "--out", tmp_path / "in")
    assert pulled.code == 0, pulled.err
    assert [one[2] for one in line.asked("GET", blob)] == [None, f"bytes={came}-"]


def test_a_registry_that_sends_other_bytes(
    host: Any, shipment: Path, line: Any, tmp_path: Path
) -> None:
    where = f"oci://{line.host}/speech/ward:v1"
    assert host.airgap("push", shipment, where).code == 0
    line.spoil = lambda method, _path, body: (
        body[:-70_000] + b"\0" + body[-69_999:] if method == "GET" and len(body) > MIB else body
    )
    failed = host.airgap("pull", where, "--out", tmp_path / "in")
    assert failed.code == 1
    assert "expected sha256" in failed.err
    assert not (tmp_path / "in/.ward-1.0.0.pulling/ward-1.0.0.tar.zst").exists()


def test_a_registry_that_lies_about_the_digest_of_a_tag(
    host: Any, shipment: Path, line: Any, tmp_path: Path
) -> None:
    where = f"oci://{line.host}/speech/ward:v1"
    assert host.airgap("push", shipment, where).code == 0
    line.lied["Docker-Content-Digest"] = f"sha256:{'0' * 64}"
    failed = host.airgap("pull", where, "--out", tmp_path / "in")
    assert failed.code == 1
    assert f"is sha256:{'0' * 64}, and sends sha256:" in failed.err
    assert left(tmp_path / "in") == []


def test_a_registry_that_sends_another_manifest_than_the_pinned_one(
    host: Any, shipment: Path, line: Any, tmp_path: Path
) -> None:
    pushed = host.airgap("push", shipment, f"oci://{line.host}/speech/ward", "--json")
    digest = pushed.document["pushed"][0]["digest"]
    line.spoil = lambda _method, path, body: (
        body.replace(b"ward-1.0.0.tar", b"warx-1.0.0.tar") if "/manifests/" in path else body
    )
    source = f"oci://{line.host}/speech/ward@{digest}"
    refused = host.airgap("pull", source, "--out", tmp_path / "in", "--json")
    assert refused.code == 3
    assert refused.document["rule"] == "site.digest"
    assert left(tmp_path / "in") == []


def test_a_consistent_forgery_is_refused_by_the_trust_store(
    host: Any, write: Callable[..., Path], bob: Any, registry: str, tmp_path: Path
) -> None:
    """Every digest fits: whoever owns the registry made them. Nobody trusted signed it."""
    where = f"oci://{registry}/speech/ward:v1"
    assert host.airgap("push", write("forged", [bob], title="ward"), where).code == 0
    refused = host.airgap("pull", where, "--out", tmp_path / "in")
    assert refused.code == 3
    assert left(tmp_path / "in") == []


@pytest.mark.parametrize("title", ["../../escaped", "/escaped", "a/b/c", "..", ".hidden"])
def test_a_title_that_leads_out_is_not_taken(
    host: Any, shipment: Path, line: Any, tmp_path: Path, title: str
) -> None:
    where = f"oci://{line.host}/speech/ward:v1"
    (shipment / "leaflet.pdf").write_bytes(b"a paper of nobody's")
    assert host.airgap("push", shipment, where).code == 0

    def rename(_method: str, path: str, body: bytes) -> bytes:
        named = json.dumps(title).encode()
        return body.replace(b'"leaflet.pdf"', named) if "/manifests/" in path else body

    line.spoil = rename
    line.lied["Docker-Content-Digest"] = None  # not told at all
    pulled = host.airgap("pull", where, "--out", tmp_path / "in/deep")
    assert pulled.code == 0, pulled.err
    assert f"not taken, for nobody signed them or no key here can tell: {title}" in pulled.err
    assert files_of(tmp_path / "in/deep/ward-1.0.0").keys() == files_of(shipment).keys() - {
        "leaflet.pdf"
    }
    assert left(tmp_path / "in") == ["deep"]


def test_what_is_no_bundle_is_told(host: Any, line: Any, shipment: Path, tmp_path: Path) -> None:
    where = f"oci://{line.host}/speech/ward:v1"
    absent = host.airgap("pull", where, "--out", tmp_path / "in")
    assert absent.code == 1
    assert "has no 'oci://" in absent.err
    assert host.airgap("push", shipment, where).code == 0
    assert host.airgap("push", shipment, where.replace("v1", "v2")).code == 0
    several = host.airgap("pull", where.removesuffix(":v1"), "--out", tmp_path / "in")
    assert several.code == 2
    assert "has 2 tags: v1, v2" in several.err
    line.spoil = lambda _method, path, body: b"[]" if "/manifests/" in path else body
    line.lied["Docker-Content-Digest"] = "sha256:" + "0" * 64
    assert host.airgap("pull", where, "--out", tmp_path / "in").code == 1
    assert left(tmp_path / "in") == []


def test_credentials_come_from_where_docker_leaves_them(
    host: Any,
    shipment: Path,
    registry_of: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accounts = tmp_path / "htpasswd"
    accounts.write_text(f"site:{PASSWORD_HASH}\n")
    registry = registry_of("locked", auth=f"auth: {{htpasswd: {{realm: site, path: {accounts}}}}}")
    where = f"oci://{registry}/speech/ward"
    refused = host.airgap("push", shipment, where)
    assert refused.code == 1
    assert "wants credentials" in refused.err
    assert "skopeo login" in refused.err
    folder = tmp_path / "docker"
    folder.mkdir()
    secret = base64.b64encode(b"site:not-the-password").decode()
    (folder / "config.json").write_text(json.dumps({"auths": {registry: {"auth": secret}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    wrong = host.airgap("push", shipment, where)
    assert wrong.code == 1
    assert "answered 401" in wrong.err
    assert secret not in wrong.err
    assert "not-the-password" not in wrong.err
    secret = base64.b64encode(b"site:site-password").decode()
    (folder / "config.json").write_text(json.dumps({"auths": {registry: {"auth": secret}}}))
    pushed = host.airgap("push", shipment, where)
    assert pushed.code == 0, pushed.err


def test_a_registry_that_wants_a_token(
    host: Any, shipment: Path, line: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Harbor and GitLab do: a challenge names who gives tokens, and for what."""
    secret = base64.b64encode(b"site:site-password").decode()
    line.token, line.user = "a-token-of-today", f"Basic {secret}"
    where = f"oci://{line.host}/speech/ward:v1"
    refused = host.airgap("pull", where, "--out", tmp_path / "in")
    assert refused.code == 1
    assert "wants credentials" in refused.err
    login = tmp_path / "login.json"
    login.write_text(json.dumps({"auths": {line.host: {"auth": secret}}}))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(login))
    pushed = host.airgap("push", shipment, where)
    assert pushed.code == 0, pushed.err
    pulled = host.airgap("pull", where, "--out", tmp_path / "in")
    assert pulled.code == 0, pulled.err
    assert line.token not in pushed.err + pulled.err


def test_plain_http_is_for_this_machine_alone(host: Any, shipment: Path) -> None:
    """A name that is not this machine's own gets TLS: nothing is sent in clear unasked."""
    failed = host.airgap("push", shipment, "oci://registry.invalid:5000/speech/ward")
    assert failed.code == 1
    assert "cannot be reached" in failed.err


def test_a_site_of_its_own_authority(
    host: Any,
    shipment: Path,
    registry_of: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "PIP_CERT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain, key, ca = (tmp_path / name for name in ("chain.pem", "key.pem", "ca.pem"))
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(ca)
    registry = registry_of("sealed", tls=f", tls: {{certificate: {chain}, key: {key}}}")
    where = f"oci://{registry}/speech/ward"
    unknown = host.airgap("push", shipment, where, "--tls")
    assert unknown.code == 1
    assert "--ca-bundle" in unknown.err
    known = host.airgap("push", shipment, where, "--tls", "--ca-bundle", ca)
    assert known.code == 0, known.err
