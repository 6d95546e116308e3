"""Events that photog writes: CloudEvents about answers, and S3's notification of an object, repeated."""

import hashlib
from datetime import UTC, datetime
from urllib.parse import quote_plus

from shared.buckets.base import ObjectInfo
from shared.contract.manifests import Json
from shared.contract.trace_context import TRACEPARENT, read_traceparent


def completion_event(function: str, envelope: Json, address: str, result_key: str) -> Json:
    """Return the CloudEvent 1.0 about an answer.

    Its id depends only on request and outcome, so that repeats have the same id.
    """
    request_id = envelope["request_id"]
    outcome = "succeeded" if envelope["code"] == "OK" else "failed"
    told = {name: envelope[name] for name in ("contract", "metadata") if name in envelope}
    traceparent = read_traceparent(envelope.get("metadata", {}))
    identity = hashlib.sha256(f"{function}/{request_id}/{outcome}".encode()).hexdigest()[:32]
    event = {
        "specversion": "1.0",
        "id": identity,
        "source": f"/photog/{function}",
        "type": f"photog.{function}.{outcome}.v1",
        "subject": request_id,
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "dataref": result_key,
        "data": {"bucket": address, "code": envelope["code"], "message": envelope["message"]} | told,
    }
    return event if traceparent is None else event | {TRACEPARENT: traceparent}  # CloudEvents' tracing extension


def put_event(bucket: str, info: ObjectInfo, prefix: str = "") -> Json:
    """Return S3's notification of an object, for a queue that has lost the store's own."""
    stored = {"key": quote_plus(prefix + info.key), "size": info.size, "eTag": info.etag}
    record = {"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}
    return {"Records": [record | {"s3": {"bucket": {"name": bucket}, "object": stored}}]}
