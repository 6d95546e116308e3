"""Settings and boto3 clients for stores and queues that use AWS's protocols.

Credentials come from boto3's own chain (environment, profile, container or instance role). boto3 is imported only when
the first client is made, so that a folder bucket does not need it and no worker pays for it at its start.
"""

import os
import threading
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, Field

from shared.errors import ConfigurationError, how_to_install

MEBIBYTE = 1024 * 1024
GET_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or give the machine a role"

_making = threading.Lock()  # clients are thread-safe, the session that makes them is not


class ClientUnavailable(ConfigurationError):
    """No client can be made, because boto3 is not installed or a setting is wrong; the message says which."""


class S3Settings(BaseModel):
    """The object store behind s3:// addresses."""

    endpoint: str | None = Field(None, description="URL of MinIO, Ceph, R2 or OSS; None is AWS")
    region: str | None = Field(None, description="None takes AWS_REGION, or boto3's configuration")
    addressing: Literal["auto", "path", "virtual"] = Field(
        "auto", description="path for most MinIO and Ceph servers; virtual for OSS, which refuses path"
    )
    conditions: Literal["if-none-match", "oss-forbid-overwrite"] = Field(
        "if-none-match", description="how the store is asked to create an object only if it is absent"
    )
    checksums: Literal["crc32", "md5"] = Field(
        "crc32", description="md5 (Content-MD5) for stores without AWS's checksums of 2025, such as OSS"
    )
    connect_seconds: float = Field(5.0, gt=0, description="time to connect")
    read_seconds: float = Field(20.0, gt=0, description="longest silence of the store; keep it below two leases")
    tries: int = Field(5, ge=1, description="tries of each call, with backoff; botocore's standard mode")
    part_bytes: int = Field(
        32 * MEBIBYTE,
        ge=5 * MEBIBYTE,
        description="larger objects are uploaded in parts of this size; S3's minimum is 5 MiB",
    )


class SqsSettings(BaseModel):
    """The queue of one function's events."""

    queue: str | None = Field(None, description="the queue's URL; without one, a worker scans the bucket")
    endpoint: str | None = Field(None, description="None uses the endpoint of the queue's region")
    wait_seconds: int = Field(20, ge=0, le=20, description="duration of a long poll; SQS allows 20")
    visibility_seconds: int = Field(
        20,
        ge=3,
        le=43_200,
        description="after this, a dead worker's message reappears; a living worker extends it every quarter of it",
    )


def region(settings: S3Settings) -> str | None:
    """Return the configured region, or AWS_REGION, which ECS and Lambda set and boto3 itself does not read."""
    return settings.region or os.environ.get("AWS_REGION") or None


def client(
    service: str, endpoint: str | None, region_name: str | None, tries: int, read_seconds: float, **options: Any
) -> Any:
    """Return a thread-safe boto3 client; raises ClientUnavailable."""
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
    """Return the process's session; it reads the service descriptions once, which takes 0.3 s."""
    import boto3

    return boto3.session.Session()
