"""Which object store this machine means: the variables, and the defaults that go with them.

S3_ENDPOINT (without it, AWS itself), AWS_REGION, MODEL_BUCKET. Each side hands this to boto3, which
finds the secrets by itself: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, a profile, a role.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

BUCKET: Final = "whisper-models"
"""The bucket where nothing else names one."""

REGION: Final = "us-east-1"
"""What stores other than AWS itself are content with."""

KEYS_HINT: Final = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and S3_ENDPOINT"


@dataclass(frozen=True)
class ObjectStore:
    """One store.

    Attributes:
        endpoint: its address; None for AWS itself.
        region: of the store.
    """

    endpoint: str | None
    region: str

    @classmethod
    def of_environment(cls, endpoint: str | None = None) -> ObjectStore:
        """The store that the variables name, or another one in their region."""
        variables = (os.environ.get(name) for name in ("AWS_REGION", "AWS_DEFAULT_REGION"))
        return cls(
            endpoint or os.environ.get("S3_ENDPOINT") or None, next(filter(None, variables), REGION)
        )

    @property
    def host(self) -> str:
        """For a person."""
        return urlsplit(self.endpoint).hostname or "" if self.endpoint else "*.amazonaws.com"

    @property
    def arguments(self) -> Mapping[str, Any]:
        """For boto3's `client`."""
        return {"endpoint_url": self.endpoint, "region_name": self.region}

    @property
    def config(self) -> Mapping[str, Any]:
        """For botocore's `Config`: other stores know buckets by path alone."""
        style = "path" if self.endpoint else "auto"
        return {"signature_version": "s3v4", "s3": {"addressing_style": style}}


def usual_bucket() -> str:
    """What MODEL_BUCKET names, or the default."""
    return os.environ.get("MODEL_BUCKET") or BUCKET
