"""The life of one request: receive, claim, run, publish, notify.

| step | what makes it safe to repeat |
|---|---|
| receive | a request whose answer exists is not run again; the same id with another body becomes a conflict object |
| claim | `claims.py`; the attempt's number is stored before the work starts |
| run | artifacts lie under the attempt's own prefix; the next attempt may read them, the answer clears the older ones |
| publish | events are noted (`notify/outbox.py`), then `result.json` is created only if absent: the commit point |
| notify | pointers and events follow from the result alone, so they are repeated whenever the request is seen again |
"""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from shared.attempt import Attempt, progress_key
from shared.buckets.base import Bucket, MissingObject
from shared.claims import Busy, ClaimRecord, Claims, Exhausted
from shared.errors import (
    AttemptsExhausted,
    ConflictingRequest,
    DeadlineExceeded,
    InternalError,
    ManifestTooLarge,
    RequestError,
)
from shared.events import ObjectCreated, completed
from shared.function import Function
from shared.heartbeat import Heartbeat
from shared.interruption import ClaimLost, HandedBack, Shutdown
from shared.manifests import Json, Manifest, decode, encode, failure, invalid_id, parse, success
from shared.notify import Notifier
from shared.photo_source import PhotoSource
from shared.photos import PhotoFetcher
from shared.settings import Settings
from shared.workspace import SCRATCH

log = logging.getLogger(__name__)


class Outcome(Enum):
    """What became of a delivery."""

    ANSWERED = "answered"
    ALREADY = "already answered"
    CONFLICT = "conflict"
    IGNORED = "ignored"
    BUSY = "busy"
    HANDED_BACK = "handed back"

    @property
    def settled(self) -> bool:
        """Whether the delivery needs no second look."""
        return self not in (Outcome.BUSY, Outcome.HANDED_BACK)


class Invocation:
    """Serves the requests of one function in one bucket, one at a time."""

    def __init__(
        self,
        bucket: Bucket,
        function: Function,
        settings: Settings,
        owner: str,
        shutdown: Shutdown,
        notifiers: Sequence[Notifier] = (),
        named: Mapping[str, Bucket] | None = None,
        on_beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._bucket, self._function, self._settings = bucket, function, settings
        self._shutdown, self._notifiers, self._on_beat = shutdown, notifiers, on_beat
        self._claims = Claims(bucket, function.name, settings.lease, owner)
        sources = {name: PhotoSource(source) for name, source in (named or {}).items()}
        own = PhotoSource(bucket)
        self._fetcher = PhotoFetcher(
            settings.limits,
            settings.private_addresses,
            own.read,
            {name: source.read for name, source in sources.items()},
            size_of=own.size,
            bucket_sizes={name: source.size for name, source in sources.items()},
        )

    def receive(self, created: ObjectCreated) -> Outcome:
        """Answer the request that a manifest makes, whoever delivers it and however often."""
        if not is_request(created.key, self._function.name):
            return Outcome.IGNORED
        info = self._bucket.head(created.key)
        if info is None or info.size == 0:
            return Outcome.IGNORED
        try:
            if info.size > self._settings.limits.manifest_bytes:
                raise ManifestTooLarge(
                    f"{created.key} has {info.size} bytes, {self._settings.limits.manifest_bytes} are allowed"
                )
            manifest = parse(self._bucket.get(created.key))
        except MissingObject:
            return Outcome.IGNORED
        except RequestError as error:
            return self._refuse(created.key, error)
        return self._serve(manifest, created.key)

    def _refuse(self, key: str, error: RequestError) -> Outcome:
        """Answer a manifest that has no usable id under one made of its bytes."""
        digest = hashlib.sha256()
        for piece in self._bucket.stream(key):
            digest.update(piece)
        identity = invalid_id(digest.hexdigest())
        named = type(error)(f"{key}: {error.message}", error.field)
        envelope = failure(identity, named, {"manifest": key, "cost_time": 0.0})
        written = self._commit(envelope)
        self._finish(envelope)
        return Outcome.ANSWERED if written else Outcome.ALREADY

    def _serve(self, manifest: Manifest, key: str) -> Outcome:
        first = self._claims.first(manifest.request_id)
        if first is not None and first.payload_sha256 != manifest.sha256:
            return self._conflict(manifest, key, first)
        if self._answered(manifest.request_id):
            return Outcome.ALREADY
        claim = self._claims.acquire(manifest.request_id, key, manifest.sha256)
        if isinstance(claim, Busy):
            return Outcome.BUSY
        if self._answered(manifest.request_id):
            return Outcome.ALREADY
        if isinstance(claim, Exhausted):
            died = claim.record.attempt - 1
            error = AttemptsExhausted(f"{died} workers died on this request; it may need more memory than there is")
            self._publish(failure(manifest.request_id, error, {"cost_time": 0.0}), claim.record)
            return Outcome.ANSWERED
        return self._run(manifest, claim.record)

    def _conflict(self, manifest: Manifest, key: str, first: ClaimRecord) -> Outcome:
        """The id is taken by another body, whose answer this never touches."""
        error = ConflictingRequest(
            f"request_id {manifest.request_id} was used by {first.manifest} with another body; "
            f"send {key} under a new id",
            "request_id",
        )
        name = f"conflict-{manifest.sha256[:8]}.json"
        envelope = failure(manifest.request_id, error, {"manifest": key, "cost_time": 0.0})
        if self._bucket.put_if_absent(self._folder(manifest.request_id) + name, encode(envelope)):
            log.warning("%s", error.message)
        if first.manifest != key or self._answered(manifest.request_id):
            return Outcome.CONFLICT
        return self._overwritten(manifest, key, first)

    def _overwritten(self, manifest: Manifest, key: str, first: ClaimRecord) -> Outcome:
        """The accepted body is gone from the bucket: if its worker dies too, only an error can answer it."""
        claim = self._claims.acquire(manifest.request_id, key, first.payload_sha256)
        if isinstance(claim, Busy):
            return Outcome.BUSY
        error = ConflictingRequest(
            f"{key} was overwritten before it was answered; send both under new ids", "request_id"
        )
        self._publish(failure(manifest.request_id, error, {"cost_time": 0.0}), claim.record)
        return Outcome.CONFLICT

    def _run(self, manifest: Manifest, record: ClaimRecord) -> Outcome:
        request_id, started = manifest.request_id, time.monotonic()
        log.info("%s %s begins, attempt %d", self._function.name, request_id, record.attempt)

        def publish_deadline() -> None:
            limit = self._settings.limits.request_seconds
            error = DeadlineExceeded(f"the request took longer than the {limit:.0f} s that are allowed")
            self._publish(failure(request_id, error, {"cost_time": time.monotonic() - started}), record)

        limit = self._settings.limits.request_seconds
        heartbeat = Heartbeat(
            self._claims,
            request_id,
            record,
            self._settings.lease,
            self._shutdown,
            limit,
            publish_deadline,
            self._on_beat,
        )
        try:
            with heartbeat:
                attempt = Attempt(
                    self._bucket, self._function.name, request_id, record.attempt, self._fetcher, heartbeat.check
                )
                envelope = self._envelope(manifest, attempt, started)
        except HandedBack:  # its artifacts stay: the next attempt may go on from them, and clears them
            self._claims.release(request_id, heartbeat.record)
            return Outcome.HANDED_BACK
        except ClaimLost as lost:
            log.warning("%s", lost)
            self._clear(request_id, record.attempt)
            return Outcome.BUSY
        self._publish(envelope, record)
        log.info(
            "%s %s ends after %.1f s: %s",
            self._function.name,
            request_id,
            time.monotonic() - started,
            envelope["message"],
        )
        return Outcome.ANSWERED

    def _envelope(self, manifest: Manifest, attempt: Attempt, started: float) -> Json:
        """What the function says, or what went wrong; only an interruption gets through."""
        try:
            attempt.progress("start", 0, 1)
            answer = self._function.answer(manifest.body, attempt)
            data = {"cost_time": time.monotonic() - started} | answer.data
            encode(data)  # what cannot be written is this request's error, not the worker's
        except (HandedBack, ClaimLost):
            raise
        except RequestError as error:
            return failure(manifest.request_id, error, {"cost_time": time.monotonic() - started})
        except Exception as error:  # the boundary: a request must be answered whatever happens in it
            log.exception("%s %s failed", self._function.name, manifest.request_id)
            unforeseen = InternalError(f"{type(error).__name__}: {error}; the worker's log has the trace")
            return failure(manifest.request_id, unforeseen, {"cost_time": time.monotonic() - started})
        return success(manifest.request_id, answer.message, data)

    def _publish(self, envelope: Json, record: ClaimRecord) -> None:
        """Commit the answer; if another one is there, ours and its artifacts go."""
        request_id, data = envelope["request_id"], encode(envelope)
        key = self._result_key(request_id)
        if not self._commit(envelope) and self._bucket.get(key) != data:
            log.warning("%s %s was answered by another attempt", self._function.name, request_id)
            self._clear(request_id, record.attempt)
            return
        for attempt in range(1, record.attempt + (envelope["code"] != "OK")):
            self._clear(request_id, attempt)
        self._clear(request_id, record.attempt, SCRATCH)
        self._finish(envelope)

    def _commit(self, envelope: Json) -> bool:
        """Create the answer, whose events are noted before it; False where there is one."""
        for notifier in self._notifiers:
            notifier.announce(self._function.name, envelope["request_id"])
        return self._bucket.put_if_absent(self._result_key(envelope["request_id"]), encode(envelope))

    def _answered(self, request_id: str) -> bool:
        """Whether the answer is there; if so, whatever follows from it is made sure of."""
        text = self._read(self._result_key(request_id))
        if text is None:
            return False
        self._finish(decode(text))
        return True

    def _finish(self, envelope: Json) -> None:
        """Swap pointers, tell the consumers, drop the progress; may happen any number of times."""
        request_id = envelope["request_id"]
        key = self._result_key(request_id)
        if envelope["code"] == "OK":
            for pointer, content in self._function.pointers(envelope["data"]).items():
                self._swap(pointer, content, key)
        event = completed(self._function.name, envelope, self._bucket.address, key)
        for notifier in self._notifiers:
            notifier.notify(self._function.name, event)
        self._bucket.delete(progress_key(self._function.name, request_id))

    def _swap(self, pointer: str, content: Json, result_key: str) -> None:
        """Point to a committed answer, unless the pointer names one that was committed later."""
        result, current = self._bucket.head(result_key), self._read(pointer)
        if result is None or (current is not None and decode(current)["committed"] >= result.modified):
            return
        self._bucket.put(pointer, encode(content | {"committed": result.modified}))

    def _clear(self, request_id: str, attempt: int, below: str = "") -> None:
        for info in self._bucket.list(f"{self._folder(request_id)}a{attempt}/{below}"):
            self._bucket.delete(info.key)

    def _read(self, key: str) -> bytes | None:
        try:
            return self._bucket.get(key)
        except MissingObject:
            return None

    def _folder(self, request_id: str) -> str:
        return f"results/{self._function.name}/{request_id}/"

    def _result_key(self, request_id: str) -> str:
        return self._folder(request_id) + "result.json"


def is_request(key: str, function: str) -> bool:
    """Whether a key is a manifest of this function: `requests/<function>/.../<name>.json`, no hidden file."""
    return (
        key.startswith(f"requests/{function}/") and key.endswith(".json") and not key.rpartition("/")[2].startswith(".")
    )
