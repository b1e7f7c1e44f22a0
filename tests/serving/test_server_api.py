"""OpenAI's API, spoken by OpenAI's own client and by curl, against the real server."""

import io
import json
import subprocess
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import openai
import pytest
import srt
import webvtt

pytestmark = pytest.mark.heavy

KNOWN = (
    "And so, my fellow Americans, ask not what your country can do for you, "
    "ask what you can do for your country."
)


def plain(text: str) -> str:
    return " ".join(
        "".join(mark for mark in text.lower() if mark.isalpha() or mark.isspace()).split()
    )


def wav(samples: Any, rate: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.asarray(samples) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def curl(*arguments: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body, as curl sees them."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--include", "--max-time", "300", *arguments],
        capture_output=True,
        check=True,
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, body


@pytest.fixture
def client(server: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as one:
        yield one


def test_json(client: openai.OpenAI, jfk: Path) -> None:
    heard = client.audio.transcriptions.create(file=jfk, model="whisper-1")
    assert jiwer.wer(plain(KNOWN), plain(heard.text)) == 0
    assert heard.to_dict() == {
        "text": heard.text,
        "usage": {"type": "duration", "seconds": 11.0},
    }


@pytest.mark.parametrize("name", ["tiny.en", "whisper-1-fast", "whisper-1-quality"])
def test_every_name_of_a_model(client: openai.OpenAI, jfk: Path, name: str) -> None:
    heard = client.audio.transcriptions.create(file=jfk, model=name, language="en")
    assert jiwer.wer(plain(KNOWN), plain(heard.text)) == 0


def test_text(client: openai.OpenAI, jfk: Path) -> None:
    heard = client.audio.transcriptions.create(file=jfk, model="whisper-1", response_format="text")
    assert isinstance(heard, str)
    assert plain(heard) == plain(KNOWN)


def test_subtitles_by_other_parsers(client: openai.OpenAI, jfk: Path) -> None:
    text = client.audio.transcriptions.create(file=jfk, model="whisper-1", response_format="srt")
    cues = list(srt.parse(text))
    assert plain(" ".join(cue.content for cue in cues)) == plain(KNOWN)
    assert 0 <= cues[0].start.total_seconds() < cues[-1].end.total_seconds() <= 11
    text = client.audio.transcriptions.create(file=jfk, model="whisper-1", response_format="vtt")
    captions = list(webvtt.from_string(text))
    assert plain(" ".join(caption.text for caption in captions)) == plain(KNOWN)
    assert len(captions) == len(cues)


def test_verbose_json_has_segments(client: openai.OpenAI, jfk: Path) -> None:
    heard = client.audio.transcriptions.create(
        file=jfk, model="whisper-1", response_format="verbose_json"
    )
    assert heard.segments is not None
    assert heard.words is None
    assert (heard.language, heard.duration) == ("english", 11.0)
    assert [segment.id for segment in heard.segments] == list(range(len(heard.segments)))
    assert "".join(segment.text for segment in heard.segments).strip() == heard.text
    assert set(heard.segments[0].to_dict()) == {
        *("id", "seek", "start", "end", "text", "tokens", "temperature"),
        *("avg_logprob", "compression_ratio", "no_speech_prob"),
    }


@pytest.mark.parametrize("asked", [["word"], ["word", "segment"]])
def test_verbose_json_has_words(client: openai.OpenAI, jfk: Path, asked: list[Any]) -> None:
    heard = client.audio.transcriptions.create(
        file=jfk,
        model="whisper-1",
        response_format="verbose_json",
        timestamp_granularities=asked,
    )
    assert heard.words is not None
    assert plain(" ".join(word.word for word in heard.words)) == plain(KNOWN)
    assert all(0 <= word.start <= word.end <= 11 for word in heard.words)
    assert (heard.segments is None) == ("segment" not in asked)


def test_stream(client: openai.OpenAI, jfk: Path) -> None:
    events = list(client.audio.transcriptions.create(file=jfk, model="whisper-1", stream=True))
    assert {event.type for event in events[:-1]} == {"transcript.text.delta"}
    last = events[-1]
    assert last.type == "transcript.text.done"
    assert last.text == "".join(event.delta for event in events[:-1])  # type: ignore[union-attr]
    assert plain(last.text) == plain(KNOWN)


def test_every_option_at_once(client: openai.OpenAI, jfk: Path) -> None:
    heard = client.audio.transcriptions.create(
        file=jfk,
        model="whisper-1",
        language="en",
        prompt="Washington, 1961.",
        temperature=0.2,
        chunking_strategy="auto",
        extra_body={"hotwords": "Americans"},
    )
    assert "country" in heard.text


def test_silence_has_no_text(client: openai.OpenAI) -> None:
    silence = ("silence.wav", wav(np.zeros(48_000)))
    heard = client.audio.transcriptions.create(
        file=silence, model="whisper-1", response_format="verbose_json"
    )
    assert (heard.text, heard.segments, heard.duration) == ("", [], 3.0)


def test_models(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names == ["tiny.en", "whisper-1", "whisper-1-fast", "whisper-1-quality"]
    one = client.models.retrieve("tiny.en")
    assert (one.object, one.owned_by) == ("model", "demo-1.0.0")
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-4o-transcribe")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("wish", "param", "code", "message"),
    [
        ({"model": ""}, "model", None, "model: "),
        ({"language": "de"}, "language", None, "is English-only: expected language 'en'"),
        ({"language": "klingon-long"}, "language", None, "language: "),
        ({"temperature": 1.5}, "temperature", None, "less than or equal to 1"),
        ({"response_format": "xml"}, "response_format", None, "'json', 'text', 'srt'"),
        (
            {"response_format": "diarized_json"},
            "response_format",
            "diarization_unavailable",
            "needs a bundle with diarization",
        ),
        ({"extra_body": {"diarize": "yes"}}, "response_format", None, "has no place for it"),
        (
            {"response_format": "verbose_json", "extra_body": {"num_speakers": 2}},
            "num_speakers",
            "diarization_unavailable",
            "needs a bundle with diarization",
        ),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities", None, "verbose_json"),
        (
            {"stream": True, "response_format": "srt"},
            "stream",
            None,
            "'json' or 'text' or 'verbose_json' or 'diarized_json'",
        ),
        (
            {
                "stream": True,
                "response_format": "verbose_json",
                "timestamp_granularities": ["word"],
            },
            "timestamp_granularities",
            None,
            "stream goes with timestamp_granularities 'segment', found 'word'",
        ),
        (
            {
                "stream": True,
                "response_format": "verbose_json",
                "extra_body": {"emotion": True},
            },
            "emotion",
            None,
            "emotion is told of the whole: expected no stream",
        ),
        ({"extra_body": {"denoise": "yes"}}, "denoise", None, "Unrecognized request argument"),
        ({"include": ["logprobs"]}, "include[]", None, "Unrecognized request argument"),
        ({"extra_body": {"hotwords": "airgap " * 200}}, None, None, "at most 96 tokens"),
    ],
)
def test_what_cannot_be_is_refused(
    client: openai.OpenAI,
    jfk: Path,
    *,
    wish: dict[str, Any],
    param: str | None,
    code: str | None,
    message: str,
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(**{"file": jfk, "model": "whisper-1", **wish})
    assert (caught.value.param, caught.value.code) == (param, code)
    assert caught.value.type == "invalid_request_error"
    assert message in caught.value.message


def test_an_unknown_model_is_named_with_those_there_are(client: openai.OpenAI, jfk: Path) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.audio.transcriptions.create(file=jfk, model="large-v3")
    assert caught.value.code == "model_not_found"
    assert "expected one of: tiny.en, whisper-1" in caught.value.message


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # OpenAI's, of translations
def test_an_english_model_does_not_translate(client: openai.OpenAI, jfk: Path) -> None:
    with pytest.raises(openai.BadRequestError, match="English-only: it cannot translate"):
        client.audio.translations.create(file=jfk, model="whisper-1")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("nothing.wav", b""),
        ("zip.wav", b"PK\3\4" + b"\0" * 5000),
        ("text.mp3", b"this is no sound" * 100),
        ("playlist.m3u8", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/secret.wav\n"),
        ("headers-only.wav", wav([])),
        ("one-hertz.wav", wav(np.zeros(100), rate=1)),
    ],
)
def test_hostile_audio_is_a_400_with_a_reason(
    client: openai.OpenAI, server: Any, name: str, content: bytes
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(file=(name, content), model="whisper-1")
    assert caught.value.param == "file"
    assert caught.value.code == "invalid_audio"
    assert f"'{name}' is not audio" in caught.value.message
    assert server.process.poll() is None


def test_a_recording_that_is_cut_short_says_so(server: Any, jfk: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.wav"
    cut.write_bytes(jfk.read_bytes()[:200_000])
    wish = ("-F", f"file=@{cut}", "-F", "model=whisper-1")
    status, headers, body = curl(f"{server.url}/v1/audio/transcriptions", *wish)
    assert (status, headers["x-airgap-damaged-packets"]) == (200, "1")
    assert "my fellow americans" in plain(json.loads(body)["text"])


def test_curl(server: Any, jfk: Path) -> None:
    status, headers, body = curl(
        f"{server.url}/v1/audio/transcriptions",
        *("-H", "X-Request-Id: from-the-ward-7"),
        *("-F", f"file=@{jfk}", "-F", "model=whisper-1", "-F", "response_format=text"),
    )
    assert status == 200
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["x-request-id"] == "from-the-ward-7"
    assert headers["cache-control"] == "no-store"
    assert plain(body.decode()) == plain(KNOWN)


def test_the_events_are_openai_s_on_the_wire(server: Any, jfk: Path) -> None:
    status, headers, body = curl(
        f"{server.url}/v1/audio/transcriptions",
        *("-F", f"file=@{jfk}", "-F", "model=whisper-1", "-F", "stream=true"),
    )
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    events = body.decode().split("\n\n")
    assert events.pop() == ""
    assert all(event.startswith("data: {") for event in events)
    assert [json.loads(event[6:])["type"] for event in events[-2:]] == [
        "transcript.text.delta",
        "transcript.text.done",
    ]


def test_verbose_segments_come_as_events(server: Any, jfk: Path) -> None:
    asked = ("-F", f"file=@{jfk}", "-F", "model=whisper-1", "-F", "response_format=verbose_json")
    address = f"{server.url}/v1/audio/transcriptions"
    whole = json.loads(curl(address, *asked)[2])
    stream = curl(address, *asked, "-F", "stream=true")[2].decode()
    begun, *segments, done = [json.loads(event[6:]) for event in stream.split("\n\n")[:-1]]
    assert begun == {
        "type": "transcript.begun",
        "task": "transcribe",
        "language": "english",
        "duration": 11.0,
        "model": "tiny.en",
        "bundle": "demo-1.0.0",
        "airgap": whole["airgap"],
    }
    assert [one.pop("type") for one in segments] == ["transcript.segment"] * len(segments)
    assert segments == whole["segments"]
    assert done == {"type": "transcript.text.done", "text": whole["text"]}


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (("/v1/chat/completions",), 404, "not_found"),
        (("/v1/models", "-X", "POST"), 405, "method_not_allowed"),
        (("/v1/audio/transcriptions", "-X", "POST"), 400, None),
        (("/v1/audio/transcriptions", "-d", "model=whisper-1"), 400, None),
        (("/v1/audio/transcriptions", "-F", "file=no file", "-F", "model=whisper-1"), 400, None),
        (
            (
                "/v1/audio/transcriptions",
                *("-H", "Content-Type: multipart/form-data; boundary=x"),
                *("--data-binary", "no form"),
            ),
            400,
            None,
        ),
        (
            ("/v1/audio/transcriptions", *(["-F", "model=whisper-1"] * 2), "-F", "file=@{jfk}"),
            400,
            None,
        ),
        (
            ("/v1/audio/transcriptions", *(["-F", "file=@{jfk}"] * 2), "-F", "model=whisper-1"),
            400,
            None,
        ),
        (("/v1/audio/transcriptions", *(["-F", "a=b"] * 40)), 400, None),
        (("/v1/audio/transcriptions", "-F", "prompt=<{big}"), 400, None),
    ],
)
def test_every_error_has_openai_s_shape(
    server: Any,
    jfk: Path,
    tmp_path: Path,
    *,
    arguments: tuple[str, ...],
    status: int,
    code: str | None,
) -> None:
    (tmp_path / "big").write_text("x" * 100_000)
    path, *rest = (
        one.replace("{jfk}", str(jfk)).replace("{big}", str(tmp_path / "big")) for one in arguments
    )
    found, _headers, body = curl(f"{server.url}{path}", *rest)
    assert found == status
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    assert error["message"]


def test_the_inventory_and_the_verdict(server: Any, site: Any) -> None:
    _status, _headers, body = curl(f"{server.url}/v1/inventory")
    listed = site.place.airgap("list", "--json").document["mounts"][0]
    told = json.loads(body)
    assert told["verdict"]["approval_code"] == listed["approval_code"]
    assert told["verdict"]["signers"] == ["alice"]
    assert told["serving"] == ["tiny.en"]
    assert told["languages"] == {"tiny.en": ["en"]}
    assert told["network"]["offline"] is True
    assert {"seccomp filter", "no new privileges"} <= set(told["network"]["mechanisms"])
    assert f"{told['network']['escapes_tried']} escapes" in server.said("offline")[0]["message"]
    assert [model["id"] for model in told["inventory"]["models"]] == ["tiny.en"]
    assert [one["id"] for one in told["inventory"]["others"]] == ["jfk"]


def test_metrics_count(server: Any, client: openai.OpenAI, jfk: Path) -> None:
    def number(name: str) -> float:
        text = curl(f"{server.url}/metrics")[2].decode()
        found = [line for line in text.splitlines() if line.startswith(name)]
        return sum(float(line.rpartition(" ")[2]) for line in found)

    before = number('airgap_audio_seconds_total{model="tiny.en"}')
    client.audio.transcriptions.create(file=jfk, model="whisper-1")
    assert number('airgap_audio_seconds_total{model="tiny.en"}') - before == 11.0
    assert number('airgap_requests_total{route="/v1/audio/transcriptions",status="200"}') > 0
    assert number('airgap_model_load_seconds{model="tiny.en"}') > 0
    assert number("airgap_ready") == 1
    assert number("airgap_requests_inside") == 0


def test_the_log_tells_no_text_and_no_file_name(
    server: Any, client: openai.OpenAI, jfk: Path
) -> None:
    named = ("mrs-miller-biopsy.wav", jfk.read_bytes())
    client.audio.transcriptions.create(file=named, model="whisper-1", prompt="Miller")
    with pytest.raises(openai.BadRequestError):
        client.audio.transcriptions.create(file=("mrs-miller-biopsy.wav", b"x"), model="whisper-1")
    server.wait_for(lambda: server.said("request")[-1]["status"] == 400)  # written after the answer
    log = server.log.read_text().lower()
    assert "country" not in log
    assert "miller" not in log
    last = server.said("request")[-2]
    assert (last["status"], last["audio_seconds"], last["model"]) == (200, 11.0, "tiny.en")
