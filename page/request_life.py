"""The whole life of one request, read from the bucket: manifest, attempts, progress, answer, files, events."""

import json
from dataclasses import dataclass, field
from itertools import islice

from page import texts
from shared.buckets import Bucket, BucketError
from shared.contract import keys
from shared.contract.manifests import Json, decode
from shared.contract.redaction import redact
from shared.contract.visible import visible
from shared.events import completion_event
from shared.operations.status import history
from shared.settings import Limits

MOST_FILES = 200
LONGEST_TEXT = 20_000  # characters of a manifest or an answer that are shown
LARGEST_SHOWN = 1024 * 1024  # bytes of a manifest that is read to be shown


@dataclass
class Life:
    """What the bucket has of one request.

    Attributes:
        key: of the manifest; empty if it is gone.
        manifest, answer: as texts that hold no secrets, no pictures and nothing that is not visible.
        pending: names of the destinations that have not got the completion event.
        notification: key of the event in the bucket; empty if there is none.
    """

    key: str = ""
    manifest: str = ""
    claims: list[Json] = field(default_factory=list)
    progress: Json | None = None
    answer: Json | None = None
    answer_text: str = ""
    conflicts: list[str] = field(default_factory=list)
    files: list[tuple[str, int]] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    notification: str = ""


def read_life(bucket: Bucket, function: str, request_id: str, key: str, limits: Limits) -> Life | None:
    """Return everything of a request; None if the bucket has nothing.

    Args:
        key: the manifest's, if it is known; otherwise the usual one is looked at.
    """
    key = key or keys.request(function, request_id)
    found = history(bucket, request_id, limits).get(function)
    info = bucket.head(key)
    if found is None and info is None:
        return None
    life = Life(key if info is not None else "")
    if info is not None:
        life.manifest = _show_manifest(bucket, key, info.size)
    found = found or {}
    life.claims, life.progress, life.answer = found.get("claims", []), found.get("progress"), found.get("answer")
    life.conflicts = found.get("conflicts", [])
    life.answer_text = _show(life.answer) if life.answer is not None else ""
    folder = keys.result_folder(function, request_id)
    life.files = [(one.key, one.size) for one in islice(bucket.list(folder), MOST_FILES)]
    _read_events(bucket, function, request_id, life)
    return life


def _show_manifest(bucket: Bucket, key: str, size: int) -> str:
    if size > LARGEST_SHOWN:
        return texts.size(size)
    try:
        text = bucket.get(key, LARGEST_SHOWN)
    except BucketError as error:
        return visible(str(error))
    try:
        return _show(decode(text))
    except ValueError:
        return _clean(text.decode("utf-8", "replace"))


def _show(value: Json) -> str:
    return _clean(json.dumps(value, ensure_ascii=False, indent=2))


def _clean(text: str) -> str:
    return "\n".join(visible(line) for line in redact(text[: 4 * LONGEST_TEXT]).split("\n"))[:LONGEST_TEXT]


def _read_events(bucket: Bucket, function: str, request_id: str, life: Life) -> None:
    entry = bucket.find(keys.outbox(function, request_id), LARGEST_SHOWN)
    if entry is not None:
        try:
            life.pending = [visible(str(one)) for one in decode(entry).get("pending", [])]
        except (ValueError, TypeError):
            life.pending = [keys.outbox(function, request_id)]
    if life.answer is not None and {"request_id", "code", "message"} <= life.answer.keys():
        event = completion_event(function, life.answer, bucket.address, keys.result(function, request_id))
        key = keys.notification(function, event["id"])
        life.notification = key if bucket.head(key) is not None else ""
