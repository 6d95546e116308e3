"""The forms of stores' notifications, one function each; keys are decoded as their sender encodes them.

| sender | recognized by | key |
|---|---|---|
| S3, MinIO | `eventSource` aws:s3, minio:s3 in `Records` | form-quoted: + for a space |
| Ceph | `eventSource` ceph:s3 in `Records` | as it is |
| S3 through EventBridge | `source` aws.s3 | as it is |
| OSS, by Function Compute, MNS, EventBridge | `oss` in an entry of `events` or a CloudEvent's data | as it is |
| Google Cloud Storage | CloudEvent of type google.cloud.storage... | as it is |
| S3 as a CloudEvent | type com.amazonaws.s3.<event name>, the record as data | as in the record |
"""

from urllib.parse import unquote_plus

from shared.contract.manifests import Json
from shared.events.created import ObjectCreated, UnknownEvent

# All names of the events that create an object. Other kinds of ObjectCreated:* do not: OSS uses them for an uploaded
# part, and MinIO for setting a tag.
CREATIONS = {"Put", "PutObject", "Post", "PostObject", "Copy", "CopyObject", "CompleteMultipartUpload"}
QUOTING = {"aws:s3", "minio:s3"}
GCS_FINALIZED = "google.cloud.storage.object.v1.finalized"
S3_CLOUD_EVENT = "com.amazonaws.s3."


def from_s3_record(record: Json) -> list[ObjectCreated]:
    """Read an entry of `Records`."""
    if not _is_creation(record.get("eventName", "")):
        return []
    stored = record["s3"]["object"]
    # a sender that does not name itself copies S3's form, and so quotes like S3
    key = unquote_plus(stored["key"]) if record.get("eventSource", "aws:s3") in QUOTING else stored["key"]
    return [_make_object(key, record["s3"]["bucket"]["name"], stored.get("size"), stored.get("eTag"))]


def from_eventbridge(event: Json) -> list[ObjectCreated]:
    """Read S3's event from EventBridge."""
    if event.get("detail-type") != "Object Created":
        return []
    detail = event["detail"]
    stored = detail["object"]
    etag = stored.get("etag", stored.get("eTag"))
    return [_make_object(stored["key"], detail["bucket"]["name"], stored.get("size"), etag)]


def from_oss(entry: Json) -> list[ObjectCreated]:
    """Read an entry of `events`, or the data of OSS's CloudEvent."""
    if not _is_creation(entry.get("eventName", "")):
        return []
    stored = entry["oss"]["object"]
    return [_make_object(stored["key"], entry["oss"]["bucket"]["name"], stored.get("size"), stored.get("eTag"))]


def from_cloud_event(event: Json) -> list[ObjectCreated]:
    """Read a structured CloudEvent 1.0; raises UnknownEvent for a type that no store sends."""
    kind, data = str(event.get("type", "")), event.get("data")
    if not isinstance(data, dict):
        raise UnknownEvent(f"the data of the CloudEvent {kind} is not an object")
    if kind.startswith("oss:"):
        return from_oss(data | {"eventName": kind.removeprefix("oss:")})
    if kind == GCS_FINALIZED:
        size = int(data["size"]) if "size" in data else None  # a string, as JSON's numbers lose digits of 64 bits
        return [_make_object(data["name"], data["bucket"], size, data.get("etag"))]
    if kind.startswith(S3_CLOUD_EVENT):
        record = data if "s3" in data else {"s3": data}
        return from_s3_record(record | {"eventName": kind.removeprefix(S3_CLOUD_EVENT)})
    raise UnknownEvent(f"no store sends CloudEvents of type {kind}")


def _make_object(key: object, bucket: object, size: object, etag: object) -> ObjectCreated:
    """Return the object that an event describes; a malformed size or etag becomes None.

    Raises TypeError or ValueError for a malformed key or bucket.
    """
    if not isinstance(key, str) or not isinstance(bucket, str):
        raise TypeError(f"key and bucket must be text, not {type(key).__name__} and {type(bucket).__name__}")
    key.encode()  # raises ValueError for half of a surrogate pair, which no key has
    known = size if isinstance(size, int) and not isinstance(size, bool) else None
    return ObjectCreated(key, bucket, known, etag if isinstance(etag, str) else None)


def _is_creation(name: str) -> bool:
    family, _, kind = name.removeprefix("s3:").partition(":")
    return family == "ObjectCreated" and kind in CREATIONS
