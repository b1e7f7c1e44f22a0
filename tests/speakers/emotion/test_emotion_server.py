"""`airgap serve --emotion`: asked for by the real OpenAI client, as an extension field."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

pytestmark = [pytest.mark.heavy, pytest.mark.speakers]


@pytest.fixture(scope="module")
def server(mood_site, serving) -> Iterator[dict[str, str]]:
    with serving(mood_site[0], "--emotion") as said:
        yield said


@pytest.fixture
def ask(jfk, client_of):
    def ask(said, **fields):
        with jfk.open("rb") as stream, client_of(said) as client:
            return client.audio.transcriptions.create(file=stream, model="whisper-1", **fields)

    return ask


def test_segments_say_how_they_sound(server, ask):
    heard = ask(server, response_format="verbose_json", extra_body={"emotion": "true"})
    for segment in heard.segments:
        emotion = segment.emotion
        assert all(0 < emotion[name] < 1 for name in ("arousal", "dominance", "valence"))
        assert sum(emotion["categories"].values()) == pytest.approx(1)


def test_nothing_is_said_of_it_where_nobody_asks(server, ask):
    heard = ask(server, response_format="verbose_json")
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
def test_an_answer_without_a_place_for_it_is_refused(server, ask, fields, found):
    with pytest.raises(openai.BadRequestError, match=found) as caught:
        ask(server, **fields, extra_body={"emotion": "true"})
    assert caught.value.param == "emotion"


def test_a_server_that_was_not_told_to_refuses(mood_site, serving, ask):
    with (
        serving(mood_site[0]) as said,
        pytest.raises(openai.BadRequestError, match="started with --emotion") as caught,
    ):
        ask(said, response_format="verbose_json", extra_body={"emotion": "true"})
    assert caught.value.code == "emotion_unavailable"


def test_a_bundle_without_emotion_models_does_not_start(demo_site, fresh_place):
    place = fresh_place()
    place.keys.symlink_to(demo_site.place.keys)
    place.trust("alice", demo_site.fingerprint)
    assert place.airgap("mount", demo_site.bundle).code == 0
    said = place.airgap("serve", "--port", "0", "--emotion")
    assert said.code == 2
    assert "error: expected a model of the role emotion in 'demo-1.0.0', found: none" in said.err
