"""Events that photog itself writes: CloudEvents that tell of an answer, and S3's record of an object once more."""

import hashlib
from datetime import UTC, datetime
from urllib.parse import quote_plus

from shared.buckets.base import ObjectInfo
from shared.contract.manifests import Json


def completion_event(function: str, envelope: Json, address: str, result_key: str) -> Json:
    """The CloudEvent 1.0 that tells of an answer. Its id depends on request and outcome only, so repeats collide."""
    request_id = envelope["request_id"]
    outcome = "succeeded" if envelope["code"] == "OK" else "failed"
    identity = hashlib.sha256(f"{function}/{request_id}/{outcome}".encode()).hexdigest()[:32]
    return {
        "specversion": "1.0",
        "id": identity,
        "source": f"/photog/{function}",
        "type": f"photog.{function}.{outcome}.v1",
        "subject": request_id,
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "dataref": result_key,
        "data": {"bucket": address, "code": envelope["code"], "message": envelope["message"]},
    }


def put_event(bucket: str, info: ObjectInfo, prefix: str = "") -> Json:
    """S3's notification of an object, for a queue that has lost the one of the store."""
    stored = {"key": quote_plus(prefix + info.key), "size": info.size, "eTag": info.etag}
    record = {"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}
    return {"Records": [record | {"s3": {"bucket": {"name": bucket}, "object": stored}}]}
