"""The API's own document: fuzzed, shown on a page without assets, written down in docs/api.md."""

import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from runtime.server import reference

ROOT = Path(__file__).parents[2]


def test_the_reference_is_up_to_date() -> None:
    written = (ROOT / "docs" / "api.md").read_text()
    assert written == reference.text(), "python -m runtime.server.reference > docs/api.md"


@pytest.mark.heavy
def test_the_page_asks_for_nothing_from_outside(server: Any) -> None:
    with urllib.request.urlopen(f"{server.url}/docs", timeout=30) as answer:  # noqa: S310
        page, policy = answer.read().decode(), answer.headers["content-security-policy"]
    assert "POST /v1/audio/transcriptions" in page
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["openapi.json"]
    assert "<script" not in page
    assert policy.startswith("default-src 'none'; style-src 'sha256-")


@pytest.mark.heavy
def test_the_document_withstands_schemathesis(server: Any, tmp_path: Path) -> None:
    """What the schema allows and is no audio is refused, so that one check is left out.

    Every operation is covered and fuzzed in half of the time; the rest goes to sequences of them.
    """
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
            *("--max-examples", "20", "--seed", "1", "--generation-deterministic"),
            *("--exclude-checks", "positive_data_acceptance"),
            *("--max-time", "60"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert server.process.poll() is None
