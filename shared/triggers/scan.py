"""Requests out of any bucket by listing it: the truth behind a watcher, and all there is where no queue is.

| manifest, as a worker sees it | when it is offered |
|---|---|
| settled, and not changed since | never again |
| new | at once, oldest first |
| there at the start, named like a request that has an answer | when nothing else is to do, few at a time |
| not readable yet | when it has changed, or its writer has rested for `scan.settle_seconds` |
| claimed by somebody else | at the next look |
| failing | after a pause that grows, whatever the others do (`failing_keys.py`) |

Listing a hundred thousand manifests takes a second of the processor, and a hundred calls of a store. So the whole is
listed at intervals that grow with how many there are: a look's time for each page of them. In between only what sorts
behind the last key is asked for, and where there is a watcher what it names. What was settled is remembered beyond the
process (`settled_index.py`).
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Event

from shared.buckets import Bucket, BucketError, ObjectInfo, StoreUnavailable
from shared.contract import keys
from shared.contract.function import FunctionUnavailable
from shared.contract.hooks import AttemptHook, Hooks
from shared.events import ObjectCreated
from shared.lifecycle.invocation import Outcome
from shared.lifecycle.unread import Strays
from shared.observability.failing_keys import Failures
from shared.settings import Scan
from shared.triggers import Receive
from shared.triggers.settled_index import SettledIndex

log = logging.getLogger(__name__)

STOP_POLL = 0.1  # seconds between two looks whether to stop
PAGE = 1000  # keys that a store lists in one call; a folder as many in 7 ms of the processor
CHECKING_SHARE = 0.05  # of the time that goes into what is most likely answered
CHECKED_AT_ONCE = 50
FEW = 20  # manifests that are looked at sooner than all answers are listed
SAVED_AFTER = 1000  # settled manifests; also at the end


@dataclass(frozen=True)
class _Sight:
    etag: str
    since: float


class ScanTrigger:
    """Offers the manifests of one function to `receive` until each is settled.

    Args:
        hooks: told of every look whether there is something to do.
    """

    def __init__(
        self,
        bucket: Bucket,
        function: str,
        scan: Scan,
        clock: Callable[[], float] = time.monotonic,
        hooks: Sequence[AttemptHook] = (),
    ) -> None:
        self._hooks = Hooks(hooks)
        self._bucket, self._function, self._scan, self._clock = bucket, function, scan, clock
        self._prefix = keys.requests(function)
        self._settled = SettledIndex(bucket, function)
        self._failures = Failures(bucket, function, self._prefix, clock)
        self._strays = Strays(bucket, function, scan.settle_seconds, clock)
        self._waiting: dict[str, ObjectInfo] = {}
        self._likely: dict[str, ObjectInfo] = {}  # the newest last, once they are sorted
        self._sorted = True
        self._sights: dict[str, _Sight] = {}
        self._others: list[ObjectInfo] | None = None  # what the last listing of the whole gave beside manifests
        self._last = ""
        self._listed_at = self._checked_at = float("-inf")
        self._started = False
        self._away_since: float | None = None
        self._watching: Iterator[None] | None = None

    def prepare(self, stop: Event) -> None:
        """Look for the first time; `run` goes on from there, and says what is wrong with the store if anything is."""
        self._watching = self._changes(stop)
        next(self._watching, None)
        with suppress(BucketError, OSError, MemoryError):
            self._look()

    def run(self, receive: Receive, stop: Event) -> None:
        """Look, serve, wait, look again, until `stop` is set; a failing store is logged and tried again."""
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
                log.error("a look at %s/%s failed, the next one goes on: %s", self._bucket.address, self._prefix, error)
            next(changes, None)
        if self._away_since is None:
            self._settled.save()

    def scan(self, receive: Receive, stop: Event) -> None:
        """Offer every manifest that is not settled yet; then, if there was none, some that most likely are."""
        self._look()
        ready = [info for info in self._waiting.values() if not self._failures.rests(info.key)]
        for info in sorted(ready, key=lambda info: (info.modified, info.key)):
            if stop.is_set():
                return
            self._offer(info, receive)
        if self._others is not None:
            self._strays.look(self._others)
            self._others = None
        if not self._waiting:
            self._check_likely(receive, stop)

    @property
    def failing(self) -> int:
        """How many keys fail."""
        return len(self._failures)

    def _tell_away(self, error: StoreUnavailable) -> None:
        """The store as a whole is away; said once, however long it is waited for."""
        if self._away_since is None:
            self._away_since = self._clock()
            log.error("%s; it is asked again every %.0f s", error, self._scan.seconds)

    def _tell_back(self) -> None:
        if self._away_since is not None:
            away, self._away_since = self._clock() - self._away_since, None
            log.info("%s is there again after %.0f s", self._bucket.address, away)

    def _offer(self, info: ObjectInfo, receive: Receive) -> None:
        """One manifest; whatever comes of it, the others have their turn."""
        written = self._rested(info)
        if written is None:
            return
        try:
            outcome = receive(ObjectCreated(info.key, size=info.size, etag=info.etag), written)
        except FunctionUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary between keys: one must never stop the others
            self._failures.add(info.key, error)
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

    def _rested(self, info: ObjectInfo) -> bool | None:
        """Whether the writer is done for sure; None while another look at unchanged text would show nothing."""
        sight = self._sights.get(info.key)
        if sight is None or sight.etag != info.etag:
            self._sights.pop(info.key, None)
            return False
        return True if self._clock() - sight.since >= self._scan.settle_seconds else None

    def _check_likely(self, receive: Receive, stop: Event) -> None:
        """Some of the manifests that were there at the start and seem to be answered, the newest first."""
        if not self._likely or self._clock() < self._checked_at:
            return
        begun = self._clock()
        if not self._sorted:
            oldest_first = sorted(self._likely.values(), key=lambda info: (info.modified, info.key))
            self._likely, self._sorted = {info.key: info for info in oldest_first}, True
        for _ in range(CHECKED_AT_ONCE):
            if not self._likely or stop.is_set():
                break
            _, info = self._likely.popitem()
            if info not in self._settled:
                self._waiting[info.key] = info
                self._offer(info, receive)
        self._checked_at = self._clock() + (self._clock() - begun) * (1 / CHECKING_SHARE - 1)

    def _look(self) -> None:
        """Bring what waits up to date."""
        if self._clock() >= self._listed_at:
            self._list()
        else:
            self._add(self._bucket.list(self._prefix, after=self._last))

    def _list(self) -> None:
        """See the whole."""
        found, broken = list[ObjectInfo](), None
        try:
            for info in self._bucket.list(self._prefix):
                found.append(info)
        except StoreUnavailable:
            raise
        except (BucketError, OSError) as error:
            broken = error  # such as a folder that cannot be read: what could be is served
        manifests, others = list[ObjectInfo](), list[ObjectInfo]()
        for info in found:
            (manifests if keys.is_request(info.key, self._function) else others).append(info)
        if not self._started:
            self._settled.load()
        self._failures.adopt()
        if broken is None:
            new = self._settled.keep(manifests)
            self._forget(manifests, new)
        else:
            new = [info for info in manifests if info not in self._settled]
        if not self._started:
            new = self._set_aside(new)
        self._started = True
        self._add(new)
        self._listed_at = self._clock() + self._scan.seconds * max(1, -(-len(found) // PAGE))
        if broken is None:
            self._failures.remove(self._prefix)
        else:
            self._failures.add(self._prefix, broken)
        self._others = others

    def _set_aside(self, new: list[ObjectInfo]) -> list[ObjectInfo]:
        """At the start: those without a likely answer; the others are for later."""
        if len(new) <= FEW:
            return new
        try:
            answered = set(self._bucket.folders(keys.results(self._function)))
        except (BucketError, OSError) as error:
            log.warning("results/%s/ cannot be listed, every manifest is looked at: %s", self._function, error)
            answered = set()
        likely, others = list[ObjectInfo](), list[ObjectInfo]()
        for info in new:
            (likely if _name(info.key) in answered else others).append(info)
        self._likely, self._sorted = {info.key: info for info in likely}, False
        return others

    def _add(self, infos: Iterator[ObjectInfo] | list[ObjectInfo]) -> None:
        """These may be new."""
        for info in infos:
            if keys.is_request(info.key, self._function):
                self._last = max(self._last, info.key)
                if info.size and info not in self._settled and self._likely.get(info.key) != info:
                    self._likely.pop(info.key, None)
                    self._waiting[info.key] = info

    def _forget(self, manifests: list[ObjectInfo], new: list[ObjectInfo]) -> None:
        """Everything about manifests that are gone, and where those that are there end."""
        present = {info.key for info in manifests}
        self._failures.keep({info.key for info in new} | {self._prefix})
        self._last = max(present, default="")
        for memory in (self._waiting, self._likely, self._sights):
            for key in memory.keys() - present:
                del memory[key]

    def _changes(self, stop: Event) -> Iterator[None]:
        """Yields when the next look is due, the first at once; ends when `stop` is set."""
        while not stop.is_set():
            self._hooks.polled()
            yield
            due = time.monotonic() + self._failures.pause(self._scan.seconds)
            while time.monotonic() < due and not stop.is_set():
                self._hooks.polled()
                time.sleep(min(STOP_POLL, self._scan.seconds))


def _name(key: str) -> str:
    """What a manifest's file is called: most senders name it like the request."""
    return key.rpartition("/")[2][: -len(".json")]
