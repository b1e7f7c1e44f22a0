"""Who speaks, asked by OpenAI's own client of the real server, with a back end by a script."""

import json
import threading
import urllib.request
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import srt
import webvtt

from runtime.server.limits import SHORT_UPLOAD

pytestmark = pytest.mark.heavy

FIRST, LAST = "And so, my fellow Americans", "for your country."


@pytest.fixture
def client(speaking_server: Any) -> Iterator[openai.OpenAI]:
    with client_of(speaking_server) as one:
        yield one


def client_of(server: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def test_diarized_json(client: openai.OpenAI, jfk: Path) -> None:
    heard = client.audio.transcriptions.create(
        file=jfk,
        model="gpt-4o-transcribe-diarize",
        response_format="diarized_json",
        chunking_strategy="auto",
    )
    first, *_, last = heard.segments
    assert (first.speaker, last.speaker) == ("SPEAKER_00", "SPEAKER_01")
    assert first.text.startswith(FIRST)
    assert last.text.endswith(LAST)
    assert " ".join(one.text for one in heard.segments) == heard.text
    assert [one.id for one in heard.segments] == [
        f"seg_{number:03}" for number in range(1, len(heard.segments) + 1)
    ]
    assert {one.type for one in heard.segments} == {"transcript.text.segment"}
    assert (heard.task, heard.duration) == ("transcribe", 11.0)
    assert heard.usage is not None
    assert heard.usage.type == "duration"
    assert all(0 <= one.start <= one.end <= 11 for one in heard.segments)


@pytest.mark.parametrize("model", ["tiny.en", "whisper-1-fast"])
def test_any_model_can_be_asked_who_speaks(client: openai.OpenAI, jfk: Path, model: str) -> None:
    heard = client.audio.transcriptions.create(
        file=jfk, model=model, response_format="diarized_json", extra_body={"num_speakers": 2}
    )
    assert {one.speaker for one in heard.segments} == {"SPEAKER_00", "SPEAKER_01"}


def test_a_stream_tells_each_segment_with_its_speaker(client: openai.OpenAI, jfk: Path) -> None:
    whole = client.audio.transcriptions.create(
        file=jfk, model="whisper-1", response_format="diarized_json"
    )
    events = list(
        client.audio.transcriptions.create(
            file=jfk, model="whisper-1", response_format="diarized_json", stream=True
        )
    )
    segments = [event for event in events if event.type == "transcript.text.segment"]
    deltas = [event for event in events if event.type == "transcript.text.delta"]
    assert [one.to_dict() for one in segments] == [one.to_dict() for one in whole.segments]
    assert [one.segment_id for one in deltas] == [one.id for one in segments]
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == "".join(one.delta for one in deltas) == whole.text


def test_verbose_segments_come_with_their_speakers(client: openai.OpenAI, jfk: Path) -> None:
    asked: Any = {"file": jfk, "model": "whisper-1", "response_format": "verbose_json"}
    whole = client.audio.transcriptions.create(**asked, extra_body={"diarize": True})
    events = list(
        client.audio.transcriptions.create(**asked, extra_body={"diarize": True}, stream=True)
    )
    # The client knows no such event, and takes it for another, whose id is a text.
    told: Any = [
        event.to_dict(warnings=False) for event in events if event.type == "transcript.segment"
    ]
    assert [one.pop("type") for one in told] == ["transcript.segment"] * len(told)
    assert told == whole.to_dict()["segments"]
    assert {one["speaker"] for one in told} == {"SPEAKER_00", "SPEAKER_01"}


def test_verbose_json_has_speakers_of_segments_and_words(client: openai.OpenAI, jfk: Path) -> None:
    heard = client.audio.transcriptions.create(
        file=jfk,
        model="whisper-1",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        extra_body={"diarize": True},
    )
    body = heard.to_dict()
    assert [segment["id"] for segment in body["segments"]] == list(range(len(body["segments"])))  # type: ignore[attr-defined,arg-type]
    assert body["segments"][0]["speaker"] == "SPEAKER_00"  # type: ignore[index]
    assert body["words"][-1]["speaker"] == "SPEAKER_01"  # type: ignore[index]
    plain = client.audio.transcriptions.create(
        file=jfk, model="whisper-1", response_format="verbose_json", extra_body={"diarize": True}
    )
    assert plain.words is None
    assert plain.text == heard.text


def test_text_subtitles_and_rttm(client: openai.OpenAI, jfk: Path) -> None:
    def asked(form: Any) -> str:
        return str(
            client.audio.transcriptions.create(
                file=("ward 7.wav", jfk.read_bytes()),
                model="whisper-1",
                response_format=form,
                extra_body={"diarize": "true"},
            )
        )

    assert asked("text").startswith(f"SPEAKER_00: {FIRST}")
    assert asked("text").splitlines()[-1].startswith("SPEAKER_01: ")
    assert next(srt.parse(asked("srt"))).content.startswith(f"SPEAKER_00: {FIRST}")
    captions = list(webvtt.from_string(asked("vtt")))
    assert (captions[0].voice, captions[-1].voice) == ("SPEAKER_00", "SPEAKER_01")
    assert asked("rttm").splitlines()[0] == (
        "SPEAKER ward_7 1 0.000 4.000 <NA> <NA> SPEAKER_00 <NA> <NA>"
    )


def test_openai_s_model_says_speakers_where_openai_s_does(client: openai.OpenAI, jfk: Path) -> None:
    model = "gpt-4o-transcribe-diarize"
    assert model in [one.id for one in client.models.list()]
    plain = client.audio.transcriptions.create(file=jfk, model=model, response_format="text")
    assert plain.startswith(FIRST)
    voiced = client.audio.transcriptions.create(file=jfk, model=model, response_format="vtt")
    assert "<v SPEAKER_00>" in voiced


@pytest.mark.parametrize(
    ("wish", "param", "message"),
    [
        ({"extra_body": {"num_speakers": 0}, "response_format": "text"}, "num_speakers", "greater"),
        (
            {"extra_body": {"num_speakers": 2, "max_speakers": 3}, "response_format": "text"},
            "num_speakers",
            "expected a number, or bounds",
        ),
        (
            {"extra_body": {"min_speakers": 3, "max_speakers": 2}, "response_format": "text"},
            "min_speakers",
            "the least, 3, is above the most, 2",
        ),
        ({"extra_body": {"max_speakers": 2}}, "response_format", "'json' has no place for it"),
        (
            {"extra_body": {"diarize": False}, "response_format": "diarized_json"},
            "diarize",
            "'diarize' is false, and 'response_format' asks who speaks",
        ),
        (
            {"extra_body": {"diarize": True}, "response_format": "text", "stream": True},
            "stream",
            "'diarized_json' or 'verbose_json', found 'text'",
        ),
        ({"known_speaker_names": ["nurse"]}, "known_speaker_names", "and not recognised"),
        (
            {"known_speaker_references": ["data:audio/wav;base64,AA"]},
            "known_speaker_references",
            "and not recognised",
        ),
        (
            {"extra_body": {"num_speakers": 3}, "response_format": "text"},
            None,
            "expected at most 2 speakers, found 3",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    client: openai.OpenAI, jfk: Path, *, wish: dict[str, Any], param: str | None, message: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(file=jfk, model="whisper-1", **wish)
    assert caught.value.param == param
    assert message in caught.value.message


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # OpenAI's, of translations
def test_speakers_of_a_translation_are_refused(client: openai.OpenAI, jfk: Path) -> None:
    with pytest.raises(openai.BadRequestError, match="in transcriptions alone"):
        client.audio.translations.create(
            file=jfk,
            model="whisper-1",
            response_format="diarized_json",  # type: ignore[call-overload]
        )


def test_the_log_and_the_metrics_say_what_told_speakers_apart(
    client: openai.OpenAI, speaking_server: Any, jfk: Path
) -> None:
    def number(name: str) -> float:
        with urllib.request.urlopen(f"{speaking_server.url}/metrics", timeout=30) as answer:  # noqa: S310
            text = answer.read().decode()
        return sum(
            float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name)
        )

    before = number('airgap_diarized_audio_seconds_total{back_end="pyannote"}')
    client.audio.transcriptions.create(file=jfk, model="whisper-1", response_format="diarized_json")
    assert number('airgap_diarized_audio_seconds_total{back_end="pyannote"}') - before == 11.0
    assert number('airgap_diarization_real_time_factor_count{back_end="pyannote"}') > 0
    assert number('airgap_model_load_seconds{model="pyannote"}') > 0
    asked = [line for line in speaking_server.said("request") if "diarization" in line]
    assert (asked[-1]["diarization"], asked[-1]["audio_seconds"]) == ("pyannote", 11.0)
    announced = [line["message"] for line in speaking_server.said("loaded")]
    assert any("Speakers are told apart by pyannote: two-voices" in line for line in announced)


@pytest.mark.parametrize("stream", [False, True])
def test_a_back_end_that_fails_is_an_error_and_no_transcript(
    serve_speaking_with: Callable[..., Any], jfk: Path, *, stream: bool
) -> None:
    server = serve_speaking_with(SCRIPTED_FAULT="fail")
    with client_of(server) as client:
        with pytest.raises(openai.InternalServerError, match="by script failed") as caught:
            client.audio.transcriptions.create(
                file=jfk, model="whisper-1", response_format="diarized_json", stream=stream
            )
        assert caught.value.code == "engine_error"
        plain = client.audio.transcriptions.create(file=jfk, model="whisper-1")
        assert plain.text.endswith(LAST), "who does not ask is served all the same"


def test_who_waits_for_speakers_holds_up_nobody(
    serve_speaking_with: Callable[..., Any], jfk: Path, tmp_path: Path
) -> None:
    """One worker, two that wait for speakers: others are served, short ones and long ones."""
    long = tmp_path / "long.wav"
    with wave.open(str(jfk), "rb") as speech, wave.open(str(long), "wb") as padded:
        padded.setparams(speech.getparams())
        padded.writeframes(speech.readframes(speech.getnframes()) + bytes(SHORT_UPLOAD))
    gate = tmp_path / "gate"
    server = serve_speaking_with(
        *("--workers", "1", "--concurrency", "4"), SCRIPTED_FAULT="wait", SCRIPTED_GATE=str(gate)
    )
    with client_of(server) as client:
        answers: list[Any] = []

        def ask() -> None:
            answers.append(
                client.audio.transcriptions.create(
                    file=jfk, model="whisper-1", response_format="diarized_json"
                )
            )

        waiting = [threading.Thread(target=ask) for _ in range(2)]
        for thread in waiting:
            thread.start()
        for recording in (jfk, long):
            plain = client.audio.transcriptions.create(
                file=recording, model="whisper-1", timeout=300
            )
            assert plain.text.endswith(LAST)
        assert answers == []
        gate.touch()
        for thread in waiting:
            thread.join(300)
        assert [one.segments[-1].speaker for one in answers] == ["SPEAKER_01"] * 2


def test_none_waives_the_promise_and_says_so_to_who_asks(
    serve_speaking_with: Callable[..., Any], jfk: Path
) -> None:
    server = serve_speaking_with("--diarization", "none")
    with client_of(server) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            client.audio.transcriptions.create(
                file=jfk, model="whisper-1", response_format="diarized_json"
            )
        assert caught.value.code == "diarization_unavailable"
        assert "gpt-4o-transcribe-diarize" not in [one.id for one in client.models.list()]


def test_a_promise_that_the_host_cannot_keep_is_refused_at_start(speaking_site: Any) -> None:
    """The real command, for which the script is no back end: the real one wants its library."""
    said = speaking_site.airgap(
        "serve", "--bundle", "speaking", "--port", "0", "--diarization", "nemo"
    )
    assert said.code == 2
    assert "'speaking-1.0.0' cannot tell speakers apart" in said.err
    assert "listening" not in said.err


def test_a_back_end_that_does_not_load_ends_the_server(speaking_site: Any) -> None:
    broken = (
        speaking_site.program[0],
        speaking_site.program[1].replace('"scripted_diarizer"', '"broken_diarizer"'),
    )
    (speaking_site.place.folder / "broken_diarizer.py").write_text(
        "from airgap.errors import AirgapError\n"
        "def load(files, hardware):\n"
        "    raise AirgapError('the segmentation model is missing')\n"
    )
    said = type(speaking_site)(speaking_site.place, broken).airgap(
        "serve", "--bundle", "speaking", "--port", "0", PYTHONPATH=str(speaking_site.place.folder)
    )
    assert said.code == 1
    assert "error: the segmentation model is missing" in said.err
    assert '"event": "ready"' not in said.err


def test_the_inventory_says_that_speakers_can_be_told_apart(speaking_server: Any) -> None:
    with urllib.request.urlopen(f"{speaking_server.url}/v1/inventory", timeout=30) as answer:  # noqa: S310
        told = json.load(answer)
    assert told["inventory"]["diarization_enabled"] is True
