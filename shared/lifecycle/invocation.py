"""The life of one request: receive, claim, run, publish, notify.

| step | what makes it safe to repeat |
|---|---|
| receive | a request whose answer exists is not run again; the same id with another body becomes a conflict object |
| claim | `claims.py`; the attempt's number is stored before the work starts |
| run | artifacts lie under the attempt's own prefix; the next attempt may read them, the answer clears older ones |
| publish | events are recorded (`notify/outbox.py`), then `result.json` is created if absent: the commit point |
| notify | pointers and events follow from the result alone, so they are repeated until a worker has completed them |

A store failure never becomes an answer: while the claim is ours, publishing is retried; after that the claim is
released and the error is raised to whoever delivered the request, who delivers it again.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import Enum

from shared.buckets import s3_name
from shared.buckets.base import Bucket, BucketError, InvalidKey, MissingObject, StoreUnavailable
from shared.contract import keys
from shared.contract.function import AttemptFailed, DeviceBroken, Function, FunctionFailed, FunctionUnavailable
from shared.contract.hooks import Attempt, AttemptHook, Hooks
from shared.contract.manifests import Json, Manifest, encode, failure, invalid_id, success
from shared.contract.request import read_metadata
from shared.contract.usage import read_users
from shared.devices import device_errors
from shared.errors import (
    AnswerTooLarge,
    AttemptsExhausted,
    ConflictingRequest,
    DeviceError,
    InternalError,
    RequestError,
)
from shared.events import ObjectCreated
from shared.lifecycle.bucket_photos import make_fetcher, named_buckets
from shared.lifecycle.bucket_workspace import BucketWorkspace
from shared.lifecycle.claims import STALE_LEASES, AttemptsUsedUp, ClaimBusy, ClaimRecord, Claims, HeldClaim
from shared.lifecycle.deadline import Deadline
from shared.lifecycle.heartbeat import Heartbeat
from shared.lifecycle.manifest_reader import BeingRead, ManifestReader
from shared.lifecycle.observations import Observations
from shared.lifecycle.prefetched_photos import PrefetchedPhotos
from shared.lifecycle.progress import PublishProgress
from shared.lifecycle.publisher import Publisher
from shared.lifecycle.pulse import Pulse
from shared.lifecycle.ready_request import LookedUp, ReadyingWorkspace, ReadyRequest
from shared.lifecycle.recheck import NoLongerWanted, Recheck, RecheckFailed
from shared.lifecycle.shutdown import ClaimLost, HandBack, HandedBack, Interrupted, Shutdown
from shared.lifecycle.trainings import Trainings
from shared.lifecycle.uploads import Uploads
from shared.observability.logs import request_context
from shared.settings import Settings

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two tries to write an answer
PUBLISHING_SECONDS = 5.0  # of store failures after which other requests get their turn, and this request another worker
PUBLISHING_SHARE = 0.25  # or this share of the time that the work took, which would be lost


class Outcome(Enum):
    """What became of a delivery."""

    ANSWERED = "answered"
    ALREADY = "already answered"
    CONFLICT = "conflict"
    IGNORED = "ignored"
    UNFINISHED = "still being written"
    BUSY = "busy"
    HANDED_BACK = "handed back"

    @property
    def settled(self) -> bool:
        """Whether the delivery needs no second look."""
        return self not in (Outcome.UNFINISHED, Outcome.BUSY, Outcome.HANDED_BACK)


class Invocation:
    """Serves the requests of one function in one bucket.

    Their functions run one at a time; the next one may be begun while an answer is being published, see
    `device_turn.py`.

    Args:
        hooks: called around every request, beside the invocation's own: deadline, heartbeat, handing back, progress.
        observations: of others' claims; None starts without any.
        require_valid: raises what is wrong with a body before the hooks admit it, so that a request that can only be
            refused takes no slot of a quota; None leaves it to the function.
    """

    def __init__(
        self,
        bucket: Bucket,
        function: Function,
        settings: Settings,
        owner: str,
        shutdown: Shutdown,
        hooks: Sequence[AttemptHook] = (),
        observations: Observations | None = None,
        require_valid: Callable[[Json], None] | None = None,
    ) -> None:
        self._require_valid = require_valid
        self._bucket, self._function, self._settings = bucket, function, settings
        self._shutdown, self._hooks = shutdown, Hooks(hooks)
        self._claims = Claims(bucket, function.name, settings.lease, owner, observations=observations)
        self._reader = ManifestReader(bucket, self._claims, settings.limits.manifest_bytes)
        self._publisher = Publisher(bucket, function, self._hooks, self._claims, settings.lease.seconds * STALE_LEASES)
        self._photos = PrefetchedPhotos(make_fetcher(bucket, named_buckets(bucket, settings), settings))
        self._remote = s3_name(bucket) is not None
        self._ready: ReadyRequest | None = None
        self._trainings = Trainings(bucket)

    def receive(self, created: ObjectCreated, written: bool = True) -> Outcome:
        """Answer the request in a manifest, whoever delivers it and however often.

        Args:
            written: whether the object is surely complete; if not, a manifest that cannot be read is UNFINISHED.
        """
        self._hooks.before_request()
        try:
            return self._receive(created, written)
        finally:
            self._hooks.after_request()

    def _receive(self, created: ObjectCreated, written: bool) -> Outcome:
        if not keys.is_request(created.key, self._function.name):
            return Outcome.IGNORED
        ready, self._ready = self._ready, None
        if ready is not None and ready.created is created:
            with suppress(NoLongerWanted):
                outcome = self._serve_ready(ready)
                if outcome is not None:
                    return outcome
        try:
            manifest = self._reader.read(created.key)
        except BeingRead:
            return Outcome.BUSY
        except RequestError as error:
            return self._refuse(created.key, error) if written else Outcome.UNFINISHED
        return Outcome.IGNORED if manifest is None else self._serve(manifest, created.key)

    def prepare(self, created: ObjectCreated, over: Callable[[], bool] = lambda: False) -> None:
        """Make a request ready that will be received soon, so that its work can begin with its pictures.

        It claims nothing, and its errors are left to `receive`, which asks for the manifest again: until then the
        request may be served by another worker, or be erased.

        Args:
            over: whether it may be received, so that making it ready would hold it up.
        """
        if not keys.is_request(created.key, self._function.name):
            return
        try:
            info = self._bucket.head(created.key)
            manifest = None if info is None else self._reader.peek(created.key)
            if info is None or manifest is None:
                return
            if self._bucket.head(self._publisher.result_key(manifest.request_id)) is None:
                self._ready = ready = ReadyRequest(created, info, manifest, LookedUp())
                self._photos.prefetch(ready, manifest.body)
                self._prepare_function(ready, over)
        except (BucketError, RequestError, OSError, Interrupted) as error:
            log.debug("%s is made ready no further: %s", created.key, error)
        except Exception:  # the boundary between requests: this one must not end the worker before its own turn
            log.exception("%s cannot be made ready", created.key)

    def _prepare_function(self, ready: ReadyRequest, over: Callable[[], bool]) -> None:
        prepare = getattr(self._function, "prepare", None)  # see `Preparing`
        if prepare is not None and not over():
            photos, manifest = self._photos.look(ready), ready.manifest
            prepare(manifest.body, ReadyingWorkspace(self._bucket, manifest.request_id, photos, ready.looked_up, over))

    def _serve_ready(self, ready: ReadyRequest) -> Outcome | None:
        """Serve a request that was made ready; None if it has a claim, so that it must be served like any other.

        It is asked for again once the claim is ours, beside the beginning of the work. Raises NoLongerWanted if it was
        answered, overwritten or erased meanwhile; then its claim is withdrawn.
        """
        manifest, key = ready.manifest, ready.created.key
        claim = self._claims.acquire_first(manifest.request_id, key, manifest.sha256)
        if claim is None:
            return None
        recheck = Recheck(lambda: self._is_wanted(ready))
        return self._serve(manifest, key, claim, ready, recheck)

    def _is_wanted(self, ready: ReadyRequest) -> bool:
        """Return whether a request is unanswered and its manifest the same object."""
        with ThreadPoolExecutor(1) as pool:
            now = pool.submit(self._bucket.head, ready.created.key)
            answered = self._publisher.is_answered(ready.manifest.request_id)
            return now.result() == ready.info and not answered

    def tidy(self) -> None:
        """Tidy up between requests.

        Complete answers that dead workers left unfinished, and let the function drop what it cached of deleted objects.
        """
        if self._ready is not None:  # of a request that another worker has served, or that was erased
            self._ready.looked_up.drop()
        self._photos.drop()
        self._claims.close_owed()
        self._publisher.finish_left()
        self._function.evict(self._may_exist)

    def _may_exist(self, key: str) -> bool:
        """Return whether an object exists, or cannot be seen: then what is cached of it goes once it is not used."""
        try:
            return self._bucket.head(key) is not None
        except StoreUnavailable:
            raise
        except BucketError as error:
            log.warning("whether %s still exists cannot be seen: %s", key, error)
            return True

    def _refuse(self, key: str, error: RequestError) -> Outcome:
        """Answer a manifest without a usable id under an id made from its bytes."""
        try:
            identity = invalid_id(self._reader.digest(key))
        except MissingObject:
            return Outcome.IGNORED
        if self._publisher.is_answered(identity):
            return Outcome.ALREADY
        named = type(error)(f"{key}: {error.message}", error.field)
        envelope = failure(identity, named, {"manifest": key, "cost_time": 0.0})
        if not self._publisher.refuse(envelope):
            return Outcome.ALREADY
        self._hooks.refused(type(error).__name__)
        return Outcome.ANSWERED

    def _serve(
        self,
        manifest: Manifest,
        key: str,
        checked: HeldClaim | None = None,
        ready: ReadyRequest | None = None,
        recheck: Recheck | None = None,
    ) -> Outcome:
        """Serve a request; one that nobody has served before takes the fewest store calls.

        Args:
            checked: our claim, if whether the request is unanswered is asked since it is ours, by `recheck`.
            ready: what was made ready for it.
        """
        claim, answered = checked, checked is None and self._publisher.is_answered(manifest.request_id)
        if claim is None and not answered:
            claim = self._claims.acquire_first(manifest.request_id, key, manifest.sha256)
        if claim is None:
            first = self._claims.first(manifest.request_id)
            if (
                first is not None
                and not first.accepts(*manifest.spellings)
                and not self._means_as_much(first, manifest)
            ):
                return self._conflict(manifest, key, first)
        while not answered:
            attempt = claim or self._claims.acquire(manifest.request_id, key, manifest.sha256)
            if isinstance(attempt, ClaimBusy):
                return Outcome.BUSY
            if attempt is not checked and self._publisher.is_answered(manifest.request_id):
                break  # by another worker a moment ago, or by the erasure of its user
            outcome = self._attempt(manifest, attempt, ready, recheck)
            ready = recheck = None
            if outcome is not None:
                return outcome
            claim, answered = None, self._publisher.is_answered(manifest.request_id)
        return Outcome.ALREADY

    def _attempt(
        self,
        manifest: Manifest,
        claim: HeldClaim | AttemptsUsedUp,
        ready: ReadyRequest | None,
        recheck: Recheck | None,
    ) -> Outcome | None:
        """Run one attempt, or answer that all are used up; None if it ended without an answer."""
        if isinstance(claim, AttemptsUsedUp):
            kind = DeviceError if claim.by_devices else AttemptsExhausted
            error = kind(f"{claim}; check the workers' logs and memory")
            self._give_up(_refusal(manifest, error), claim.record)
            return Outcome.ANSWERED
        metadata = read_metadata(manifest.body)
        with request_context(self._function.name, manifest.request_id, claim.record.attempt, metadata):
            return self._run(manifest, claim.record, metadata, ready, recheck or Recheck())

    def _means_as_much(self, first: ClaimRecord, manifest: Manifest) -> bool:
        """Return whether the body that was accepted means the same by today's rules, by which it was not yet hashed."""
        try:
            accepted = self._reader.read(first.manifest)
        except StoreUnavailable:
            raise
        except (BucketError, RequestError):  # BeingRead is raised: the delivery is repeated
            return False
        return accepted is not None and accepted.sha256 == manifest.sha256 and first.accepts(*accepted.spellings)

    def _conflict(self, manifest: Manifest, key: str, first: ClaimRecord) -> Outcome:
        """Answer a body whose id belongs to another body; the other body's answer is never touched."""
        error = ConflictingRequest(
            f"request_id {manifest.request_id} was used by {first.manifest} with another body; "
            f"send {key} under a new id",
            "request_id",
        )
        name = f"conflict-{manifest.sha256[:8]}.json"
        envelope = _refusal(manifest, error, {"manifest": key})
        if self._bucket.put_if_absent(self._publisher.folder(manifest.request_id) + name, encode(envelope)):
            log.warning("%s", error.message)
        if first.manifest != key or self._publisher.is_answered(manifest.request_id):
            return Outcome.CONFLICT
        return self._overwritten(manifest, key, first)

    def _overwritten(self, manifest: Manifest, key: str, first: ClaimRecord) -> Outcome:
        """Answer an overwritten manifest.

        The accepted body is gone from the bucket: if its worker dies too, only an error can answer it.
        """
        claim = self._claims.acquire(manifest.request_id, key, first.payload_sha256)
        if isinstance(claim, ClaimBusy):
            return Outcome.BUSY
        error = ConflictingRequest(
            f"{key} was overwritten before it was answered; send both under new ids", "request_id"
        )
        self._give_up(_refusal(manifest, error), claim.record)
        return Outcome.CONFLICT

    def _give_up(self, envelope: Json, record: ClaimRecord) -> None:
        """Answer without running; if the store fails, the claim is released."""
        try:
            attempt = Attempt(self._function.name, envelope["request_id"], record.attempt)
            if self._publisher.announce(attempt.request_id):
                attempt.announced.set()
            self._publisher.publish(envelope, attempt)
            self._hooks.refused(envelope["data"]["error"]["type"])
        except (BucketError, OSError):
            self._release(envelope["request_id"], record)
            raise

    def _run(
        self,
        manifest: Manifest,
        record: ClaimRecord,
        metadata: Json,
        ready: ReadyRequest | None,
        recheck: Recheck,
    ) -> Outcome | None:
        """Run one attempt; returns None if it ended without an answer and the next one may begin."""
        users = read_users(manifest.body)
        attempt = Attempt(self._function.name, manifest.request_id, record.attempt, metadata=metadata, users=users)
        heartbeat = Heartbeat(self._claims, attempt, record, self._settings.lease)
        hooks = Hooks(
            [
                Deadline(attempt, self._settings.limits.request_seconds, self._publisher, self._hooks),
                heartbeat,
                HandBack(self._shutdown),
                recheck,
                self._hooks,
                PublishProgress(self._bucket, beside=self._remote, shown=lambda: recheck.known),
            ]
        )
        log.info("begins")
        try:
            hooks.before(attempt)
            with Pulse(f"heartbeat {attempt.request_id}", hooks), self._uploads(attempt, heartbeat) as uploads:
                workspace = BucketWorkspace(
                    self._bucket,
                    attempt,
                    self._photos.take(ready),
                    hooks,
                    self._trainings,
                    uploads,
                    None if ready is None else ready.looked_up,
                    recheck.wait,
                )
                envelope = self._envelope(manifest, workspace, attempt, recheck)
                recheck.wait()
                # asked now, as the next request may have the function from `finished` on
                pointers = self._publisher.get_pointers(envelope)
                hooks.finished(attempt)
                self._publish(envelope, attempt, pointers, uploads)
        except HandedBack:  # its artifacts stay: the next attempt may resume from them, and clears them
            hooks.failed(attempt, "handed back")
            self._claims.release(attempt.request_id, heartbeat.record)
            return Outcome.HANDED_BACK
        except NoLongerWanted as gone:
            log.info("%s", gone)
            hooks.failed(attempt, "claim lost")
            self._claims.withdraw(attempt.request_id, heartbeat.record)
            raise
        except RecheckFailed as failed:
            hooks.failed(attempt, "store failed")
            self._release(attempt.request_id, heartbeat.record)
            raise failed.__cause__ or failed from None
        except ClaimLost as lost:
            log.warning("%s", lost)
            hooks.failed(attempt, "claim lost")
            self._publisher.clear_lost(attempt.request_id, attempt.number)
            return Outcome.BUSY
        except AttemptFailed as failed:
            log.error("%s", failed)
            hooks.failed(attempt, "child died")
            self._claims.end(attempt.request_id, heartbeat.record, str(failed))
            return None
        except DeviceBroken as broken:
            hooks.failed(attempt, "device broken")
            self._release(attempt.request_id, heartbeat.record, str(broken))
            raise
        except (BucketError, OSError, FunctionUnavailable):
            hooks.failed(attempt, "store failed")
            self._release(attempt.request_id, heartbeat.record)
            raise
        error_type = envelope["data"].get("error", {}).get("type")
        log.info("ends: %s", envelope["message"], extra={"code": envelope["code"], "error": error_type})
        hooks.after(attempt, envelope)
        return Outcome.ANSWERED

    def _uploads(self, attempt: Attempt, heartbeat: Heartbeat) -> Uploads:
        return Uploads(self._bucket, lambda: heartbeat.check(attempt), beside=self._remote)

    def _envelope(self, manifest: Manifest, workspace: BucketWorkspace, attempt: Attempt, recheck: Recheck) -> Json:
        """Return the function's answer, or the error with which it failed; raises interruptions and store failures."""
        error: RequestError
        admitted = False
        try:
            workspace.progress("start", 0, 1)
            manifest.require_right()
            if self._settings.quota.limited:
                recheck.wait()  # before a slot is taken for it
            if self._require_valid is not None:
                self._require_valid(manifest.body)
            self._hooks.admit(attempt)
            admitted = True
            with device_errors():
                answer = self._function.answer(manifest.body, workspace)
            counted = {"usage": attempt.usage(answered=True)}
            data = manifest.add_warnings({"cost_time": attempt.seconds()} | answer.data | counted)
            envelope = success(manifest.request_id, answer.message, data, attempt.metadata)
            self._check_size(envelope)  # an answer too large to write is the request's error, not the worker's
        except (Interrupted, AttemptFailed, FunctionUnavailable, BucketError):
            raise
        except RequestError as refused:
            error = refused
        except Exception as unforeseen:  # the boundary: a request must be answered whatever happens in it
            log.exception("the function failed")
            told = "" if isinstance(unforeseen, FunctionFailed) else f"{type(unforeseen).__name__}: "
            error = InternalError(f"{told}{unforeseen}; the worker's log has the traceback")
        else:
            return envelope
        used = {"usage": attempt.usage(answered=False)} if admitted else {}  # what was never begun is in no bill
        data = manifest.add_warnings({"cost_time": attempt.seconds()} | used)
        return failure(manifest.request_id, error, data, attempt.metadata)

    def _check_size(self, envelope: Json) -> None:
        size, limit = len(encode(envelope)), self._settings.limits.answer_bytes
        if size > limit:
            raise AnswerTooLarge(f"the answer has {size} bytes, {limit} are allowed; ask for less in one request")

    def _publish(self, envelope: Json, attempt: Attempt, pointers: Mapping[str, Json], uploads: Uploads) -> None:
        """Publish, and retry while the store fails and the claim is ours; then raise the store's error."""
        pause = FIRST_PAUSE
        until = time.monotonic() + max(PUBLISHING_SECONDS, PUBLISHING_SHARE * attempt.seconds())
        while True:
            try:
                uploads.finish()
                self._publisher.publish(envelope, attempt, pointers)
                return
            except InvalidKey:
                raise  # something else occupies the key, and waiting does not change that
            except (BucketError, OSError) as error:
                log.warning("the answer is not published yet: %s", error)
                if attempt.lost.wait(pause) or self._shutdown.overdue() or time.monotonic() > until:
                    raise
                pause = min(2 * pause, LONGEST_PAUSE)

    def _release(self, request_id: str, record: ClaimRecord, cause: str = "") -> None:
        """Release the claim after a failure; if the store fails here too, it is released later."""
        try:
            self._claims.release(request_id, record, cause)
        except (BucketError, OSError) as error:
            log.warning("the claim of %s %s is not released yet: %s", self._function.name, request_id, error)


def _refusal(manifest: Manifest, error: RequestError, told: Json | None = None) -> Json:
    """Return the answer to a request that was not run."""
    return failure(manifest.request_id, error, (told or {}) | {"cost_time": 0.0}, read_metadata(manifest.body))
