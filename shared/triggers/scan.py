"""Requests from any bucket by listing it: the safety net of a watcher, and all there is without a queue.

| manifest, as a worker sees it | when it is offered |
|---|---|
| settled, and not changed since | never again |
| new | at once, oldest first |
| present at the start, named like a request that has an answer | when there is nothing else to do, few at a time |
| not readable yet | when it has changed, or has been unchanged for `scan.settle_seconds` |
| claimed by another worker | at the next look |
| failing | after a pause that grows, independently of the others (`failing_keys.py`) |

Listing a hundred thousand manifests takes a second of CPU time, and a hundred calls of a store. So the interval between
full listings grows with the number of manifests: `scan.seconds` for each page of them. In between, only keys that sort
after the last one are listed, and with a watcher, the paths that it names. A listing of more than a page is made in a
thread, while what is new is served (`full_listing.py`). Settled manifests are remembered beyond the process
(`settled_index.py`).
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from threading import Event

from shared.buckets import Bucket, BucketError, ObjectInfo, StoreUnavailable
from shared.contract import keys
from shared.contract.function import FunctionUnavailable
from shared.contract.hooks import AttemptHook, Hooks
from shared.events import ObjectCreated
from shared.lifecycle.device_turn import DeviceTurn
from shared.lifecycle.invocation import Outcome
from shared.lifecycle.unread import Strays
from shared.observability.failing_keys import Failures
from shared.settings import Scan
from shared.triggers import Receive
from shared.triggers.full_listing import Beside, FullListing
from shared.triggers.lanes import Lane, Lanes, Prepare
from shared.triggers.settled_index import SettledIndex, mark

log = logging.getLogger(__name__)

STOP_POLL = 0.1  # seconds between two checks whether to stop
PAGE = 1000  # keys that a store lists in one call; a folder takes 7 ms of CPU time for as many
CHECKING_SHARE = 0.05  # of the time is spent on manifests that are most likely answered
CHECKED_AT_ONCE = 50
CHECKING_SECONDS = 0.01  # at once, for which a request that comes then waits
FEW = 20  # up to this many manifests, examining each is faster than listing all answers
SAVED_AFTER = 1000  # newly settled manifests; also saved at the end


@dataclass(frozen=True)
class _Sight:
    etag: str
    since: float


class ScanTrigger:
    """Offers the manifests of one function to `receive` until each is settled.

    Args:
        hooks: `polled` is called at every look for work.
        turn: a hook of the requests that are served, with which the next manifest is made ready while one is worked
            on, and begun while its answer is published; None serves one after the other.
    """

    _checking_share = CHECKING_SHARE

    def __init__(
        self,
        bucket: Bucket,
        function: str,
        scan: Scan,
        clock: Callable[[], float] = time.monotonic,
        hooks: Sequence[AttemptHook] = (),
        turn: DeviceTurn | None = None,
    ) -> None:
        self._hooks, self._lanes = Hooks(hooks), Lanes(turn)
        self._offered: deque[tuple[ObjectInfo, Outcome | Exception]] = deque()
        self._bucket, self._function, self._scan, self._clock = bucket, function, scan, clock
        self._prefix = keys.requests(function)
        self._settled = SettledIndex(bucket, function)
        self._failures = Failures(bucket, function, self._prefix, clock)
        self._strays = Strays(bucket, function, scan.settle_seconds, clock)
        self._waiting: dict[str, ObjectInfo] = {}
        self._likely: dict[str, ObjectInfo] = {}  # the newest last, once sorted
        self._sorted = True
        self._sights: dict[str, _Sight] = {}
        self._others: list[ObjectInfo] | None = None  # objects other than manifests in the last full listing
        self._beside, self._is_long = Beside(), False  # whether a full listing takes long
        self._arrived: set[str] = set()  # keys that were seen while one was made
        self._last = ""
        self._listed_at = self._checked_at = float("-inf")
        self._started = False
        self._away_since: float | None = None
        self._watching: Iterator[None] | None = None

    def prepare_with(self, prepare: Prepare) -> None:
        self._lanes.prepare_with(prepare)

    def prepare(self, stop: Event) -> None:
        """Look for the first time; `run` continues from there, and reports problems with the store."""
        self._watching = self._changes(stop)
        next(self._watching, None)
        with suppress(BucketError, OSError, MemoryError):
            self._look()

    def run(self, receive: Receive, stop: Event) -> None:
        """Look, serve, wait and look again until `stop` is set; a failing store is logged and tried again."""
        changes = self._watching or self._changes(stop)
        if self._watching is None:
            next(changes, None)
        while not stop.is_set():
            try:
                self.scan(receive, stop)
                self._tell_back()
            except StoreUnavailable as error:
                self._tell_away(error)
            except (BucketError, OSError, MemoryError) as error:
                log.error("listing %s/%s failed and will be tried again: %s", self._bucket.address, self._prefix, error)
            next(changes, None)
        if self._away_since is None:
            self._settled.save()

    def scan(self, receive: Receive, stop: Event) -> None:
        """Offer every manifest that is not settled yet; if there was none, offer some that are most likely answered."""
        self._look()
        ready = [info for info in self._waiting.values() if not self._failures.rests(info.key)]
        with self._note_outcomes():
            for info in sorted(ready, key=lambda info: (info.modified, info.key)):
                self._offer(info, receive, stop)
        if stop.is_set():
            return
        if self._others is not None and not self._beside.busy:
            others, self._others = self._others, None
            self._look_for_strays(others)
        if not self._waiting:
            self._check_likely(receive, stop)

    @property
    def failing(self) -> int:
        """The number of failing keys."""
        return len(self._failures)

    def _tell_away(self, error: StoreUnavailable) -> None:
        """Log once that the whole store is unavailable, however long that lasts."""
        if self._away_since is None:
            self._away_since = self._clock()
            log.error("%s; trying again every %.0f s", error, self._scan.seconds)

    def _tell_back(self) -> None:
        if self._away_since is not None:
            away, self._away_since = self._clock() - self._away_since, None
            log.info("%s is available again after %.0f s", self._bucket.address, away)

    def _offer(self, info: ObjectInfo, receive: Receive, stop: Event) -> None:
        """Offer one manifest as soon as there is room for it, unless the worker is stopped before."""
        room = self._lanes.await_room(stop)
        self._note_offered()
        if room and (written := self._is_complete(info)) is not None:
            self._lanes.begin(partial(self._serve, info, written, receive), stop)

    def _serve(self, info: ObjectInfo, written: bool, receive: Receive, lane: Lane) -> None:
        """Offer one manifest and keep what comes of it for the loop; the others get their turn whatever it is."""
        created = ObjectCreated(info.key, size=info.size, etag=info.etag)
        if not lane.take_turn([created]):
            return
        try:
            self._offered.append((info, receive(created, written)))
        except FunctionUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary between keys: one must never stop the others
            self._offered.append((info, error))

    @contextmanager
    def _note_outcomes(self) -> Iterator[None]:
        """Wait at the end for all manifests that were offered, and note what came of each as soon as it is over."""
        try:
            try:
                yield
            finally:
                self._lanes.drain(self._note_offered)
        finally:
            self._note_offered()

    def _note_offered(self) -> None:
        """Note what came of the manifests that are over; others may still be in hand."""
        while self._offered:
            self._note(*self._offered.popleft())

    def _note(self, info: ObjectInfo, outcome: Outcome | Exception) -> None:
        if isinstance(outcome, Exception):
            self._failures.add(info.key, outcome)
            return
        self._failures.remove(info.key)
        if outcome is Outcome.UNFINISHED:
            self._sights.setdefault(info.key, _Sight(info.etag, self._clock()))
        elif outcome.settled:
            self._settle(info)

    def _settle(self, info: ObjectInfo) -> None:
        self._settled.add(info)
        self._waiting.pop(info.key, None)
        self._sights.pop(info.key, None)
        self._settled.save(SAVED_AFTER)

    def _is_complete(self, info: ObjectInfo) -> bool | None:
        """Return whether the manifest is surely complete; None if reading it again unchanged would be useless."""
        sight = self._sights.get(info.key)
        if sight is None or sight.etag != info.etag:
            self._sights.pop(info.key, None)
            return False
        if self._clock() - sight.since < self._scan.settle_seconds:
            return None
        return True if self._is_unchanged(info) else None

    def _is_unchanged(self, info: ObjectInfo) -> bool:
        """Look at a manifest that seems to be complete: the last listing may be older than its writer's last word."""
        try:
            now = self._bucket.head(info.key)
        except StoreUnavailable:
            raise
        except (BucketError, OSError) as error:
            self._failures.add(info.key, error)
            return False
        if now is not None and now.etag == info.etag:
            return True
        self._waiting.pop(info.key, None)
        if now is not None:
            self._add([now])
        return False

    def _check_likely(self, receive: Receive, stop: Event) -> None:
        """Offer some of the manifests that existed at the start and seem to be answered, the newest first."""
        if not self._likely or self._clock() < self._checked_at:
            return
        begun = self._clock()
        if not self._sorted:
            oldest_first = sorted(self._likely.values(), key=lambda info: (info.modified, info.key))
            self._likely, self._sorted = {info.key: info for info in oldest_first}, True
        with self._note_outcomes():
            for _ in range(CHECKED_AT_ONCE):
                if not self._likely or stop.is_set() or self._clock() - begun >= CHECKING_SECONDS:
                    break
                _, info = self._likely.popitem()
                if info not in self._settled:
                    self._waiting[info.key] = info
                    self._offer(info, receive, stop)
        self._checked_at = self._clock() + (self._clock() - begun) * (1 / self._checking_share - 1)

    def _look(self) -> None:
        """Update the waiting manifests."""
        if self._list_if(self._clock() >= self._listed_at):
            return
        self._add(self._bucket.list(self._prefix, after=self._last))

    def _list_if(self, due: bool) -> bool:
        """List everything below the prefix if that is due; returns whether a listing was noted.

        A long one is made beside the loop, and noted at a later look.
        """
        made = self._beside.take()
        if made is None and due and not self._beside.busy:
            self._arrived = set()
            self._settled.begin_listing()
            if self._is_long:
                self._beside.begin(self._make_listing)
            else:
                made = self._make_listing()
        if made is not None:
            self._note_listing(made)
        return made is not None

    def _make_listing(self) -> FullListing:
        """Return everything below the prefix; changes nothing, for it may run in another thread."""
        if not self._started:
            self._settled.load()
        listing, broken = FullListing(times=self._folder_times()), None
        try:
            for info in self._bucket.list(self._prefix):
                self._sort_in(info, listing)
        except StoreUnavailable:
            raise
        except (BucketError, OSError) as error:
            broken = error  # such as an unreadable folder: the rest is served
        return replace(listing, broken=broken)

    def _sort_in(self, info: ObjectInfo, listing: FullListing) -> None:
        if not keys.is_request(info.key, self._function):
            listing.others.append(info)
            return
        marked = mark(info)
        listing.manifests.add(info.key)
        listing.marks.add(marked)
        if not self._settled.has(marked) and self._likely.get(info.key) != info:
            listing.unsettled.append(info)

    def _note_listing(self, listing: FullListing) -> None:
        """Note what a listing has found, except about keys that were seen since it began."""
        self._failures.adopt()
        new = [one for one in listing.unsettled if one.key not in self._arrived and one not in self._settled]
        if listing.broken is None:
            self._settled.keep(listing.marks)
            self._forget(listing.manifests, new)
            self._failures.remove(self._prefix)
        else:
            self._failures.add(self._prefix, listing.broken)
        if not self._started:
            new = self._set_aside(new)
        self._started = True
        self._add(new)
        self._is_long = listing.size > PAGE
        self._listed_at = self._clock() + self._pause_after(listing)
        self._others = listing.others

    def _pause_after(self, listing: FullListing) -> float:
        """Return the seconds until everything is listed again."""
        return self._scan.seconds * max(1, -(-listing.size // PAGE))

    def _folder_times(self) -> Mapping[str, int]:
        """Return when each folder of manifests was changed; empty if the store cannot tell."""
        return {}

    def _look_for_strays(self, others: list[ObjectInfo]) -> None:
        """Log what nobody reads; beside the loop if listings take long, for this looks at as much."""
        if self._is_long:
            self._beside.begin(lambda: self._strays.look(others))
        else:
            self._strays.look(others)

    def _set_aside(self, new: list[ObjectInfo]) -> list[ObjectInfo]:
        """At the start, return the manifests that are most likely unanswered, and set the others aside for later."""
        if len(new) <= FEW:
            return new
        try:
            answered = set(self._bucket.folders(keys.results(self._function)))
        except (BucketError, OSError) as error:
            log.warning("results/%s/ cannot be listed, so every manifest is examined: %s", self._function, error)
            answered = set()
        likely, others = list[ObjectInfo](), list[ObjectInfo]()
        for info in new:
            (likely if _name(info.key) in answered else others).append(info)
        self._likely, self._sorted = {info.key: info for info in likely}, False
        return others

    def _add(self, infos: Iterator[ObjectInfo] | list[ObjectInfo]) -> None:
        """Add listed objects, of which some may be new."""
        for info in infos:
            if keys.is_request(info.key, self._function):
                self._last = max(self._last, info.key)
                if self._beside.busy:
                    self._arrived.add(info.key)
                if info.size and info not in self._settled and self._likely.get(info.key) != info:
                    self._likely.pop(info.key, None)
                    self._waiting[info.key] = info

    def _forget(self, manifests: set[str], new: list[ObjectInfo]) -> None:
        """Forget everything about manifests that are gone, and update the last key."""
        present = manifests | self._arrived
        self._failures.keep({info.key for info in new} | {self._prefix} | self._arrived)
        self._last = max(present, default="")
        for memory in (self._waiting, self._likely, self._sights):
            for key in memory.keys() - present:
                del memory[key]

    def _changes(self, stop: Event) -> Iterator[None]:
        """Yield when the next look is due, the first time at once; ends when `stop` is set."""
        while not stop.is_set():
            self._hooks.polled()
            yield
            due = time.monotonic() + self._failures.pause(self._scan.seconds)
            while time.monotonic() < due and not stop.is_set():
                self._hooks.polled()
                time.sleep(min(STOP_POLL, self._scan.seconds))


def _name(key: str) -> str:
    """Return the name of a manifest's file without .json; most senders use the request's id."""
    return key.rpartition("/")[2][: -len(".json")]
