"""The bytes of an entry: the body of a put in the input queue, its answer in the sink."""

import base64
import json
import logging

from serve.message import Message, NotAMessage, decode_message, message_key, read_header
from serve.queue_index import Entry, ServiceQueue
from serve.store import Store
from serve.wire import Frame
from shared.buckets.base import Bucket, MissingObject
from shared.contract.manifests import Json, failure, running
from shared.errors import InternalError
from shared.lifecycle.answers import DamagedAnswer
from shared.operations.client import Client
from shared.settings import Limits

log = logging.getLogger(__name__)

ENVELOPE_BYTES = 16 * 1024  # of an answer, for everything but the picture


class Answers:
    """Reads entries from the bucket when they are handed out, so that none of them is kept in memory."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store, self._bucket, self._limits = store, store.bucket, limits
        self._client = Client(store.bucket)

    def frame(self, queue: ServiceQueue, one: Entry) -> Frame | None:
        """Return the entry with its bytes; None where they were deleted from the bucket."""
        try:
            data = self._put(one) if queue.side == "source" else self._answer(one)
        except MissingObject:
            return None
        except (NotAMessage, DamagedAnswer) as error:
            # the object was overwritten; the consumer that waits for this entry is told so and may delete it
            log.error("%s of %s cannot be read: %s", queue, one.uuid, error)
            unreadable = InternalError("the bucket's object for this entry cannot be read; delete the entry")
            data = _encode(failure(one.request_id or "", unreadable, {}))
        return None if data is None else Frame(one.index, one.tags, data)

    def pending(self, service: str, tag: str) -> Frame | None:
        """Return the progress of an unanswered put (code 502) in a frame without an index; None for an unknown put."""
        one = self._store.index.of_tag(service, tag)
        if one is None or one.state == "answered" or one.request_id is None:
            return None
        data: Json = {"stage": "queued", "step": 0, "steps": 1, "eta_seconds": None}
        if one.state == "running":
            data = self._progress(service, one.request_id) or data | {"stage": "start"}
        else:
            data["ahead"] = self._store.index.ahead(one)
        return Frame(0, one.tags, _encode(running(one.request_id, data)))

    def _progress(self, service: str, request_id: str) -> Json | None:
        return self._client.progress(self._store.services[service], request_id)

    def _put(self, one: Entry) -> bytes:
        return decode_message(self._bucket.get(message_key(one.service, one.uuid)))[1]

    def _answer(self, one: Entry) -> bytes | None:
        key = message_key(one.service, one.uuid)
        record = read_header(self._bucket, key)
        if record.inline:
            return decode_message(self._bucket.get(key))[1]
        if record.error is not None:
            return _encode(record.error)
        envelope = self._client.answer(self._store.services[one.service], record.request_id or "")
        return None if envelope is None else _encode(embed_picture(envelope, record, self._bucket, self._limits))


def embed_picture(envelope: Json, record: Message, bucket: Bucket, limits: Limits) -> Json:
    """Return the answer with its picture as base64 if the request wants that, only its key is there, and it fits."""
    data = envelope["data"]
    key = data.get("image_key")
    if not isinstance(key, str) or record.picture != "base64" or data.get("image") not in (None, key):
        return envelope
    info = bucket.head(key)
    if info is None or 4 * ((info.size + 2) // 3) + ENVELOPE_BYTES > limits.answer_bytes:
        return envelope
    return envelope | {"data": data | {"image": base64.b64encode(bucket.get(key)).decode("ascii")}}


def _encode(envelope: Json) -> bytes:
    """Return the answer on one line, as the hosted product sends it."""
    return json.dumps(envelope, ensure_ascii=False).encode()
