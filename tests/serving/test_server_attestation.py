"""Where an answer comes from: named by every one, signed where asked, checked offline."""

import copy
import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def signing(site: Any) -> Iterator[Any]:
    """A server that signs."""
    running = site.serve("--attest").wait_until_ready()
    yield running
    assert running.stop() == 0, running.log.read_text()


@pytest.fixture
def client(signing: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{signing.url}/v1", api_key="none", max_retries=0) as one:
        yield one


@pytest.fixture
def verify(site: Any, jfk: Path) -> Callable[..., Any]:
    """`airgap verify --response` on the host that answered."""

    def verify(path: Path, *options: str | Path) -> Any:
        return site.place.airgap("verify", "--response", path, "--audio", jfk, *options)

    return verify


def ask(server: Any, jfk: Path, **form: Any) -> Any:
    """An answer with its headers, by OpenAI's client."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        return client.audio.transcriptions.with_raw_response.create(
            file=jfk, model="whisper-1", **form
        )


def mount_of(site: Any) -> Any:
    return site.place.airgap("list", "--json").document["mounts"][0]


def test_every_answer_says_where_it_comes_from(server: Any, site: Any, jfk: Path) -> None:
    for form in ("json", "text", "srt", "verbose_json"):
        headers = ask(server, jfk, response_format=form, language="en").headers
        assert headers["x-airgap-bundle"] == "demo-1.0.0"
        code = mount_of(site)["approval_code"].replace(" ", "")
        assert headers["x-airgap-statement"] == code
        assert headers["x-airgap-model"].startswith("tiny.en@")
        assert len(headers["x-airgap-model"]) == len("tiny.en@") + 40
        assert "faster-whisper/1." in headers["x-airgap-engine"]
        assert "ctranslate2/4." in headers["x-airgap-engine"]
        options = json.loads(headers["x-airgap-options"])
        assert (options["language"], options["beam_size"], options["task"]) == (
            "en",
            5,
            "transcribe",
        )
        digest = hashlib.sha256(jfk.read_bytes()).hexdigest()
        assert headers["x-airgap-audio"] == f"sha256={digest}"
        assert "x-airgap-attestation" not in headers


def test_what_a_client_wrote_is_named_by_its_digest(server: Any, jfk: Path) -> None:
    answered = ask(server, jfk, prompt="Mrs Miller, room 7", response_format="verbose_json")
    assert "Miller" not in str(answered.headers)
    assert "prompt_sha256" in json.loads(answered.headers["x-airgap-options"])
    body = json.loads(answered.text)
    assert "Miller" not in json.dumps(body["airgap"])
    assert body["airgap"]["options"] == json.loads(answered.headers["x-airgap-options"])
    assert body["airgap"]["bundle"]["name"] == "demo"
    assert "attestation" not in body


def test_the_clients_own_json_holds(
    client: openai.OpenAI, verify: Callable[..., Any], jfk: Path, tmp_path: Path
) -> None:
    """What the client parsed and wrote anew, in its own form, still is what was signed."""
    heard = client.audio.transcriptions.create(
        file=jfk,
        model="whisper-1",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    path = tmp_path / "answer.json"
    path.write_text(heard.to_json(indent=4))
    said = verify(path)
    assert said.code == 0, said.err
    assert "signed by this host on 20" in said.out
    assert f"audio          that of {jfk}" in said.out


@pytest.mark.parametrize("form", ["json", "text", "srt", "vtt"])
def test_other_answers_have_it_in_a_header(
    signing: Any, verify: Callable[..., Any], jfk: Path, tmp_path: Path, form: str
) -> None:
    answered = ask(signing, jfk, response_format=form)
    path = tmp_path / f"answer.{form}"
    path.write_bytes(answered.content)
    beside = path.with_name(f"{path.name}.attestation.json")
    beside.write_text(answered.headers["x-airgap-attestation"])
    assert sum(len(name) + len(value) for name, value in answered.headers.items()) < 4000
    assert verify(path).code == 0
    path.write_bytes(answered.content.replace(b"your", b"their", 1))
    said = verify(path)
    assert said.code == 3
    assert ("its text" if form == "json" else "its content") in said.err


def test_curl_alone_takes_it_away(
    signing: Any, verify: Callable[..., Any], jfk: Path, tmp_path: Path
) -> None:
    """As docs/attestation.md says."""
    command = (
        f"curl --silent {signing.url}/v1/audio/transcriptions -F file=@{jfk} -F model=whisper-1 "
        "-F response_format=srt -D headers -o jfk.srt && "
        "sed -n 's/^x-airgap-attestation: //Ip' headers > jfk.srt.attestation.json"
    )
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    assert verify(tmp_path / "jfk.srt").code == 0


def test_a_stream_ends_with_it(
    client: openai.OpenAI, verify: Callable[..., Any], jfk: Path, tmp_path: Path
) -> None:
    events = list(client.audio.transcriptions.create(file=jfk, model="whisper-1", stream=True))
    assert events[-1].type == "transcript.text.done"
    path = tmp_path / "done.json"
    path.write_text(events[-1].to_json())
    assert verify(path).code == 0
    path.write_text(path.read_text().replace("country", "county"))
    said = verify(path)
    assert said.code == 3
    assert "these do not fit: its text" in said.err


@pytest.fixture(scope="module")
def answer(signing: Any, jfk: Path) -> dict[str, Any]:
    """A signed verbose_json."""
    body: dict[str, Any] = json.loads(ask(signing, jfk, response_format="verbose_json").text)
    return body


@pytest.mark.parametrize(
    ("place", "part"),
    [
        ("text", "text"),
        ("segments.0.text", "segments.text"),
        ("segments.0.start", "segments.start"),
        ("duration", "duration"),
        ("airgap.options.beam_size", "airgap.options"),
        ("airgap.bundle.version", "airgap.bundle"),
        ("airgap.bundle.statement", "airgap.bundle"),
        ("airgap.models.0.commit", "airgap.models"),
        ("airgap.engine.ctranslate2", "airgap.engine"),
        ("airgap.audio.sha256", "airgap.audio"),
    ],
)
def test_what_was_changed_is_named(
    answer: dict[str, Any], verify: Callable[..., Any], tmp_path: Path, place: str, part: str
) -> None:
    changed = copy.deepcopy(answer)
    *way, last = (int(one) if one.isdigit() else one for one in place.split("."))
    inner: Any = changed
    for one in way:
        inner = inner[one]
    old = inner[last]
    inner[last] = f"{old[:-1]}7" if isinstance(old, str) else old + 1
    assert inner[last] != old
    path = tmp_path / "answer.json"
    path.write_text(json.dumps(changed))
    said = verify(path)
    assert said.code == 3
    assert f"these do not fit: its {part}\n" in said.err
    assert said.out == ""


def test_speakers_are_signed_for(
    speaking_site: Any, serve_speaking_with: Callable[..., Any], jfk: Path, tmp_path: Path
) -> None:
    server = serve_speaking_with("--attest")
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        heard = client.audio.transcriptions.create(
            file=jfk, model="gpt-4o-transcribe-diarize", response_format="diarized_json"
        )
    path = tmp_path / "answer.json"
    path.write_text(heard.to_json())
    check = ("verify", "--response", path, "--audio", jfk)
    said = speaking_site.place.airgap(*check)
    assert said.code == 0, said.err
    assert "two-voices (-@None)" not in said.out
    assert "diarization=pyannote" in said.out
    path.write_text(path.read_text().replace("SPEAKER_01", "SPEAKER_00", 1))
    said = speaking_site.place.airgap(*check)
    assert said.code == 3
    assert "these do not fit: its segments.speaker\n" in said.err


def test_a_key_that_others_may_read_is_no_start(own_site: Any) -> None:
    assert own_site.place.airgap("audit", "key").code == 0
    (own_site.place.root / "audit/host.key").chmod(0o644)
    said = own_site.place.airgap("serve", "--attest", "--port", "0")
    assert said.code == 1
    assert "others may read it; expected 0600" in said.err
    assert "listening" not in said.err
