"""Uploads that are made to hurt: each is refused in OpenAI's shape, and the next is served."""

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import openai
import pytest

pytestmark = pytest.mark.heavy

HOURS: Final = 10
RATE: Final = 16_000
BLOCK: Final = 65_535
"""Samples of a FLAC frame at most (RFC 9639, section 9.1.1)."""


def wav(*, rate: int, channels: int) -> bytes:
    """A tenth of a second whose header says what it is told to say."""
    data = b"\1\0" * (1600 * channels)
    layout = (16, 1, channels, rate, rate * channels * 2, channels * 2, 16)
    header = b"WAVEfmt " + struct.pack("<IHHIIHH", *layout) + b"data" + struct.pack("<I", len(data))
    return b"RIFF" + struct.pack("<I", len(data) + 36) + header + data


def crc(content: bytes, bits: int, polynomial: int) -> bytes:
    """The checksum of FLAC's frames, as it stands in them."""
    value, top, mask = 0, 1 << (bits - 1), (1 << bits) - 1
    for byte in content:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = ((value << 1) ^ (polynomial if value & top else 0)) & mask
    return value.to_bytes(bits // 8)


def silent_frame(number: int) -> bytes:
    """65535 samples of silence in 15 bytes or so: one constant (RFC 9639, section 9)."""
    # Block size in 16 bits, 16 kHz, mono, 16-bit samples.
    head = b"\xff\xf8\x75\x08" + chr(number).encode() + struct.pack(">H", BLOCK - 1)
    head += crc(head, 8, 0x07)
    body = head + b"\0" + b"\0\0"
    return body + crc(body, 16, 0x8005)


def hours_of_silence() -> bytes:
    """A FLAC file, of a few kilobytes an hour."""
    frames = HOURS * 3600 * RATE // BLOCK + 1
    form = (RATE << 44 | 0 << 41 | 15 << 36 | frames * BLOCK).to_bytes(8)
    streaminfo = struct.pack(">HH", BLOCK, BLOCK) + bytes(6) + form + bytes(16)
    return b"fLaC\x80\0\0\x22" + streaminfo + b"".join(map(silent_frame, range(frames)))


def large_zip(folder: Path) -> bytes:
    """100 MB that are no recording, whatever their name says."""
    path = folder / "archive"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("speech.pcm", bytes(100_000_000))
    return path.read_bytes()


@pytest.fixture
def refused(server: Any, jfk: Path) -> Callable[..., dict[str, Any]]:
    """Sends what must be refused, and a recording after it; the error's body."""

    def ask(content: bytes, name: str) -> dict[str, Any]:
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            with pytest.raises(openai.BadRequestError) as caught:
                client.audio.transcriptions.create(file=(name, content), model="whisper-1")
            heard = client.audio.transcriptions.create(file=jfk, model="whisper-1-fast")
        assert "country" in heard.text
        assert server.process.poll() is None
        error: dict[str, Any] = caught.value.response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert (error["type"], error["param"]) == ("invalid_request_error", "file")
        return error

    return ask


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Invalid data found"),
        (wav(rate=0, channels=1), "Invalid data found"),
        (wav(rate=16_000, channels=64), "FFmpeg knows no way to mix its 64 channels into one"),
    ],
    ids=["empty", "0 Hz", "64 channels"],
)
def test_a_header_that_no_recording_has(
    refused: Callable[..., dict[str, Any]], content: bytes, reason: str
) -> None:
    error = refused(content, "evil.wav")
    assert error["code"] == "invalid_audio"
    assert f"'evil.wav' is not audio that can be decoded: {reason}" in error["message"]


def test_a_large_archive_that_is_named_wav(
    refused: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    error = refused(large_zip(tmp_path), "archive.wav")
    assert error["code"] == "invalid_audio"
    assert "'archive.wav' is not audio that can be decoded: Invalid data" in error["message"]


def test_ten_hours_of_silence_in_a_small_file(refused: Callable[..., dict[str, Any]]) -> None:
    bomb = hours_of_silence()
    assert len(bomb) < 200_000
    error = refused(bomb, "night.flac")
    assert error["code"] == "invalid_audio"
    assert error["message"] == "'night.flac' is longer than 4 h 00 min; cut it into shorter files"
