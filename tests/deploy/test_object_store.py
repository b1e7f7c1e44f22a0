"""The object store of deploy/compose: the real server by its real command line, and boto3."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.heavy

COMPOSE = Path(__file__).parent.parent.parent / "deploy/compose/compose.yaml"

CLIENT = """
import json, sys, time
import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

endpoint, bucket = sys.argv[1:]

def client(**signing):
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **signing)

def outcome(call, **arguments):
    try:
        call(Bucket=bucket, Key="a", **arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    except BotoCoreError:
        return "not there yet"
    return "done"

own = client()
deadline = time.monotonic() + 60
while (first := outcome(own.put_object, Body=b"x")) != "done" and time.monotonic() < deadline:
    time.sleep(0.2)
print(json.dumps({
    "first": first,
    "again": outcome(own.put_object, Body=b"y", IfNoneMatch="*"),
    "read": own.get_object(Bucket=bucket, Key="a")["Body"].read().decode(),
    "wrong secret": outcome(client(aws_access_key_id="site", aws_secret_access_key="x").get_object),
    "nobody": outcome(client(config=Config(signature_version=UNSIGNED)).get_object),
}))
"""


def test_the_store_answers_its_keys_alone_and_overwrites_nothing(
    script: Callable[[str], Path], empty_network: list[str], tmp_path: Path
) -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    (volume,) = services["objects"]["volumes"]
    assert services["objects"]["entrypoint"] == ["/usr/bin/weed"]
    command = [
        one.replace(volume["target"], str(tmp_path)) for one in services["objects"]["command"]
    ]
    reader = services["s3"]["environment"]
    endpoint = reader["S3_ENDPOINT"].replace("objects", "127.0.0.1")
    client = [sys.executable, "-c", CLIENT, endpoint, reader["MODEL_BUCKET"]]
    program = f"""
        ip link set lo up
        {shlex.join([str(script("weed")), *command])} > {tmp_path}/log 2>&1 &
        {shlex.join(client)}
        code=$?
        kill -KILL $!
        wait
        exit $code
    """
    keys = {"AWS_ACCESS_KEY_ID": "site", "AWS_SECRET_ACCESS_KEY": "a secret of the site"}
    done = subprocess.run(
        [*empty_network, "sh", "-c", program],
        env={**os.environ, **keys},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr + (tmp_path / "log").read_text()
    assert json.loads(done.stdout) == {
        "first": "done",
        "again": "PreconditionFailed",
        "read": "x",
        "wrong secret": "SignatureDoesNotMatch",
        "nobody": "AccessDenied",
    }
