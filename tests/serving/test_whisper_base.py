"""Whisper base, which knows many languages: detection, translation, the same from Python."""

import io
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jiwer
import openai
import pytest

import runtime

pytestmark = pytest.mark.heavy

KNOWN = (
    "And so, my fellow Americans, ask not what your country can do for you, "
    "ask what you can do for your country."
)


def errors_in(text: str) -> float:
    """The share of words that are wrong, by jiwer."""
    words = jiwer.Compose([jiwer.ToLowerCase(), jiwer.RemovePunctuation(), jiwer.Strip()])
    return jiwer.wer(words(KNOWN), words(text))


@pytest.fixture(scope="module")
def client(multilingual_site: Any) -> Iterator[openai.OpenAI]:
    running = multilingual_site.serve().wait_until_ready()
    try:
        with openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0) as one:
            yield one
    finally:
        code = running.stop()
    assert code == 0, running.log.read_text()


def test_the_language_is_detected(client: openai.OpenAI, jfk: Path) -> None:
    heard = client.audio.transcriptions.create(
        file=jfk, model="base", response_format="verbose_json"
    )
    assert errors_in(heard.text) <= 0.1
    assert (heard.language, heard.duration) == ("english", 11.0)


def test_the_language_is_given(client: openai.OpenAI, jfk: Path) -> None:
    heard = client.audio.transcriptions.create(
        file=jfk, model="whisper-1-fast", language="en", response_format="verbose_json"
    )
    assert errors_in(heard.text) <= 0.1
    assert heard.language == "english"


def test_another_language_that_is_given_is_believed(client: openai.OpenAI, jfk: Path) -> None:
    heard = client.audio.transcriptions.create(
        file=jfk, model="whisper-1-fast", language="de", response_format="verbose_json"
    )
    assert heard.language == "german"
    assert heard.text.startswith("Und so"), "English would mean that the engine was not told"


def test_nothing_said_is_in_no_language(client: openai.OpenAI) -> None:
    silence = io.BytesIO()
    with wave.open(silence, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 48_000))
    heard = client.audio.transcriptions.create(
        file=("silence.wav", silence.getvalue()), model="whisper-1", response_format="verbose_json"
    )
    assert (heard.text, heard.language) == ("", "")


# OpenAI's client marks the models of its translations as deprecated.
@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_translation_into_english(client: openai.OpenAI, jfk: Path) -> None:
    heard = client.audio.translations.create(
        file=jfk, model="whisper-1-fast", response_format="verbose_json"
    )
    assert errors_in(heard.text) <= 0.1
    assert (heard.language, heard.duration) == ("english", 11.0)
    assert heard.to_dict()["task"] == "translate"


def test_an_unknown_language_is_refused(client: openai.OpenAI, jfk: Path) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(file=jfk, model="whisper-1", language="xx")
    assert caught.value.param == "language"


def test_from_python(multilingual_site: Any, jfk: Path) -> None:
    model = runtime.open("base", root=multilingual_site.place.root)
    assert (model.name, model.bundle) == ("base", "base-1.0.0")
    assert {"de", "en", "zh"} <= set(model.languages)
    heard = model.transcribe(jfk)
    assert errors_in(heard.text) <= 0.1
    assert heard.language == "en"
    assert heard.language_probability > 0.5
