"""Moves the puts of one service on: releases manifests by priority, notices claims and answers.

The cost of a look depends on what is under way, never on how much waits or has been answered: it reads one claim for
each request that is released and unclaimed, and the head of one `result.json` for each that runs. All answers that a
look finds are given together, and all manifests are released together: on a disk both take the time of one. A look
follows each put at once; looks come every 20 ms while puts move, then at growing pauses up to `poll_seconds`.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Set
from contextlib import suppress
from functools import partial

from serve.database import StateUnavailable
from serve.holds import BackoffHolds
from serve.message import NotAMessage, decode_message, message_key
from serve.metrics import Metrics
from serve.queue_index import RELEASED, Entry, ServiceQueue
from serve.release_window import ReleaseWindow
from serve.stage_timings import StageTimings
from serve.store import Store, read_request
from shared.buckets.base import BucketError
from shared.contract import keys
from shared.contract.manifests import Json, failure
from shared.errors import ConflictingRequest, InvalidManifest, RequestError
from shared.lifecycle.answers import DamagedAnswer
from shared.lifecycle.claims import ClaimRecord, Claims
from shared.operations.client import Client
from shared.settings import Lease

log = logging.getLogger(__name__)

SHORTEST_PAUSE = 0.02
TURNS = 100  # queued puts that one look considers
TOGETHER = 64  # answers or manifests that are written together
STORE_BROKEN = 5  # failures of the store in a row after which the look ends


class Dispatcher:
    """The dispatcher of one service, in a thread of its own."""

    def __init__(
        self, store: Store, service: str, metrics: Metrics, lease: Lease, longest_lead: int, poll_seconds: float
    ) -> None:
        self._store, self._service, self._metrics, self._poll = store, service, metrics, poll_seconds
        self._function, self._bucket, self._index = store.services[service], store.bucket, store.index
        self._claims = Claims(store.bucket, self._function, lease, "serve")
        self._client, self._window = Client(store.bucket), ReleaseWindow(longest_lead)
        self._stages = StageTimings(self._client, self._function, service, metrics)
        self._holds = BackoffHolds()
        self._answered: dict[str, tuple[Entry, str]] = {}  # with the answers' codes, until they are given together
        self._releasing: list[tuple[Entry, bytes]] = []  # with their manifests, until these are written together
        self._failed_in_a_row = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"dispatcher {service}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the current look and end the thread."""
        self._stop.set()
        self._store.wake[self._service].set()
        self._thread.join()

    def look(self, quiet: bool = False) -> bool:
        """Follow what is under way, then release manifests; return whether anything moved.

        Args:
            quiet: nothing has moved for a while; also make sure that released manifests still exist.
        """
        unclaimed, moved, self._failed_in_a_row = set[str](), False, 0
        self._answered, self._releasing = {}, []  # what a look that broke off has left is found again
        held = self._holds.now()
        for entries in _by_request(self._index.under_way(self._service)):
            first = entries[0]
            state = first.uuid not in held and self._safely(first, partial(self._follow, entries, quiet))
            moved |= state
            if not state and first.state == RELEASED:
                unclaimed.add(first.uuid)
        self._give_answers()
        return self._release(self._window.room(unclaimed), held) or moved

    def _run(self) -> None:
        pause, wake, well = SHORTEST_PAUSE, self._store.wake[self._service], True
        while not self._stop.is_set():
            try:
                moved, well = self.look(quiet=pause >= self._poll), True
            except Exception:  # the boundary of the thread: no error of a look may end the service
                if well:
                    log.exception("a look at %s failed; it is tried again", self._service)
                moved = well = False
            pause = SHORTEST_PAUSE if moved else min(2 * pause, self._poll)
            self._stop.wait(SHORTEST_PAUSE)
            wake.wait(pause)
            wake.clear()

    def _safely(self, one: Entry, step: Callable[[], bool]) -> bool:
        """Take one step of one put; return whether it moved. A put with broken objects holds up no other.

        Raises the error after several failures of the store in a row: then the store is broken, not the put.
        """
        try:
            moved = step()
        except (StateUnavailable, sqlite3.Error):
            raise
        except NotAMessage:
            self._store.disown(ServiceQueue(self._service, "source"), one.uuid)
            return True
        except Exception as error:  # the boundary between requests: others wrote the claims and answers that are read
            if self._holds.hold(one.uuid):
                log.exception("%s %s cannot be followed; it is tried again", self._service, one.request_id)
            of_the_store = isinstance(error, BucketError | OSError) and not isinstance(error, DamagedAnswer)
            self._failed_in_a_row += of_the_store
            if self._failed_in_a_row >= STORE_BROKEN:
                raise
            return False
        self._holds.forget(one.uuid)
        self._failed_in_a_row = 0
        return moved

    def _follow(self, entries: list[Entry], quiet: bool) -> bool:
        """Follow one request, which several puts may share; return whether anything moved."""
        request_id = entries[0].request_id or ""
        waiting = [one for one in entries if one.state == RELEASED]
        if waiting:
            claim = self._claims.first(request_id)
            if claim is None:
                return quiet and self._refuse_if_vanished(entries)
            if not self._is_of(claim, waiting[0]):
                return self._refuse(entries, self._conflict(request_id, claim.manifest))
            for one in waiting:
                self._note_claim(one, claim.owner)
        if self._bucket.head(keys.result(self._function, request_id)) is None:
            self._stages.look(request_id)
            return bool(waiting)
        self._stages.end(request_id)
        envelope = self._client.answer(self._function, request_id)
        if envelope is None:
            return bool(waiting)  # removed at this moment; the next look finds the same
        self._metrics.stage(self._service, "running", envelope["data"].get("cost_time", 0.0))
        self._answered |= {one.uuid: (one, envelope["code"]) for one in entries}
        return True

    def _give_answers(self) -> None:
        """Give the answers that were found their places; where they fail together, each is tried by itself."""
        found, self._answered = list(self._answered.values()), {}
        for start in range(0, len(found), TOGETHER):
            some = found[start : start + TOGETHER]
            try:
                given = {one.uuid for one in self._store.answer_all(self._service, [one for one, _ in some])}
            except (BucketError, NotAMessage, OSError):
                for one, code in some:
                    self._safely(one, partial(self._answer, one, None, code))
                continue
            for code in (code for one, code in some if one.uuid in given):
                self._metrics.count_answer(self._service, code)

    def _note_claim(self, one: Entry, owner: str) -> None:
        now = time.time()
        self._index.claim(one.uuid, owner, now)
        self._store.deliveries.claim(ServiceQueue(self._service, "source"), owner, one.index)
        self._metrics.stage(self._service, "waiting", now - one.accepted)

    def _release(self, room: int, held: Set[str]) -> bool:
        """Answer puts that need no worker, and release the next ones while there is room."""
        moved = False
        for one in self._index.turn(self._service, TURNS, held):
            needs_worker = one.request_id is not None and not self._index.rival(one)
            if needs_worker and (room <= 0 or len(self._releasing) >= TOGETHER):
                break
            if self._safely(one, partial(self._start, one)):
                moved, room = True, room - needs_worker
        self._write_manifests()
        return moved

    def _start(self, one: Entry) -> bool:
        if one.request_id is None:
            return self._refuse([one], InvalidManifest("the data is not a request"))
        if self._index.rival(one):
            return self._refuse([one], self._conflict(one.request_id, "an earlier put"))
        return self._prepare_manifest(one)

    def _prepare_manifest(self, one: Entry) -> bool:
        """Read the manifest, to be written at the look's end; False if the put was taken back at this moment."""
        record = self._bucket.find(message_key(self._service, one.uuid))
        if record is None:
            self._index.remove([one.uuid])  # or the record was deleted
            return False
        body = decode_message(record)[1]
        first = self._claims.first(one.request_id or "")
        if first is not None and not self._is_of(first, one):
            return self._refuse([one], self._conflict(one.request_id, first.manifest))
        self._releasing.append((one, body))
        return True

    def _write_manifests(self) -> None:
        """Write the manifests of the puts that are released; where they fail together, each is tried by itself."""
        releasing, self._releasing = self._releasing, []
        if not releasing:
            return
        manifests: dict[str, bytes] = {}
        for one, body in releasing:
            manifests.setdefault(self._manifest_key(one), body)
        written: Set[str] = set()
        with suppress(BucketError, OSError):
            written = self._bucket.put_all_if_absent(manifests)
        for one, body in releasing:
            self._safely(one, partial(self._release_one, one, body, written))

    def _release_one(self, one: Entry, body: bytes, written: Set[str]) -> bool:
        """Note that a manifest is released.

        The same request put twice is one, another body under its id is refused.
        """
        key = self._manifest_key(one)
        if key not in written and not self._bucket.put_if_absent(key, body):
            there = read_request(self._bucket.get(key))
            if there is None or one.sha256 not in there.spellings:
                return self._refuse([one], self._conflict(one.request_id, key))
        self._index.release(one.uuid)
        self._window.add(one.uuid)
        return True

    def _is_of(self, claim: ClaimRecord, one: Entry) -> bool:
        """Return whether a claim was made for what was put; either may have been written by an earlier version."""
        if claim.payload_sha256 == one.sha256:
            return True
        try:
            record = self._bucket.find(message_key(self._service, one.uuid))
            manifest = None if record is None else read_request(decode_message(record)[1])
        except NotAMessage:
            return False
        return manifest is not None and claim.payload_sha256 in manifest.spellings

    def _refuse_if_vanished(self, entries: list[Entry]) -> bool:
        """Refuse a request whose manifest was deleted before any worker claimed it; return whether that is so."""
        key = self._manifest_key(entries[0])
        if self._bucket.head(key) is not None or self._claims.first(entries[0].request_id or "") is not None:
            return False
        return self._refuse(entries, InvalidManifest(f"{key} was removed from the bucket before any worker began it"))

    def _refuse(self, entries: Iterable[Entry], error: RequestError) -> bool:
        """Answer puts with an error of the server."""
        for one in entries:
            self._answer(one, failure(one.request_id or "", error, {"cost_time": 0.0}), "error")
        return True

    def _answer(self, one: Entry, error: Json | None, code: str) -> bool:
        record = self._store.answer(one, error)
        if record is not None:
            self._metrics.count_answer(self._service, code)
        return record is not None

    def _conflict(self, request_id: str | None, by: str) -> ConflictingRequest:
        return ConflictingRequest(
            f"request_id {request_id} was used by {by} with another body; put this body under a new id", "request_id"
        )

    def _manifest_key(self, one: Entry) -> str:
        return f"{keys.requests(self._function)}{one.request_id}.json"


def _by_request(entries: list[Entry]) -> list[list[Entry]]:
    """Group puts of the same request: they share its claim and its answer."""
    groups: dict[tuple[str | None, str | None], list[Entry]] = {}
    for one in entries:
        groups.setdefault((one.request_id, one.sha256), []).append(one)
    return list(groups.values())
