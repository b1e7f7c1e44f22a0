"""Decoding: the same samples as faster-whisper from a sound file, a reason from any other."""

import io
import os
import struct
import zipfile
from pathlib import Path
from typing import Final

import av
import numpy as np
import pytest
from faster_whisper.audio import decode_audio

from airgap.errors import AirgapError, UsageError
from runtime.engine.audio import SAMPLE_RATE, Samples, decode, read_recording

KINDS: Final = {
    "wav": "pcm_s16le",
    "aiff": "pcm_s16be",
    "flac": "flac",
    "mp3": "libmp3lame",
    "adts": "aac",
    "mp4": "aac",
    "ogg": "libopus",
    "webm": "libopus",
    "matroska": "pcm_s16le",
}


def encoded(samples: Samples, container: str, codec: str, rate: int = 48_000) -> bytes:
    """16 kHz mono samples as a stereo file of another rate."""
    target = io.BytesIO()
    with av.open(target, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="stereo")
        frame = av.AudioFrame.from_ndarray(
            (samples * 32767).astype(np.int16)[np.newaxis], format="s16", layout="mono"
        )
        frame.sample_rate = SAMPLE_RATE
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return target.getvalue()


def wav(
    samples: int = 1600, *, rate: int = 16_000, channels: int = 1, declared: int | None = None
) -> bytes:
    """A WAV file of 16-bit samples whose header says what it is told to say."""
    data = b"\1\0" * (samples * channels)
    size = len(data) if declared is None else declared
    layout = (16, 1, channels, rate, rate * channels * 2 & 0xFFFFFFFF, channels * 2 & 0xFFFF, 16)
    header = b"WAVEfmt " + struct.pack("<IHHIIHH", *layout) + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", size + 36) + header + data


def zipped() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("speech.wav", wav(16_000))
    return target.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_samples_equal_faster_whispers(kind: str, tone: Samples) -> None:
    content = encoded(tone, kind, KINDS[kind])
    recording = decode(io.BytesIO(content), "tone")
    assert recording.samples.dtype == np.float32
    assert np.array_equal(recording.samples, decode_audio(io.BytesIO(content)))
    assert recording.duration == pytest.approx(2, abs=0.15)
    assert recording.damaged_packets == 0


@pytest.mark.heavy
def test_a_file_equals_faster_whispers(jfk: Path) -> None:
    recording = read_recording(jfk)
    assert np.array_equal(recording.samples, decode_audio(str(jfk)))
    assert recording.duration == 11.0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Invalid data found"),
        (b"minutes of the meeting\n" * 200, "Invalid data found"),
        (zipped(), "Invalid data found"),
        (wav()[:30], "Invalid data found"),
        (wav(0), "it holds no sound"),
        (wav(rate=0), "Invalid data found"),
        (wav(rate=1), "expected 1000 to 768000 samples a second, found 1"),
        (wav(rate=2**31 - 1), "expected 1000 to 768000 samples a second, found 2147483647"),
        (wav(channels=64), "FFmpeg knows no way to mix its 64 channels into one"),
        (wav(channels=65_535, samples=10), "Invalid argument"),
    ],
    ids=[
        "zero-length",
        "text",
        "zip",
        "cut header",
        "no samples",
        "0 Hz",
        "1 Hz",
        "2 GHz",
        "64 channels",
        "65535 channels",
    ],
)
def test_what_is_no_recording_is_refused_with_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        decode(io.BytesIO(content), "evil.wav")
    assert caught.value.message.startswith("'evil.wav' is not audio that can be decoded: ")
    assert reason in caught.value.message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("playlist", "reason"),
    [
        ("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{}\n", "Invalid data found"),
        # Without the list of containers FFmpeg acts on these two: opens, binds, waits.
        ("ffconcat version 1.0\nfile {}\n", "Invalid argument"),
        ("v=0\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n", "Invalid argument"),
    ],
    ids=["hls", "concat", "sdp"],
)
def test_what_refers_to_other_files_or_sockets_is_refused(
    playlist: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "other.wav").write_bytes(wav())
    content = playlist.format(tmp_path / "other.wav").encode()
    with pytest.raises(UsageError) as caught:
        decode(io.BytesIO(content), "list.wav")
    message = f"'list.wav' is not audio that can be decoded: {reason}"
    assert caught.value.message.startswith(message)


def test_a_video_without_sound_is_refused() -> None:
    target = io.BytesIO()
    with av.open(target, "w", format="matroska") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        output.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        output.mux(stream.encode(None))
    with pytest.raises(UsageError, match=r"'silent.mkv' .*: it holds no audio stream"):
        decode(io.BytesIO(target.getvalue()), "silent.mkv")


@pytest.mark.parametrize("kind", ["flac", "ogg"])
def test_a_decompression_bomb_stops_at_the_longest(kind: str) -> None:
    silence = encoded(np.zeros(200 * SAMPLE_RATE, np.float32), kind, KINDS[kind])
    assert len(silence) < 200_000
    with pytest.raises(UsageError) as caught:
        decode(io.BytesIO(silence), "bomb", longest=90)
    assert caught.value.message == "'bomb' is longer than 0 h 01 min 30 s"
    assert caught.value.hint == "cut it into shorter files"


def test_decoding_ends_where_the_longest_is_passed() -> None:
    source = io.BytesIO(wav(600 * SAMPLE_RATE))
    with pytest.raises(UsageError, match=r"'long.wav' is longer than 0 h 00 min 05 s"):
        decode(source, "long.wav", longest=5)
    assert source.tell() < 1 << 20


def test_the_longest_itself_is_taken() -> None:
    assert decode(io.BytesIO(wav(5 * SAMPLE_RATE)), "five", longest=5).duration == 5


def test_a_truncated_recording_is_told() -> None:
    recording = decode(io.BytesIO(wav(SAMPLE_RATE, declared=20 * SAMPLE_RATE)), "cut.wav")
    assert recording.duration == 1
    assert recording.damaged_packets == 1


@pytest.mark.parametrize("kind", ["mp3", "adts"])
def test_what_follows_a_damaged_packet_is_still_heard(kind: str, tone: Samples) -> None:
    content = bytearray(encoded(np.tile(tone, 10), kind, KINDS[kind]))
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    recording = decode(io.BytesIO(content), "scratched")
    assert recording.damaged_packets
    assert 19 < recording.duration < 21
    # The reason for a loop of our own: theirs ends at the scratch and says nothing.
    assert len(decode_audio(io.BytesIO(content))) < 11 * SAMPLE_RATE


@pytest.mark.parametrize("name", ["missing.wav", "folder", "pipe"])
def test_what_is_no_regular_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AirgapError, match=f"cannot read '.*{name}' as audio: ") as caught:
        read_recording(tmp_path / name)
    assert caught.value.exit_code == (1 if name == "missing.wav" else 2)


def test_an_unreadable_disk_is_no_fault_of_the_file() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(AirgapError, match=r"cannot read 'disk.wav': Input/output error") as caught:
        decode(Failing(wav()), "disk.wav")
    assert caught.value.exit_code == 1
