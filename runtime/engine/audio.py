"""A recording of any usual kind -> 16 kHz mono samples, bounded, whatever the file claims.

Equal, bit for bit, to `faster_whisper.audio.decode_audio` on a sound file. That function
trusts its input: it hands paths to FFmpeg, which opens URLs, playlists and SDP files (and
so sockets and other files), it decodes to the end of a bomb, and it stops in silence at
the first damaged packet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import av
import av.audio.fifo
import av.audio.resampler
import av.container
import numpy as np
import numpy.typing as npt

from airgap.errors import AirgapError, UsageError
from runtime.recordings import open_recording

Samples = npt.NDArray[np.float32]

SAMPLE_RATE: Final = 16_000
"""What Whisper hears, in samples a second."""

LONGEST_SECONDS: Final = 4 * 3600
"""The longest recording, unless a caller says otherwise. The engine takes 1.1 GB an hour."""

SAMPLE_RATES: Final = (1_000, 768_000)
"""Rates of real recordings, in Hz. A rate of 1 Hz is a bomb: each sample becomes 16 000."""

_CONTAINERS: Final = (
    "aac,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dss,flac,flv,gsm,matroska,mov,mp3,mpeg,mpegts,"
    "nistsphere,ogg,tta,voc,w64,wav,wv"
)
"""Demuxers that read one file and nothing else: no playlist, SDP, concat or image sequence."""

_USUAL_RATE: Final = 4_000
"""Bytes a second of compressed speech, at 32 kbit/s."""

_GROUP: Final = 500_000
"""Samples resampled at once, as faster-whisper does; frames alone are too small to be quick."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Decoded audio.

    Attributes:
        samples: 16 kHz mono, between -1 and 1; never empty.
        damaged_packets: packets known to be cut short or impossible to decode; what they held
            is missing from the samples, and the caller must say so. Some containers lose
            packets without a trace.
    """

    samples: Samples
    damaged_packets: int

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE

    def damage(self, name: str) -> str | None:
        """What a person must be told of a recording that is not whole; None of one that is."""
        if not self.damaged_packets:
            return None
        return (
            f"'{name}' is damaged: {self.damaged_packets} packets could not be decoded, and what "
            "they held is missing from the transcript"
        )


def read_recording(path: Path, *, longest: float = LONGEST_SECONDS) -> Recording:
    """Decode a file of the user's.

    Args:
        path: a regular file, or a link to one.
        longest: the length in seconds above which it is refused.

    Raises:
        UsageError: it is no regular file, or not audio that `decode` takes.
        AirgapError: it is not there, may not be read, or the disk failed.
    """
    with open_recording(path) as stream:
        return decode(stream, str(path), longest=longest)


def decode(source: BinaryIO, name: str, *, longest: float = LONGEST_SECONDS) -> Recording:
    """Decode the first audio stream of an open, seekable file.

    Args:
        source: the file; FFmpeg sees these bytes alone, never a path or a URL.
        name: what to call it in errors.
        longest: the length in seconds above which it is refused; decoding stops there.

    Raises:
        UsageError: it is not audio, holds no sound, is longer, or claims a rate or a number of
            channels that no recording has.
        AirgapError: reading failed, or memory ran out.
    """
    try:
        with _opened(source) as container:
            intake = _Intake(container, name, longest)
            chunks = [
                frame.to_ndarray()[0] for frame in _resampled(_grouped(intake.frames()), name)
            ]
    except MemoryError as error:
        raise AirgapError(f"not enough memory to decode '{name}'") from error
    except av.FFmpegError as error:
        raise _undecodable(name, error.strerror) from error
    except ValueError as error:
        # From the resampler: format, rate or channels changed between two frames.
        raise _undecodable(name, str(error)) from error
    except OSError as error:
        raise AirgapError(f"cannot read '{name}': {error.strerror}") from error
    samples = np.concatenate([*chunks, np.empty(0, np.int16)], dtype=np.float32)
    if not len(samples):
        raise _undecodable(name, "it holds no sound")
    samples /= 32768.0
    return Recording(samples, intake.damaged_packets)


def expected_seconds(source: BinaryIO, size: int) -> float:
    """About how long a recording is, by what it says of itself: for progress, never for limits.

    What does not say (WebM from a browser) is taken for speech at a usual rate; what is no
    recording, for nothing.

    Args:
        source: an open, seekable file.
        size: in bytes.
    """
    try:
        with _opened(source) as container:
            said = container.duration
    except (av.FFmpegError, ValueError, OSError):
        return 0.0
    finally:
        source.seek(0)
    seconds = size / _USUAL_RATE if said is None else said / av.time_base
    return min(max(seconds, 0.0), float(LONGEST_SECONDS))


def _opened(source: BinaryIO) -> av.container.InputContainer:
    return av.open(
        source,
        mode="r",
        metadata_errors="ignore",
        # With no protocol allowed, nothing that a file refers to can be opened either.
        options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"},
    )


class _Intake:
    """Frames of the first audio stream, looked at before anything is made of them."""

    def __init__(self, container: av.container.InputContainer, name: str, longest: float) -> None:
        if not container.streams.audio:
            raise _undecodable(name, "it holds no audio stream")
        self._packets = container.demux(container.streams.audio[0])
        self._name, self._longest = name, longest
        self._seconds = 0.0
        self.damaged_packets = 0

    def frames(self) -> Iterator[av.AudioFrame]:
        """Every frame that decodes; those that do not are counted."""
        while packet := self._next_packet():
            self.damaged_packets += packet.is_corrupt
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                self.damaged_packets += 1
                continue
            for frame in frames:
                self._look_at(frame)
                yield frame

    def _next_packet(self) -> av.Packet[av.AudioStream] | None:
        try:
            return next(self._packets, None)
        except av.InvalidDataError:  # the container itself breaks off here
            self.damaged_packets += 1
            return None

    def _look_at(self, frame: av.AudioFrame) -> None:
        """Refuse a frame that would grow out of all proportion when it is resampled."""
        rate = frame.sample_rate
        if not SAMPLE_RATES[0] <= rate <= SAMPLE_RATES[1]:
            raise _undecodable(
                self._name,
                f"expected {SAMPLE_RATES[0]} to {SAMPLE_RATES[1]} samples a second, found {rate}",
            )
        self._seconds += frame.samples / rate
        if self._seconds - self._longest > 0.5 / rate:  # a sum of floats: half a sample off
            raise UsageError(
                f"'{self._name}' is longer than {_hours(self._longest)}",
                hint="cut it into shorter files",
            )


def _grouped(frames: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    """The same samples in large frames."""
    fifo = av.audio.fifo.AudioFifo()
    for frame in frames:
        frame.pts = None  # the fifo refuses gaps in time stamps, which recordings have
        fifo.write(frame)
        if fifo.samples >= _GROUP:
            yield from _read(fifo)
    yield from _read(fifo)


def _read(fifo: av.audio.fifo.AudioFifo) -> Iterator[av.AudioFrame]:
    if fifo.samples and (frame := fifo.read()):
        yield frame


def _resampled(frames: Iterator[av.AudioFrame], name: str) -> Iterator[av.AudioFrame]:
    """The frames as 16-bit mono at 16 kHz, what is left in the resampler included."""
    resampler = av.audio.resampler.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    for frame in frames:
        try:
            yield from resampler.resample(frame)
        except av.ArgumentError as error:
            channels = frame.layout.nb_channels
            raise _undecodable(
                name, f"FFmpeg knows no way to mix its {channels} channels into one"
            ) from error
    yield from resampler.resample(None)


def _undecodable(name: str, reason: str | None) -> UsageError:
    return UsageError(
        f"'{name}' is not audio that can be decoded: {reason}",
        hint="give a recording such as WAV, FLAC, MP3, M4A, Ogg, Opus, WebM or MP4",
    )


def _hours(seconds: float) -> str:
    """A length as a person says it."""
    minutes, rest = divmod(round(seconds), 60)
    length = f"{minutes // 60} h {minutes % 60:02} min"
    return f"{length} {rest:02} s" if rest else length
