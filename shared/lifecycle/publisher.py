"""Publication of answers: each is committed once, and everything that must follow is completed.

| what exists | what it means |
|---|---|
| `progress/<function>/<request_id>.json`, no answer | the request runs, or is about to be answered |
| both | answered, but its worker may not have notified everybody: whoever sees it does so again |
| only the answer | done |
| progress of an unreadable manifest, for two leases | its worker died, and the text may differ by now: withdrawn |
| progress beside an answer that is none of photog's | nothing follows from it: shown as a failing key |

So a worker that starts on a bucket with a hundred thousand answers need not examine each for what a crash left undone.
"""

import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from shared.buckets.base import Bucket, BucketError, StoreUnavailable
from shared.contract import keys
from shared.contract.function import AttemptFailed, Function, FunctionUnavailable, PointersUnknown
from shared.contract.hooks import Attempt, AttemptHook
from shared.contract.manifests import REQUEST_ID, Json, encode, is_invalid_id, running
from shared.events import completion_event
from shared.lifecycle.answers import parse_answer
from shared.lifecycle.claims import Claims
from shared.lifecycle.pointers import Pointers, is_plausible
from shared.observability.failing_keys import Failures

log = logging.getLogger(__name__)

LARGEST = 256 * 1024 * 1024  # bytes of an answer that is read back; the setting's default is a tenth of it
ATTEMPT = re.compile(r"a\d+/")
COMMITTED = "committed"  # member of an answer that pointers name: its moment, see `pointers.py`


class Publisher:
    """Publishes the answers of one function.

    Args:
        hooks: called for every answer before it is committed and, at least once, afterwards.
        patience: seconds on our clock after which a refusal that was only announced counts as abandoned.
    """

    def __init__(self, bucket: Bucket, function: Function, hooks: AttemptHook, claims: Claims, patience: float) -> None:
        self._bucket, self._function, self._hooks = bucket, function, hooks
        self._claims, self._patience = claims, patience
        self._pointers = Pointers(bucket)
        self._failures = Failures(bucket, function.name, keys.running(function.name))
        self._announcements: dict[str, tuple[str, float]] = {}

    def is_answered(self, request_id: str) -> bool:
        """Return whether the answer exists; if its worker may have died early, complete what follows from it.

        Raises DamagedAnswer if nothing can follow from it.
        """
        if self._bucket.head(self.result_key(request_id)) is None:
            return False
        if self._is_announced(request_id):
            text = self._bucket.find(self.result_key(request_id), LARGEST)
            if text is not None:
                envelope = parse_answer(self.result_key(request_id), request_id, text)
                with suppress(PointersUnknown):  # its progress stays, by which a worker of the function finds it
                    pointers = self.get_pointers(envelope)
                    self._clear_left(request_id, text.decode(), envelope["code"])
                    self._finish(envelope, pointers)
        return True

    def finish_left(self) -> None:
        """Complete answers that still have a progress object; withdraw those that will never be written.

        One that fails, such as an answer that is damaged, is recorded, and the others go on.

        The latter are refusals of a text that its writer has completed since, and whose worker died before it answered:
        no manifest has those bytes, and so that id, any more.
        """
        prefix = keys.running(self._function.name)
        left = {}
        for info in list(self._bucket.list(prefix)):
            request_id = info.key.removeprefix(prefix).removesuffix(".json")
            if REQUEST_ID.fullmatch(request_id):  # else somebody else put it there
                left[request_id] = info.etag
        self._failures.adopt()
        self._failures.keep({keys.progress(self._function.name, request_id) for request_id in left})
        self._withdraw({request_id: left[request_id] for request_id in left if self._awaits_refusal(request_id)})

    def _awaits_refusal(self, request_id: str) -> bool:
        """Complete an answer; return whether there is none and it would be a refusal."""
        key, answered = keys.progress(self._function.name, request_id), True
        if not self._failures.rests(key):
            with self._record_failure(key):
                answered = self.is_answered(request_id)
        return not answered and is_invalid_id(request_id)

    @contextmanager
    def _record_failure(self, key: str) -> Iterator[None]:
        """Record it where one progress object or its answer fails, so that the others go on."""
        try:
            yield
        except (StoreUnavailable, FunctionUnavailable, AttemptFailed):
            raise
        except Exception as error:  # noqa: BLE001 - the boundary between keys: one must never stop the others
            self._failures.add(key, error)
        else:
            self._failures.remove(key)

    def refuse(self, envelope: Json) -> bool:
        """Answer a request that was never run; returns whether this answer was the one written."""
        self.announce(envelope["request_id"])
        written = self._commit(envelope)
        if written:
            # again, in case we were frozen so long that another worker has withdrawn it
            self._hooks.committing(self._function.name, envelope["request_id"])
            self._finish(envelope)
        else:
            self.is_answered(envelope["request_id"])
        return written

    def announce(self, request_id: str) -> bool:
        """Record that an answer is about to be written, for the workers that come after a crash; False if it fails.

        Then the answer still can be written: only a crash in the next moment would go unseen.
        """
        data = {"stage": "answer", "step": 1, "steps": 1, "eta_seconds": 0.0}
        key = keys.progress(self._function.name, request_id)
        with _tolerate_errors(key):
            self._bucket.put(key, encode(running(request_id, data)))
            return True
        return False

    def publish(self, envelope: Json, attempt: Attempt, pointers: Mapping[str, Json] | None = None) -> None:
        """Commit the answer of an attempt; if another answer exists, remove this attempt's artifacts.

        Args:
            pointers: the function's pointers of the answer; None asks the function.
        """
        request_id = envelope["request_id"]
        pointers = self.get_pointers(envelope) if pointers is None else pointers
        if pointers and COMMITTED not in envelope["data"]:  # else this is a retry of the very same answer
            envelope["data"][COMMITTED] = self._pointers.moment(pointers, self._get_store_time(request_id))
        elif not attempt.announced.is_set() and not self._is_announced(request_id):
            self.announce(request_id)  # a full disk refused it; without it, nobody would complete this after a crash
        data = encode(envelope)
        if not self._commit(envelope) and self._bucket.get(self.result_key(request_id)) != data:
            log.warning("%s %s was answered by another attempt", self._function.name, request_id)
            self.clear_lost(request_id, attempt.number)
            return
        for earlier in range(1, attempt.number):
            self.clear(request_id, earlier)
        if any(name.startswith(keys.SCRATCH) or envelope["code"] != "OK" for name in tuple(attempt.meter.saved)):
            self.clear(request_id, attempt.number, keys.SCRATCH if envelope["code"] == "OK" else "")
        self._finish(envelope, pointers)

    def clear_lost(self, request_id: str, attempt: int) -> None:
        """Remove the artifacts of an attempt that lost the request, unless the answer names them.

        Where claims were deleted while a request ran, another worker may have begun an attempt of the same number.
        """
        answer = self._bucket.find(self.result_key(request_id), LARGEST)
        if answer is None or f'"{self.folder(request_id)}a{attempt}/'.encode() not in answer:
            self.clear(request_id, attempt)

    def clear(self, request_id: str, attempt: int, below: str = "") -> None:
        """Remove the artifacts of an attempt."""
        for info in list(self._bucket.list(f"{self.folder(request_id)}a{attempt}/{below}")):
            if not self._serves_user(info.key):
                self._bucket.delete(info.key)

    def _serves_user(self, key: str) -> bool:
        """Return whether a user's model names this photo: one that an erased portrait of several people has left.

        The portrait's id is free then, and whoever uses it again must not remove the photo.
        """
        user = keys.whose_photo(key)
        if user is None:
            return False
        model = self._bucket.find(keys.model(user), LARGEST)
        return model is not None and f'"{key}"'.encode() in model

    def _clear_left(self, request_id: str, answer: str, code: str) -> None:
        """Remove what a worker that died has left: scratch, and attempts that the answer does not name.

        If an answer with code OK names no attempt, it may belong to any of them: then all their artifacts stay.
        """
        folder = self.folder(request_id)
        lying = [info.key for info in self._bucket.list(f"{folder}a")]
        attempts = {found[0] for key in lying if (found := ATTEMPT.match(key.removeprefix(folder)))}
        ours = {attempt for attempt in attempts if folder + attempt in answer}
        if code == "OK" and not ours:
            ours = attempts
        for key in lying:
            attempt = key.removeprefix(folder).partition("/")[0] + "/"
            left = attempt in attempts and (attempt not in ours or key.startswith(folder + attempt + keys.SCRATCH))
            if left and not self._serves_user(key):
                self._bucket.delete(key)

    def folder(self, request_id: str) -> str:
        """Return the prefix of a request's answer, conflicts and artifacts."""
        return keys.result_folder(self._function.name, request_id)

    def result_key(self, request_id: str) -> str:
        """Return the key of the answer."""
        return self.folder(request_id) + "result.json"

    def _is_announced(self, request_id: str) -> bool:
        key = keys.progress(self._function.name, request_id)
        with _tolerate_errors(key):
            return self._bucket.head(key) is not None
        return False

    def _commit(self, envelope: Json) -> bool:
        """Create the answer, after recording its events; False if an answer already exists."""
        self._hooks.committing(self._function.name, envelope["request_id"])
        return self._bucket.put_if_absent(self.result_key(envelope["request_id"]), encode(envelope))

    def _withdraw(self, refusals: Mapping[str, str]) -> None:
        """Withdraw refusals that were announced and have not changed for as long as our patience lasts.

        Args:
            refusals: the etags of their progress, by id.
        """
        now, seen = time.monotonic(), self._announcements
        self._announcements = {
            request_id: seen[request_id] if seen.get(request_id, ("",))[0] == etag else (etag, now)
            for request_id, etag in refusals.items()
        }
        for request_id, (_, since) in self._announcements.items():
            key = keys.progress(self._function.name, request_id)
            if now - since >= self._patience:
                with self._record_failure(key):
                    self._hooks.withdrawn(self._function.name, request_id)
                    self._bucket.delete(key)

    def _finish(self, envelope: Json, pointers: Mapping[str, Json] | None = None) -> None:
        """Swap pointers, notify the consumers, delete the progress; safe to repeat any number of times.

        Args:
            pointers: the function's pointers of the answer; None asks the function.
        """
        request_id = envelope["request_id"]
        key = self.result_key(request_id)
        pointers = self.get_pointers(envelope) if pointers is None else pointers
        if pointers and (committed := self._commit_time(envelope)) is not None:
            for pointer, content in pointers.items():
                self._pointers.swap(pointer, content, key, committed)
        event = completion_event(self._function.name, envelope, self._bucket.address, key)
        self._hooks.committed(self._function.name, event, envelope)
        key = keys.progress(self._function.name, request_id)
        with _tolerate_errors(key):
            self._bucket.delete(key)

    def get_pointers(self, envelope: Json) -> Mapping[str, Json]:
        """Return the pointers to an answer once it is committed."""
        return self._function.pointers(envelope["data"]) if envelope["code"] == "OK" else {}

    def _get_store_time(self, request_id: str) -> float:
        """Return the store's time, read from an object that is written anyway; our own time if that fails."""
        self.announce(request_id)
        key = keys.progress(self._function.name, request_id)
        with _tolerate_errors(key):
            info = self._bucket.head(key)
            if info is not None:
                return info.modified
        return time.time()

    def _commit_time(self, envelope: Json) -> float | None:
        """Return the moment recorded in an answer; None if the answer is gone because its user was erased.

        An answer of an earlier version has no moment. It was given after its last attempt began plus the time that this
        took, and not after its object was written; of these two only the latter is newer in a copy.
        """
        request_id, told = envelope["request_id"], is_plausible(envelope["data"].get(COMMITTED))
        result = self._bucket.head(self.result_key(request_id))
        if result is None or told is not None:
            return None if result is None else told
        started = max((record.started for record in self._claims.all(request_id)), default=0.0)
        took = is_plausible(envelope["data"].get("cost_time")) or 0.0
        return max(0.0, min(result.modified, started + took))


@contextmanager
def _tolerate_errors(key: str) -> Iterator[None]:
    """Go on if one key cannot be used, as nothing depends on it; an unavailable store is raised."""
    try:
        yield
    except StoreUnavailable:
        raise
    except BucketError as error:
        log.warning("%s is skipped: %s", key, error)
