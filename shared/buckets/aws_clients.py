"""How the stores and queues that speak AWS's protocols are reached: their settings, and boto3's clients for them.

Credentials come by boto3's own chain (environment, profile, container or instance role). boto3 is imported by the first
client and not before, so that a folder needs none and no worker pays for it at its start.
"""

import os
import threading
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, Field

from shared.errors import ConfigurationError, how_to_install

MEBIBYTE = 1024 * 1024
GET_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or give the machine a role"

_making = threading.Lock()  # clients are safe between threads, a session that makes them is not


class ClientUnavailable(ConfigurationError):
    """There can be no client: boto3 is not installed, or a setting cannot be right; the message says which."""


class S3Settings(BaseModel):
    """The object store behind s3:// addresses."""

    endpoint: str | None = Field(None, description="MinIO, Ceph, R2, OSS; None is AWS")
    region: str | None = Field(None, description="None: AWS_REGION, or what boto3 is configured with")
    addressing: Literal["auto", "path", "virtual"] = Field(
        "auto", description="path for most MinIO and Ceph; virtual for OSS, which refuses path"
    )
    conditions: Literal["if-none-match", "oss-forbid-overwrite"] = Field(
        "if-none-match", description="how the store is asked to create only what is not there"
    )
    checksums: Literal["crc32", "md5"] = Field(
        "crc32", description="md5 (Content-MD5) for stores that do not know AWS's checksums of 2025, as OSS"
    )
    connect_seconds: float = Field(5.0, gt=0, description="for a connection")
    read_seconds: float = Field(20.0, gt=0, description="without a byte from the store; below two leases")
    tries: int = Field(5, ge=1, description="of each call, with backoff; botocore's standard mode")
    part_bytes: int = Field(
        32 * MEBIBYTE, ge=5 * MEBIBYTE, description="larger objects go up in parts of this; S3's least is 5 MiB"
    )


class SqsSettings(BaseModel):
    """The queue of one function's events."""

    queue: str | None = Field(None, description="its URL; without one a worker scans the bucket")
    endpoint: str | None = Field(None, description="None: the one of the queue's region")
    wait_seconds: int = Field(20, ge=0, le=20, description="long poll; SQS allows 20")
    visibility_seconds: int = Field(
        20,
        ge=3,
        le=43_200,
        description="a message whose worker died comes back after it; extended every quarter of it while one works",
    )


def region(settings: S3Settings) -> str | None:
    """The configured region; ECS and Lambda set AWS_REGION, which boto3 itself does not read."""
    return settings.region or os.environ.get("AWS_REGION") or None


def client(
    service: str, endpoint: str | None, region_name: str | None, tries: int, read_seconds: float, **options: Any
) -> Any:
    """A boto3 client, safe between threads; ClientUnavailable."""
    try:
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise ClientUnavailable(f"s3:// and SQS need boto3: {how_to_install('cloud')}") from error
    config = Config(
        retries={"mode": "standard", "total_max_attempts": tries}, read_timeout=read_seconds, tcp_keepalive=True
    ).merge(Config(**options))
    try:
        with _making:
            return _session().client(service, endpoint_url=endpoint, region_name=region_name, config=config)
    except (ValueError, BotoCoreError) as error:
        raise ClientUnavailable(f"no {service} client: {error}") from error


@cache
def _session() -> Any:
    """One for the process: it reads the services' descriptions once, 0.3 s of every client otherwise."""
    import boto3

    return boto3.session.Session()
