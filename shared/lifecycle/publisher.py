"""Answers on their way out: committed once, and whatever follows from them made sure of.

| what is there | what it means |
|---|---|
| `progress/<function>/<request_id>.json`, no answer | the request runs, or is about to be answered |
| both | answered, but its worker may not have told everybody: whoever sees it does so again |
| the answer alone | done |
| progress of what has no usable id, for two leases | its worker died, and the text may be another by now: withdrawn |

So a worker that starts beside a hundred thousand answers need not look at each for what a crash may have left undone.
"""

import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from shared.buckets.base import Bucket, BucketError, StoreUnavailable
from shared.contract import keys
from shared.contract.function import Function
from shared.contract.hooks import AttemptHook
from shared.contract.manifests import Json, decode, encode, is_invalid_id, running
from shared.events import completion_event
from shared.lifecycle.claims import Claims
from shared.lifecycle.pointers import Pointers, is_plausible

log = logging.getLogger(__name__)

LARGEST = 256 * 1024 * 1024  # bytes of an answer that is read again; the setting is a tenth of it
ATTEMPT = re.compile(r"a\d+/")
COMMITTED = "committed"  # in an answer that pointers follow: its moment, see `pointers.py`


class Publisher:
    """Publishes the answers of one function.

    Args:
        hooks: told of every answer before it is committed and, at least once, afterwards.
        patience: seconds on our clock after which a refusal that was only announced counts as abandoned.
    """

    def __init__(self, bucket: Bucket, function: Function, hooks: AttemptHook, claims: Claims, patience: float) -> None:
        self._bucket, self._function, self._hooks = bucket, function, hooks
        self._claims, self._patience = claims, patience
        self._pointers = Pointers(bucket)
        self._announcements: dict[str, tuple[str, float]] = {}

    def answered(self, request_id: str) -> bool:
        """Whether the answer is there; where its worker may have gone too early, what follows is made sure of."""
        if self._bucket.head(self.result_key(request_id)) is None:
            return False
        if self._announced(request_id):
            text = self._bucket.find(self.result_key(request_id), LARGEST)
            if text is not None:
                self._clear_left(request_id, text)
                self._finish(decode(text))
        return True

    def finish_left(self) -> None:
        """Whatever is answered and has a progress object still; what will never be answered is withdrawn.

        That is the refusal of a text that its writer has completed since, and whose worker died before it answered:
        nobody makes an id of those bytes again.
        """
        prefix = keys.running(self._function.name)
        unanswered = {}
        for info in list(self._bucket.list(prefix)):
            request_id = info.key.removeprefix(prefix).removesuffix(".json")
            if not self.answered(request_id) and is_invalid_id(request_id):
                unanswered[request_id] = info.etag
        self._withdraw(unanswered)

    def refuse(self, envelope: Json) -> bool:
        """Answer what was never run; whether this was the answer."""
        self.announce(envelope["request_id"])
        written = self._commit(envelope)
        if written:
            # should we have slept so long that somebody has withdrawn it
            self._hooks.committing(self._function.name, envelope["request_id"])
            self._finish(envelope)
        else:
            self.answered(envelope["request_id"])
        return written

    def announce(self, request_id: str) -> None:
        """Note that an answer is about to be written, for whoever comes after a crash.

        Where just that cannot be written, the answer still can: only a crash in the next moment would stay unseen.
        """
        data = {"stage": "answer", "step": 1, "steps": 1, "eta_seconds": 0.0}
        key = keys.progress(self._function.name, request_id)
        with _tolerated(key):
            self._bucket.put(key, encode(running(request_id, data)))

    def publish(self, envelope: Json, attempt: int) -> None:
        """Commit the answer of an attempt; if another one is there, ours and its artifacts go."""
        request_id, pointers = envelope["request_id"], self._pointed(envelope)
        if pointers and COMMITTED not in envelope["data"]:  # else this is another try to write the very same answer
            envelope["data"][COMMITTED] = self._pointers.moment(pointers, self._store_time(request_id))
        elif not self._announced(request_id):
            self.announce(request_id)  # a full disk took no progress; without it nobody would end what we begin
        data = encode(envelope)
        if not self._commit(envelope) and self._bucket.get(self.result_key(request_id)) != data:
            log.warning("%s %s was answered by another attempt", self._function.name, request_id)
            self.clear(request_id, attempt)
            return
        for earlier in range(1, attempt + (envelope["code"] != "OK")):
            self.clear(request_id, earlier)
        self.clear(request_id, attempt, keys.SCRATCH)
        self._finish(envelope, pointers)

    def clear(self, request_id: str, attempt: int, below: str = "") -> None:
        """Remove the artifacts of an attempt."""
        for info in list(self._bucket.list(f"{self.folder(request_id)}a{attempt}/{below}")):
            self._bucket.delete(info.key)

    def _clear_left(self, request_id: str, answer: bytes) -> None:
        """Remove what a worker that died meanwhile has left: scratch, and attempts that the answer does not name.

        An answer with OK that names none may belong to any of them: then all their artifacts stay.
        """
        folder, text = self.folder(request_id), answer.decode()
        lying = [info.key for info in self._bucket.list(f"{folder}a")]
        attempts = {found[0] for key in lying if (found := ATTEMPT.match(key.removeprefix(folder)))}
        ours = {attempt for attempt in attempts if folder + attempt in text}
        if decode(answer)["code"] == "OK" and not ours:
            ours = attempts
        for key in lying:
            attempt = key.removeprefix(folder).partition("/")[0] + "/"
            if attempt in attempts and (attempt not in ours or key.startswith(folder + attempt + keys.SCRATCH)):
                self._bucket.delete(key)

    def folder(self, request_id: str) -> str:
        """Where the answer, conflicts and artifacts of a request lie."""
        return keys.result_folder(self._function.name, request_id)

    def result_key(self, request_id: str) -> str:
        """Where the answer lies."""
        return self.folder(request_id) + "result.json"

    def _announced(self, request_id: str) -> bool:
        key = keys.progress(self._function.name, request_id)
        with _tolerated(key):
            return self._bucket.head(key) is not None
        return False

    def _commit(self, envelope: Json) -> bool:
        """Create the answer, whose events are noted before it; False where there is one."""
        self._hooks.committing(self._function.name, envelope["request_id"])
        return self._bucket.put_if_absent(self.result_key(envelope["request_id"]), encode(envelope))

    def _withdraw(self, refusals: Mapping[str, str]) -> None:
        """Drop what was announced and has not changed while we were patient.

        Args:
            refusals: the etags of their progress, by id.
        """
        now, seen = time.monotonic(), self._announcements
        self._announcements = {
            request_id: seen[request_id] if seen.get(request_id, ("",))[0] == etag else (etag, now)
            for request_id, etag in refusals.items()
        }
        for request_id, (_, since) in self._announcements.items():
            if now - since >= self._patience:
                self._hooks.withdrawn(self._function.name, request_id)
                self._bucket.delete(keys.progress(self._function.name, request_id))

    def _finish(self, envelope: Json, pointers: Mapping[str, Json] | None = None) -> None:
        """Swap pointers, tell the consumers, drop the progress; may happen any number of times.

        Args:
            pointers: what the function says of the answer; None: it is asked.
        """
        request_id = envelope["request_id"]
        key = self.result_key(request_id)
        pointers = self._pointed(envelope) if pointers is None else pointers
        if pointers and (committed := self._committed(envelope)) is not None:
            for pointer, content in pointers.items():
                self._pointers.swap(pointer, content, key, committed)
        event = completion_event(self._function.name, envelope, self._bucket.address, key)
        self._hooks.committed(self._function.name, event)
        key = keys.progress(self._function.name, request_id)
        with _tolerated(key):
            self._bucket.delete(key)

    def _pointed(self, envelope: Json) -> Mapping[str, Json]:
        """What points to an answer once it is committed."""
        return self._function.pointers(envelope["data"]) if envelope["code"] == "OK" else {}

    def _store_time(self, request_id: str) -> float:
        """The store's time, by an object that we write anyhow; our own where that cannot be."""
        self.announce(request_id)
        key = keys.progress(self._function.name, request_id)
        with _tolerated(key):
            info = self._bucket.head(key)
            if info is not None:
                return info.modified
        return time.time()

    def _committed(self, envelope: Json) -> float | None:
        """The moment of an answer as it says itself; None where it is gone, with whom it was for.

        An answer of an earlier version does not say it: it was given when its last attempt began and as long after as
        that took, and not after its object was made. Of these only the latter is new in a copy.
        """
        request_id, told = envelope["request_id"], is_plausible(envelope["data"].get(COMMITTED))
        result = self._bucket.head(self.result_key(request_id))
        if result is None or told is not None:
            return None if result is None else told
        started = max((record.started for record in self._claims.all(request_id)), default=0.0)
        took = is_plausible(envelope["data"].get("cost_time")) or 0.0
        return max(0.0, min(result.modified, started + took))


@contextmanager
def _tolerated(key: str) -> Iterator[None]:
    """Go on where one key cannot be used, which nothing depends on; a store that is away is another matter."""
    try:
        yield
    except StoreUnavailable:
        raise
    except BucketError as error:
        log.warning("%s is passed over: %s", key, error)
