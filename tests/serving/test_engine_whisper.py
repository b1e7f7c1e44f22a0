"""The real engine on a real model and real speech."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NoReturn

import jiwer
import numpy as np
import pytest
from faster_whisper import WhisperModel

from airgap.errors import AirgapError, UsageError
from runtime.engine.audio import Samples
from runtime.engine.formats import FORMATS
from runtime.engine.hardware import Hardware
from runtime.engine.options import HOTWORD_TOKENS, TranscribeOptions, check_options
from runtime.engine.whisper import WhisperEngine

pytestmark = pytest.mark.heavy

KNOWN: Final = (
    "And so, my fellow Americans, ask not what your country can do for you, "
    "ask what you can do for your country."
)
CERTAIN: Final = TranscribeOptions(temperatures=(0.0,))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def plain(text: str) -> str:
    return "".join(mark for mark in text.lower() if mark.isalpha() or mark == " ")


def test_the_words_are_right(tiny_engine: WhisperEngine, speech: Samples) -> None:
    transcript = tiny_engine.transcribe(speech)
    assert jiwer.wer(plain(KNOWN), plain(transcript.text)) == 0
    assert (transcript.model, transcript.language, transcript.duration) == ("tiny.en", "en", 11.0)


def test_three_times_the_same(tiny_engine: WhisperEngine, speech: Samples) -> None:
    first, second, third = (tiny_engine.transcribe(speech, CERTAIN) for _ in range(3))
    assert first == second == third


def test_equals_faster_whisper(
    tiny_engine: WhisperEngine, whisper_tiny_en: Path, speech: Samples, cpu: Hardware
) -> None:
    raw = WhisperModel(
        str(whisper_tiny_en), device="cpu", compute_type=cpu.compute_type, cpu_threads=cpu.threads
    )
    segments, _ = raw.transcribe(speech, vad_filter=True, word_timestamps=True)
    ours = tiny_engine.transcribe(speech, TranscribeOptions(word_timestamps=True))
    for one, other in zip(ours.segments, segments, strict=True):
        assert (one.start, one.end, one.text) == (other.start, other.end, other.text)
        assert list(one.tokens) == other.tokens
        assert [(word.start, word.end, word.text) for word in one.words] == [
            (word.start, word.end, word.word) for word in other.words or ()
        ]


def test_buffers_equal_the_folder(
    tiny_engine: WhisperEngine, whisper_tiny_en: Path, speech: Samples, cpu: Hardware
) -> None:
    files = contents(whisper_tiny_en)
    engine = WhisperEngine.from_buffers("tiny.en", files, cpu)
    assert files == {}, "the buffers are given away"
    assert engine.transcribe(speech, CERTAIN) == tiny_engine.transcribe(speech, CERTAIN)
    assert engine.hardware == tiny_engine.hardware
    assert engine.hardware.compute_type == "int8_float32"


def test_buffers_ignore_files_that_lie_about(
    whisper_tiny_en: Path,
    speech: Samples,
    cpu: Hardware,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trap = tmp_path / "tiny.en"
    trap.mkdir()
    (trap / "preprocessor_config.json").write_text('{"feature_size": 128}')
    (trap / "tokenizer.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    engine = WhisperEngine.from_buffers("tiny.en", contents(whisper_tiny_en), cpu)
    assert plain(engine.transcribe(speech).text) == plain(KNOWN)


def test_words_have_plain_times(tiny_engine: WhisperEngine, speech: Samples) -> None:
    transcript = tiny_engine.transcribe(speech, replace(CERTAIN, word_timestamps=True))
    words = [word for segment in transcript.segments for word in segment.words]
    assert "".join(word.text for word in words).strip() == transcript.text
    assert all(type(time) is float for word in words for time in (word.start, word.end))
    assert all(type(segment.start) is float for segment in transcript.segments)
    assert all(0 <= word.start <= word.end <= 11 for word in words)
    assert json.loads(FORMATS["json"].render(transcript))["text"] == transcript.text


def test_progress_ends_at_the_duration(tiny_engine: WhisperEngine, speech: Samples) -> None:
    heard: list[float] = []
    tiny_engine.transcribe(speech, heard=heard.append)
    assert heard == sorted(heard)
    assert heard[-1] == 11.0


@pytest.mark.parametrize("seconds", [10, 0.05])
def test_silence_has_no_text(tiny_engine: WhisperEngine, seconds: float) -> None:
    transcript = tiny_engine.transcribe(np.zeros(int(16_000 * seconds), np.float32))
    assert (transcript.text, transcript.segments) == ("", ())
    assert transcript.duration == seconds


def test_no_time_lies_behind_the_end(tiny_engine: WhisperEngine, speech: Samples) -> None:
    short = speech[: int(2.3 * 16_000)]
    for options in (CERTAIN, replace(CERTAIN, vad_filter=False, word_timestamps=True)):
        transcript = tiny_engine.transcribe(short, options)
        assert transcript.segments
        assert all(segment.end <= 2.3 for segment in transcript.segments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (TranscribeOptions(language="de"), "expected language 'en', found 'de'"),
        (TranscribeOptions(task="translate"), "is English-only: it cannot translate"),
        (TranscribeOptions(task="summarise"), "task 'summarise': expected one of transcribe"),
        (TranscribeOptions(beam_size=0), "beam size: expected 1 to 16, found 0"),
        (TranscribeOptions(beam_size=10_000), "beam size: expected 1 to 16, found 10000"),
        (TranscribeOptions(temperatures=()), "temperature: expected at least one, found none"),
        (TranscribeOptions(temperatures=(-0.1,)), "temperature: expected 0 to 1, found -0.1"),
        (TranscribeOptions(temperatures=(0.0, float("nan"))), "expected 0 to 1, found nan"),
        (
            TranscribeOptions(hotwords="airgap " * HOTWORD_TOKENS),
            f"hotwords: expected at most {HOTWORD_TOKENS} tokens, found ",
        ),
    ],
)
def test_what_the_model_cannot_do_is_refused(
    tiny_engine: WhisperEngine, speech: Samples, options: TranscribeOptions, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        tiny_engine.transcribe(speech, options)
    assert message in caught.value.message
    assert caught.value.exit_code == 2


def test_an_unknown_language_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        check_options(TranscribeOptions(language="EN"), "base", ("de", "en", "ja"))
    assert caught.value.message == "model 'base' does not know language 'EN'; near: en"


def test_a_full_prompt_and_full_hotwords_leave_room_for_text(
    tiny_engine: WhisperEngine, speech: Samples
) -> None:
    options = replace(CERTAIN, initial_prompt="Washington, 1961. " * 100, hotwords="Kennedy " * 40)
    assert "country" in tiny_engine.transcribe(speech, options).text


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.empty(0, np.float32), "there is no sound to transcribe: found 0 samples"),
        (np.zeros((2, 100), np.float32), "expected one channel of float32, found float32"),
        (np.zeros(100), "expected one channel of float32, found float64 of shape (100,)"),
    ],
)
def test_what_is_no_sound_is_refused(
    tiny_engine: WhisperEngine, samples: Any, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        tiny_engine.transcribe(samples)
    assert message in caught.value.message


@pytest.fixture
def closed_sockets(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every socket asked for; none is given."""
    asked: list[object] = []

    def refuse(*arguments: object, **_: object) -> NoReturn:
        asked.append(arguments)
        raise OSError("sockets are closed")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return asked


@pytest.fixture
def poor_model(whisper_tiny_en: Path, tmp_path: Path) -> Path:
    """A folder of links to the model's files, for tests to spoil."""
    for path in whisper_tiny_en.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


@pytest.mark.parametrize(
    "load",
    [
        lambda folder, cpu: WhisperEngine.from_folder("tiny.en", folder, cpu),
        lambda folder, cpu: WhisperEngine.from_buffers("tiny.en", contents(folder), cpu),
    ],
    ids=["folder", "buffers"],
)
@pytest.mark.parametrize("file", ["config.json", "model.bin", "tokenizer.json", "vocabulary.txt"])
def test_a_model_without_a_file_never_asks_a_hub(
    load: Callable[[Path, Hardware], WhisperEngine],
    file: str,
    poor_model: Path,
    cpu: Hardware,
    closed_sockets: list[object],
) -> None:
    for spoil in (Path.unlink, Path.touch):  # gone, then empty
        spoil(poor_model / file)
        with pytest.raises(AirgapError) as caught:
            load(poor_model, cpu)
        missing, _ = caught.value.message.split(", found ")
        assert missing.startswith("model 'tiny.en' is incomplete: expected '")
        assert missing.endswith(f"'{file}'")
        assert caught.value.exit_code == 1
    assert closed_sockets == []


def test_a_folder_that_is_not_there_never_asks_a_hub(
    cpu: Hardware, tmp_path: Path, closed_sockets: list[object]
) -> None:
    with pytest.raises(AirgapError, match=r"cannot read model 'tiny.en': .*No such file"):
        WhisperEngine.from_folder("tiny.en", tmp_path / "tiny", cpu)
    assert closed_sockets == []


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.bin", b"\6" * 100, "model 'tiny.en' cannot be loaded: "),
        ("tokenizer.json", b"{}", "model 'tiny.en' cannot be loaded: "),
        ("preprocessor_config.json", b"[]", "model 'tiny.en' cannot be loaded: "),
        (
            "preprocessor_config.json",
            b'{"feature_size": 128}',
            "model 'tiny.en' hears 80 mel bands at 16000 Hz, but its ",
        ),
    ],
)
def test_a_model_that_does_not_load_is_an_error(
    file: str, content: bytes, message: str, whisper_tiny_en: Path, cpu: Hardware
) -> None:
    files = {**contents(whisper_tiny_en), file: content}
    with pytest.raises(AirgapError) as caught:
        WhisperEngine.from_buffers("tiny.en", files, cpu)
    assert caught.value.message.startswith(message)
    assert caught.value.exit_code == 1


def test_a_truncated_model_is_an_error(whisper_tiny_en: Path, cpu: Hardware) -> None:
    files = contents(whisper_tiny_en)
    files["model.bin"] = files["model.bin"][: 40 << 20]
    with pytest.raises(AirgapError, match=r"model 'tiny.en' cannot be loaded: "):
        WhisperEngine.from_buffers("tiny.en", files, cpu)


def test_an_engine_error_is_an_error_not_an_empty_text(cpu: Hardware, speech: Samples) -> None:
    def segments() -> Iterator[NoReturn]:
        raise RuntimeError("Library libcublas.so.12 is not found or cannot be loaded")
        yield

    info = SimpleNamespace(language="en", language_probability=1, duration_after_vad=11.0)
    model: Any = SimpleNamespace(
        supported_languages=["en"],
        model=SimpleNamespace(is_multilingual=False),
        transcribe=lambda *_, **__: (segments(), info),
    )
    with pytest.raises(AirgapError) as caught:
        WhisperEngine("large-v3", model, cpu).transcribe(speech)
    assert caught.value.message == (
        "transcription by model 'large-v3' failed: "
        "Library libcublas.so.12 is not found or cannot be loaded"
    )
    assert caught.value.exit_code == 1


LOADS_AND_HEARS: Final = """
import sys
from pathlib import Path

asked = []
sys.addaudithook(lambda event, _: asked.append(event) if event.startswith("socket.") else None)

from runtime.engine.audio import read_recording
from runtime.engine.hardware import find_hardware
from runtime.engine.whisper import WhisperEngine

folder, recording = map(Path, sys.argv[1:])
files = {path.name: path.read_bytes() for path in folder.iterdir()}
engine = WhisperEngine.from_buffers("openai/whisper-tiny.en", files, find_hardware("cpu"))
print(engine.transcribe(read_recording(recording).samples).text)
print(asked)
"""


def test_no_socket_is_asked_for_from_import_to_text(
    whisper_tiny_en: Path, jfk: Path, tmp_path: Path
) -> None:
    """With no variable that keeps a library offline, and no `CI`, which hushes onnxruntime."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    finished = subprocess.run(
        [sys.executable, "-c", LOADS_AND_HEARS, str(whisper_tiny_en), str(jfk)],
        env={**kept, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    text, asked = finished.stdout.splitlines()
    assert plain(text) == plain(KNOWN)
    assert asked == "[]"
    assert list(tmp_path.iterdir()) == [], "telemetry or a hub client made itself at home"
