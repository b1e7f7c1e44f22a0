"""A machine whose role gives credentials, over a connection that boto3 leaves open."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

ROLE = "/latest/meta-data/iam/security-credentials/"
GIVEN = {
    "Code": "Success",
    "AccessKeyId": "role-key",
    "SecretAccessKey": "role-secret",
    "Token": "role-token",
    "Expiration": "2099-01-01T00:00:00Z",
}

SERVES = """
import gc, os, sys
from pathlib import Path
from runtime.descriptors import open_descriptors
from runtime.offline import leave_network
from runtime.verbs.from_bucket import mount_newest

print(mount_newest(Path(sys.argv[1]), None))
leave_network()
ours = [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]
gc.collect()  # what comes late would close one of them
print(set(ours) <= open_descriptors())
"""


class _Metadata(BaseHTTPRequestHandler):
    """EC2's instance metadata, version 2, which keeps its connections open."""

    protocol_version = "HTTP/1.1"
    asked: list[str]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        pass

    def _answer(self) -> None:
        self.asked.append(self.path)
        content = {ROLE: b"role", f"{ROLE}role": json.dumps(GIVEN).encode()}
        body = content.get(self.path, b"token")
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = _answer  # noqa: N815 - http.server's


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The paths that a metadata service was asked for."""
    asked: list[str] = []
    handler = type("Handler", (_Metadata,), {"asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    where = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", where)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    yield asked
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("s3_site")
def test_what_gave_credentials_is_closed_by_its_owner(mounted: Any, metadata: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVES, mounted.root],
        env={**os.environ, "USE_S3_MODELS": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{ROLE}role" in metadata
    assert done.stdout.splitlines()[-1] == "True", done.stderr
    assert done.returncode == 0, done.stderr
    assert "Exception ignored" not in done.stderr
    assert "Traceback" not in done.stderr
