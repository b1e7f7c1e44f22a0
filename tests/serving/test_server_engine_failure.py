"""The engine fails inside a running server: an error each time, never an empty text."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import openai
import pytest

pytestmark = pytest.mark.heavy

FAILING: Final = """
import sys
from dataclasses import replace

from airgap.cli import main
from runtime import offline

leave = offline.leave_network


def leave_then_break(**options):
    proof = leave(**options)
    from runtime.engine.whisper import WhisperEngine  # only now: it starts threads

    listen = WhisperEngine.listen

    def fail(engine, samples, options):
        if options.initial_prompt == "fail at once":
            raise RuntimeError("injected: somebody's words")
        listening = listen(engine, samples, options)
        if options.initial_prompt == "fail later":
            return replace(listening, segments=broken(listening.segments))
        return listening

    WhisperEngine.listen = fail
    return proof


def broken(segments):
    yield next(segments)
    raise RuntimeError("injected: somebody's words")


offline.leave_network = leave_then_break
sys.argv[0] = "airgap"
main()
"""
"""`airgap serve`, whose engine fails where the prompt says so."""

TOLD: Final = {
    "message": "RuntimeError: this is a bug of the server's",
    "type": "server_error",
    "param": None,
    "code": "engine_error",
}


@pytest.fixture(scope="module")
def failing(site: Any) -> Iterator[Any]:
    running = site.serve(program=("-c", FAILING)).wait_until_ready()
    try:
        yield running
    finally:
        code = running.stop()
    assert code == 0, running.log.read_text()


@pytest.fixture
def client(failing: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{failing.url}/v1", api_key="none", max_retries=0) as one:
        yield one


@pytest.mark.parametrize(
    ("when", "form"), [("fail at once", "json"), ("fail later", "text"), ("fail later", "srt")]
)
def test_a_failure_is_a_500(
    client: openai.OpenAI, failing: Any, jfk: Path, *, when: str, form: Any
) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.audio.transcriptions.create(
            file=jfk, model="whisper-1-fast", prompt=when, response_format=form
        )
    assert caught.value.status_code == 500
    assert caught.value.response.json() == {"error": TOLD}
    heard = client.audio.transcriptions.create(file=jfk, model="whisper-1-fast")
    assert "country" in heard.text
    failing.wait_for(  # written after the answer
        lambda: [line["status"] for line in failing.said("request")[-2:]] == [500, 200]
    )
    assert "somebody's words" not in failing.log.read_text()


def test_a_failure_before_a_stream_is_a_500(client: openai.OpenAI, jfk: Path) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.audio.transcriptions.create(
            file=jfk, model="whisper-1-fast", prompt="fail at once", stream=True
        )
    assert caught.value.response.json() == {"error": TOLD}


def test_a_failure_within_a_stream_is_its_last_event(client: openai.OpenAI, jfk: Path) -> None:
    with client.audio.transcriptions.with_streaming_response.create(
        file=jfk, model="whisper-1-fast", prompt="fail later", stream=True
    ) as answer:
        events = [json.loads(line[6:]) for line in answer.iter_lines() if line]
    assert events[-1] == {"error": TOLD}
    assert "transcript.text.done" not in [event.get("type") for event in events]
    broken = client.audio.transcriptions.create(
        file=jfk, model="whisper-1-fast", prompt="fail later", stream=True
    )
    with pytest.raises(openai.APIError, match="a bug of the server's"):
        list(broken)
    heard = client.audio.transcriptions.create(file=jfk, model="whisper-1-fast")
    assert "country" in heard.text
