"""Fixtures of the serving side: one engine, loaded once."""

from pathlib import Path

import numpy as np
import pytest

from runtime.engine.audio import Samples, read_recording
from runtime.engine.hardware import Hardware, find_hardware
from runtime.engine.whisper import WhisperEngine


@pytest.fixture(scope="session")
def cpu() -> Hardware:
    return find_hardware("cpu")


@pytest.fixture(scope="session")
def tiny_engine(whisper_tiny_en: Path, cpu: Hardware) -> WhisperEngine:
    return WhisperEngine.from_folder("tiny.en", whisper_tiny_en, cpu)


@pytest.fixture(scope="session")
def speech(jfk: Path) -> Samples:
    return read_recording(jfk).samples


@pytest.fixture(scope="session")
def tone() -> Samples:
    """Two seconds of 440 Hz, which every codec keeps."""
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)).astype(np.float32)
