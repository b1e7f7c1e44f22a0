"""`push` and `pull` with an object store: boto3 against a real S3 protocol on loopback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MODELS = "s3://whisper-models/models"
WARD = f"{MODELS}/ward-1.0.0"
KEY = "models/ward-1.0.0/ward-1.0.0.tar.zst"
SECRET = "a-secret-that-no-message-shows"


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_there_and_back(host: Any, shipment: Path, s3_site: Any, tmp_path: Path) -> None:
    pushed = host.airgap("push", shipment, MODELS)
    assert pushed.code == 0, pushed.err
    assert f"to             {WARD}" in pushed.out
    names = sorted(path.name for path in shipment.iterdir())
    assert s3_site.keys() == [f"models/ward-1.0.0/{name}" for name in names]
    pulled = host.airgap("pull", WARD, "--out", tmp_path / "in")
    assert pulled.code == 0, pulled.err
    came = tmp_path / "in/ward-1.0.0"
    assert {path.name: path.read_bytes() for path in came.iterdir()} == {
        path.name: path.read_bytes() for path in shipment.iterdir()
    }
    assert host.airgap("mount", came).code == 0
