"""ObjectCreated out of a store's notification; CloudEvents going out."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote_plus

from shared.manifests import Json


class UnknownEvent(Exception):
    """The event has none of the forms that we read."""


@dataclass(frozen=True)
class ObjectCreated:
    """A new or changed object; `size` and `etag` as the sender gave them, None where it gave none."""

    key: str
    bucket: str | None = None
    size: int | None = None
    etag: str | None = None


def parse(event: Json) -> list[ObjectCreated]:
    """The objects that an event speaks of; none for a test event. UnknownEvent for what is no storage event.

    Reads S3 notifications (`Records`) and S3 through EventBridge.
    """
    if event.get("Event") == "s3:TestEvent":
        return []
    if "Records" in event:
        return [_from_record(record) for record in event["Records"] if "ObjectCreated" in record.get("eventName", "")]
    if event.get("source") == "aws.s3":
        return [_from_detail(event["detail"])] if event.get("detail-type") == "Object Created" else []
    raise UnknownEvent(f"no storage event: it has the keys {', '.join(sorted(event)) or 'of nothing'}")


def _from_record(record: Json) -> ObjectCreated:
    stored = record["s3"]["object"]
    # S3 quotes the key of a record as a form does: + for a space
    return ObjectCreated(
        unquote_plus(stored["key"]), record["s3"]["bucket"]["name"], stored.get("size"), stored.get("eTag")
    )


def _from_detail(detail: Json) -> ObjectCreated:
    stored = detail["object"]
    return ObjectCreated(
        stored["key"], detail["bucket"]["name"], stored.get("size"), stored.get("etag", stored.get("eTag"))
    )


def completed(function: str, envelope: Json, address: str, result_key: str) -> Json:
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
