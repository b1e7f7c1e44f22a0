"""`USE_S3_MODELS=true airgap serve`, as the compose file of an S3 site starts it: from nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import boto3
import pytest
from moto.server import ThreadedMotoServer

pytestmark = pytest.mark.heavy


@pytest.fixture
def variables() -> Iterator[dict[str, str]]:
    """A site's object store with an empty bucket, and how to reach it."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "S3_ENDPOINT": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "site-key",
        "AWS_SECRET_ACCESS_KEY": "site-secret",
        "MODEL_BUCKET": "speech",
    }
    client = boto3.client(
        "s3",
        endpoint_url=variables["S3_ENDPOINT"],
        region_name="us-east-1",
        aws_access_key_id="site-key",
        aws_secret_access_key="site-secret",
    )
    client.create_bucket(Bucket="speech")
    client.close()
    yield variables
    server.stop()


def test_a_bare_host_serves_what_the_bucket_has(
    demo_site: Any, own_site: Any, variables: dict[str, str]
) -> None:
    place = own_site.place
    assert place.airgap("unmount", "demo", "--yes").code == 0
    pushed = place.airgap("push", demo_site.bundle, "s3://speech/models", **variables)
    assert pushed.code == 0, pushed.err
    server = own_site.serve(USE_S3_MODELS="true", **variables).wait_until_ready()
    try:
        with urlopen(f"{server.url}/ready") as answer:  # noqa: S310 - loopback
            assert answer.status == 200
        assert "pulling 'demo-1.0.0'" in server.log.read_text()
        (offline,) = server.said("offline")
        assert offline
    finally:
        assert server.stop() == 0
    assert list(Path(place.root / "pulled").iterdir()) == []
    again = own_site.serve(USE_S3_MODELS="true", **variables)
    try:
        assert "the newest in the bucket" in again.log.read_text()
        assert "pulling" not in again.log.read_text()
    finally:
        again.stop()
