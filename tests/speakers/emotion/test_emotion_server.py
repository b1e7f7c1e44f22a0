"""`airgap serve --emotion`: asked for by the real OpenAI client, as an extension field."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import openai
import pytest

pytestmark = [pytest.mark.heavy, pytest.mark.speakers]


def started(place, *options: str) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
    """A server on a free port, when it is ready; what its log says, by event."""
    log = place.folder / "serve.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "airgap", "serve", "--port", "0", *options],
            cwd=place.folder,
            env=place.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    said: dict[str, str] = {}
    while "ready" not in said:
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
        whole = log.read_text().rpartition("\n")[0].splitlines()
        lines = [json.loads(line) for line in whole if line.startswith("{")]
        said = {line["event"]: line["message"] for line in lines}
    return process, said


@pytest.fixture(scope="module")
def server(mood_site) -> Iterator[dict[str, str]]:
    process, said = started(mood_site[0], "--emotion")
    yield said
    process.terminate()
    assert process.wait(60) == 0


def ask(said, jfk, **fields):
    base = said["listening"].rpartition(" ")[2]
    with (
        jfk.open("rb") as stream,
        openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0) as client,
    ):
        return client.audio.transcriptions.create(file=stream, model="whisper-1", **fields)


def test_segments_say_how_they_sound(server, jfk):
    heard = ask(server, jfk, response_format="verbose_json", extra_body={"emotion": "true"})
    for segment in heard.segments:
        emotion = segment.emotion
        assert all(0 < emotion[name] < 1 for name in ("arousal", "dominance", "valence"))
        assert sum(emotion["categories"].values()) == pytest.approx(1)


def test_nothing_is_said_of_it_where_nobody_asks(server, jfk):
    heard = ask(server, jfk, response_format="verbose_json")
    assert all(not hasattr(segment, "emotion") for segment in heard.segments)


def test_a_licence_that_forbids_commercial_use_is_in_the_log(server):
    assert server["licence"] == (
        "tiny--categories may not be used commercially: its licence is CC-BY-NC-SA-4.0"
    )


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"response_format": "json"}, "found 'json'"),
        ({"response_format": "srt"}, "found 'srt'"),
        (
            {"response_format": "verbose_json", "timestamp_granularities": ["word"]},
            "found timestamp_granularities without 'segment'",
        ),
    ],
)
def test_an_answer_without_a_place_for_it_is_refused(server, jfk, fields, found):
    with pytest.raises(openai.BadRequestError, match=found) as caught:
        ask(server, jfk, **fields, extra_body={"emotion": "true"})
    assert caught.value.param == "emotion"


def test_a_server_that_was_not_told_to_refuses(mood_site, jfk):
    process, said = started(mood_site[0])
    try:
        with pytest.raises(openai.BadRequestError, match="started with --emotion") as caught:
            ask(said, jfk, response_format="verbose_json", extra_body={"emotion": "true"})
        assert caught.value.code == "emotion_unavailable"
    finally:
        process.terminate()
        assert process.wait(60) == 0


def test_a_bundle_without_emotion_models_does_not_start(demo_site, fresh_place):
    place = fresh_place()
    place.keys.symlink_to(demo_site.place.keys)
    place.trust("alice", demo_site.fingerprint)
    assert place.airgap("mount", demo_site.bundle).code == 0
    said = place.airgap("serve", "--port", "0", "--emotion")
    assert said.code == 2
    assert "error: expected a model of the role emotion in 'demo-1.0.0', found: none" in said.err
