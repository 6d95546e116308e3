"""An index of all requests of a bucket, one for all viewers, that costs little however many old answers there are.

| what | how often | cost with 100,000 old results |
|---|---|---|
| what runs: the objects below `progress/` | every second that an operator looks | a listing of what runs |
| workers that live, keys that fail | every ten seconds likewise | two listings, a read of each failing key |
| names of manifests, strays, results' folders | with pauses, at most `index_share` of a core | three listings |
| the answer and the people of a request | once in the server's life, newest first, likewise | one read each |

Nothing of it happens while nobody looks. An answer never changes, so what was read once is not read again. Until an old
answer was read its state is `answered`; searches by person find it from then on.
"""

import hashlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from page.settings import PageSettings
from page.surroundings import MOST_TROUBLES, Present, Trouble, list_failing, list_present, list_unread
from shared.buckets import Bucket, BucketError, ObjectInfo, StoreUnavailable, UnreadableFolder
from shared.contract import keys
from shared.contract.function import NAMES
from shared.contract.manifests import NOBODY, Json, decode, invalid_id, parse
from shared.contract.visible import visible
from shared.errors import RequestError
from shared.lifecycle.pointers import is_plausible
from shared.operations.client import Client

log = logging.getLogger(__name__)

STATES = ("waiting", "running", "ok", "failed", "conflict", "dead", "answered")
DEAD = "Undeliverable"  # type of the error that dead letters are answered with
LARGEST_READ = 512 * 1024  # bytes of an answer or manifest; larger ones hold a picture, and are not read for a list
BATCH = 100  # answers read in one go
LOOKED_SECONDS = 15.0  # after the last look at the index, for which it is kept up to date
AROUND_SECONDS = 10.0  # between two looks for workers and failing keys
STRAY_SECONDS = 60.0  # between two searches for files that nobody reads, which may list all of `requests/` once more
FORGOTTEN_SECONDS = 3600.0  # after which a claim that never changes may count as new once more
SLOWEST_SECONDS = 300.0  # longest pause between two listings

Listed = TypeVar("Listed")


@dataclass(slots=True)
class Entry:
    """One request.

    Attributes:
        written: when its manifest was written, in seconds since 1970 by the store's clock; 0 if the manifest is gone.
        state: one of STATES.
        error: type of the error in its answer; empty if there is none.
        answered: when its answer was written; 0 while unknown.
    """

    function: str
    request_id: str
    key: str = ""
    written: float = 0.0
    state: str = "waiting"
    error: str = ""
    users: tuple[str, ...] = ()
    answered: float = 0.0
    read: bool = False


@dataclass(frozen=True)
class Running:
    """A request that a worker serves now."""

    function: str
    request_id: str
    owner: str
    attempt: int
    started: float
    stage: str
    step: int
    steps: int
    eta_seconds: float | None


@dataclass(frozen=True)
class Matches:
    """One page of the entries that match a search."""

    entries: list[Entry]
    total: int


@dataclass
class _Function:
    entries: dict[str, Entry] = field(default_factory=dict)
    manifests: dict[str, tuple[str, str]] = field(
        default_factory=dict
    )  # id and etag by key, of manifests that were read
    begun: bool = False


class RequestIndex:
    """The requests of one bucket, kept up to date by a thread of its own while somebody looks."""

    def __init__(
        self,
        bucket: Bucket,
        settings: PageSettings,
        beat_seconds: float = 60.0,
        silent_seconds: float = 30.0,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the index of a bucket.

        Args:
            beat_seconds: the setting `health.presence_seconds`.
            silent_seconds: two leases, after which an unchanged claim is that of a dead worker.
        """
        self._bucket, self._client, self._settings = bucket, Client(bucket), settings
        self._beat_seconds, self._silent_seconds = beat_seconds, silent_seconds
        self._wall, self._clock = wall, clock
        self._functions = {name: _Function() for name in NAMES}
        self._sorted: list[Entry] = []
        self._unread: list[Entry] = []
        self._running: list[Running] = []
        self._beats: dict[str, tuple[str, float]] = {}  # of running requests: their last claim's etag, since when
        self._present: list[Present] = []
        self._failing: list[Trouble] = []
        self._strays: list[Trouble] = []
        self._unread_files: list[ObjectInfo] = []
        self._around = self._strayed = float("-inf")
        self._looked, self._listed = float("-inf"), float("-inf")
        self._pause = 0.0
        self._stop, self._wake = threading.Event(), threading.Event()
        self._found: dict[tuple[str, str, int, int], Matches] = {}
        self._thread: threading.Thread | None = None
        self._unreadable: set[str] = set()
        self.ready = False

    def start(self) -> None:
        """Start the thread; it sleeps until somebody looks."""
        self._thread = threading.Thread(target=self._run, name="request index", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> None:
        """Say that somebody looks, so that the index is kept up to date for the next seconds."""
        self._looked = self._clock()
        self._wake.set()

    def note(self, function: str, request_id: str) -> None:
        """Add a request that was just sent, before it is found by listing."""
        entries = self._functions[function].entries
        if request_id not in entries:
            key = keys.request(function, request_id)
            entries[request_id] = Entry(function, request_id, key, self._wall())
            self._sort()

    def drop(self) -> None:
        """Forget everything, as after an erasure: what is still there is found again."""
        self._functions = {name: _Function() for name in NAMES}
        self._unread, self._listed, self._pause = [], float("-inf"), 0.0
        self._sort()
        self._wake.set()

    def running(self) -> list[Running]:
        """Return what runs now."""
        return self._running

    def present(self) -> list[Present]:
        """Return the workers that live, as far as they say so in the bucket."""
        return self._present

    def troubles(self) -> list[Trouble]:
        """Return what workers cannot serve at present, and what nobody reads."""
        return [*self._failing, *self._strays]

    def counts(self) -> Counter[str]:
        """Return the number of requests by state."""
        return Counter(one.state for one in self._sorted)

    def errors(self) -> Counter[str]:
        """Return the number of failed requests by type of error, as far as answers were read."""
        return Counter(one.error for one in self._sorted if one.error)

    def unread(self) -> int:
        """Return how many answers have not been read yet."""
        return len(self._unread)

    def unreadable(self) -> list[str]:
        """Return the folders that could not be read at the last look, so that their requests are missing."""
        return sorted(map(visible, self._unreadable))

    def newest(self) -> list[Entry]:
        """Return all requests, newest first; not a copy."""
        return self._sorted

    def get(self, function: str, request_id: str) -> Entry | None:
        """Return one request; None if it is not known."""
        return self._functions[function].entries.get(request_id)

    def find(self, state: str, text: str, page: int, size: int) -> Matches:
        """Return one page of a search, newest first.

        Args:
            state: one of STATES, the type of an error, or empty for all.
            text: part of an id or of a person's; empty for all.
            page: counted from 0.
            size: entries on a page.
        """
        wanted = state, text.strip().lower(), page, size
        if (found := self._found.get(wanted)) is None:
            matching = [one for one in self._sorted if _matches(one, wanted[0], wanted[1])]
            found = self._found[wanted] = Matches(matching[page * size : (page + 1) * size], len(matching))
        return found

    def of_user(self, user_id: str) -> list[Entry]:
        """Return the requests that name a person, newest first, as far as they were read."""
        return [one for one in self._sorted if user_id in one.users]

    def refresh(self) -> None:
        """List what is new, whatever it costs; the thread calls this with pauses."""
        started = time.thread_time(), self._clock()
        self._unreadable, self._unread_files = set(), []
        for name, function in self._functions.items():
            self._list(name, function)
        if started[1] - self._strayed >= STRAY_SECONDS:
            self._strayed = started[1]
            self._strays = list_unread(self._bucket, self._unread_files)
        self._sort()
        self.ready = True
        spent = max(time.thread_time() - started[0], 0.0), self._clock() - started[1]
        self._listed = self._clock()
        self._pause = min(
            max(self._settings.index_seconds, *(one / self._settings.index_share for one in spent)), SLOWEST_SECONDS
        )

    def look_around(self) -> None:
        """Look for workers, and for what they cannot serve."""
        self._around = self._clock()
        self._present = list_present(self._bucket, self._beat_seconds, self._wall())
        self._failing = list_failing(self._bucket)

    def read_some(self) -> None:
        """Read the next answers that have not been read, newest first."""
        batch = [self._unread.pop() for _ in range(min(BATCH, len(self._unread)))]
        for entry in batch:
            try:
                self._read(entry)
            except (BucketError, OSError) as error:
                log.warning("%s %s cannot be read for the page: %s", entry.function, entry.request_id, error)
                entry.read = True
        self._found.clear()

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._clock() - self._looked > LOOKED_SECONDS:
                self._wake.clear()
                self._wake.wait()
                continue
            try:
                pause = self._turn()
            except (BucketError, OSError) as error:
                log.warning("requests cannot be listed for the page: %s", error)
                pause = self._settings.index_seconds
            self._stop.wait(pause)

    def _turn(self) -> float:
        """Do what is due; returns the seconds until the next turn."""
        self._refresh_running()
        if self._clock() - self._around >= AROUND_SECONDS:
            self.look_around()
        if self._clock() - self._listed >= self._pause:
            self.refresh()
        if not self._unread:
            return min(1.0, self._settings.index_seconds)
        started = time.thread_time()
        self.read_some()
        return min(1.0, (time.thread_time() - started) / self._settings.index_share / 4)

    def _list(self, name: str, function: _Function) -> None:
        folders = set(self._readable(self._bucket.folders(keys.results(name))))
        manifests = self._list_manifests(name)
        live = {one.request_id for one in self._running if one.function == name}
        found: dict[str, Entry] = {}
        for info in manifests:
            request_id = self._identify(name, function, info, folders)
            if request_id is None:
                continue
            entry = found.get(request_id) or function.entries.get(request_id) or Entry(name, request_id)
            if not entry.key or entry.key == info.key:
                entry.key, entry.written = info.key, info.modified
            elif (conflict := self._find_conflict(function, request_id, info, name)) is not None:
                found[info.key] = conflict
            found[request_id] = entry
        for request_id in folders - found.keys():
            found[request_id] = function.entries.get(request_id) or Entry(name, request_id)
        for request_id, entry in found.items():
            if entry.state in ("waiting", "running"):
                self._settle_readable(entry, request_id in folders, request_id in live, function.begun)
        function.entries, function.begun = found, True

    def _readable(self, listing: Iterable[Listed]) -> Iterator[Listed]:
        """Yield what can be listed; folders that cannot be read are noted, so that the rest is shown all the same."""
        try:
            yield from listing
        except UnreadableFolder as error:
            self._unreadable |= set(error.folders)

    def _list_manifests(self, name: str) -> Iterable[ObjectInfo]:
        for info in self._readable(self._bucket.list(keys.requests(name))):
            if keys.is_request(info.key, name):
                yield info
            elif len(self._unread_files) < MOST_TROUBLES:
                self._unread_files.append(info)

    def _identify(self, name: str, function: _Function, info: ObjectInfo, folders: set[str]) -> str | None:
        """Return a manifest's id: by its name where a result says so, otherwise by reading it once."""
        named = info.key.removeprefix(keys.requests(name)).removesuffix(".json")
        if named in folders:
            return named
        known = function.manifests.get(info.key)
        if known is None or known[1] != info.etag:
            request_id, _ = self._read_manifest(info.key)
            known = function.manifests[info.key] = (request_id or named, info.etag)
        return known[0]

    def _find_conflict(self, function: _Function, request_id: str, info: ObjectInfo, name: str) -> Entry | None:
        """Return the entry of a second manifest with an id that was taken; None if it says the same as the first."""
        if (known := function.entries.get(info.key)) is not None:
            return known
        if not any(True for _ in self._bucket.list(keys.result_folder(name, request_id) + "conflict-")):
            return None
        return Entry(name, request_id, info.key, info.modified, "conflict", read=True)

    def _read_manifest(self, key: str) -> tuple[str | None, tuple[str, ...]]:
        """Return a manifest's id and people; None and nobody if it cannot be read.

        One that is no valid manifest has the id under which its error is answered.
        """
        try:
            text = self._bucket.find(key, LARGEST_READ)
        except BucketError:
            return None, ()
        if text is None:
            return None, ()
        try:
            manifest = parse(text)
        except RequestError:
            return invalid_id(hashlib.sha256(text).hexdigest()), ()
        return manifest.request_id, _people(manifest.body)

    def _settle_readable(self, entry: Entry, has_folder: bool, is_live: bool, look: bool) -> None:
        """Find the state of a request as `_settle`; one that cannot be read alone keeps the state that it had."""
        try:
            self._settle(entry, has_folder, is_live, look)
        except StoreUnavailable:
            raise
        except BucketError as error:
            log.warning("%s %s cannot be looked at for the page: %s", entry.function, entry.request_id, error)

    def _settle(self, entry: Entry, has_folder: bool, is_live: bool, look: bool) -> None:
        """Find the state of a request that had no answer when it was looked at before."""
        if has_folder and not look and not is_live:
            entry.state = "answered"  # at the first listing; reading it will tell
            return
        if has_folder and self._bucket.head(keys.result(entry.function, entry.request_id)) is not None:
            entry.state = "answered"
        elif is_live or self._is_claimed(entry):
            entry.state = "running"
        else:
            entry.state = "waiting"

    def _read(self, entry: Entry) -> None:
        key = keys.result(entry.function, entry.request_id)
        info = self._bucket.head(key)
        if info is None:
            entry.state = "running" if entry.key else "failed"
            return
        entry.read, entry.answered, entry.state = True, info.modified, "ok"
        if info.size <= LARGEST_READ:
            try:
                self._judge(entry, decode(self._bucket.get(key, LARGEST_READ)))
            except ValueError:
                entry.state, entry.error = "failed", "DamagedAnswer"
        if entry.key and not entry.users:
            _, entry.users = self._read_manifest(entry.key)

    def _judge(self, entry: Entry, answer: Json) -> None:
        data = answer.get("data")
        data = data if isinstance(data, dict) else {}
        if answer.get("code") != "OK":
            error = data.get("error")
            entry.error = visible(str(error.get("type", "error"))) if isinstance(error, dict) else "error"
            entry.state = "dead" if entry.error == DEAD else "failed"
        entry.users = _people({"configure": data})

    def _refresh_running(self) -> None:
        found: list[Running] = []
        for name in NAMES:
            for info in self._readable(self._bucket.list(keys.running(name))):
                request_id = info.key.removeprefix(keys.running(name)).removesuffix(".json")
                progress = self._client.progress(name, request_id)
                claims = list(self._bucket.list(keys.claims(name, request_id)))
                if progress is None or not claims or self._is_silent(claims[-1]):
                    continue
                claim = self._read_claim(claims[-1].key)
                if not _is_closed(claim):
                    found.append(_describe_running(name, request_id, progress, claim, len(claims)))
        self._beats = {key: beat for key, beat in self._beats.items() if beat[1] > self._clock() - FORGOTTEN_SECONDS}
        gone = {(one.function, one.request_id) for one in self._running} - {
            (one.function, one.request_id) for one in found
        }
        self._running = found
        for function, request_id in gone:
            entry = self.get(function, request_id)
            if entry is not None and entry.state in ("waiting", "running"):
                self._settle_readable(entry, True, False, True)
                self._sort()
        for one in found:
            entry = self.get(one.function, one.request_id)
            if entry is None:
                entry = self._functions[one.function].entries[one.request_id] = Entry(
                    one.function, one.request_id, written=one.started
                )
                self._sort()
            if entry.state == "waiting":
                entry.state = "running"
                self._found.clear()

    def _is_silent(self, claim: ObjectInfo) -> bool:
        """Return whether a claim has not changed for so long that another worker may take it: its worker is dead."""
        etag, since = self._beats.get(claim.key, ("", 0.0))
        if etag != claim.etag:
            self._beats[claim.key] = (claim.etag, self._clock())
            return False
        return self._clock() - since >= self._silent_seconds

    def _is_claimed(self, entry: Entry) -> bool:
        """Return whether a worker has a claim that it has not handed back or lost."""
        claims = list(self._bucket.list(keys.claims(entry.function, entry.request_id)))
        return bool(claims) and not self._is_silent(claims[-1]) and not _is_closed(self._read_claim(claims[-1].key))

    def _read_claim(self, key: str) -> Json:
        try:
            return decode(self._bucket.get(key, LARGEST_READ))
        except (BucketError, ValueError):
            return {}

    def _sort(self) -> None:
        every = [entry for function in self._functions.values() for entry in function.entries.values()]
        self._sorted = sorted(every, key=lambda one: -(one.written or one.answered))
        # reversed, since it is popped from the end; a new list, as viewers may be reading the old one
        self._unread = [one for one in reversed(self._sorted) if one.state == "answered" and not one.read]
        self._found.clear()


def _matches(entry: Entry, state: str, text: str) -> bool:
    if state and state not in (entry.state, entry.error):
        return False
    return not text or text in entry.request_id.lower() or any(text in user.lower() for user in entry.users)


def _people(body: Any) -> tuple[str, ...]:
    """Return the people whom a manifest's or an answer's `user_id` names."""
    configure = body.get("configure")
    given = configure.get("user_id") if isinstance(configure, dict) else None
    given = given if isinstance(given, list) else [given]
    return tuple(dict.fromkeys(visible(one) for one in given if isinstance(one, str) and one != NOBODY))


def _is_closed(claim: Json) -> bool:
    """Return whether a claim's attempt is over without an answer: the request waits for the next one."""
    return claim.get("released") is True or bool(claim.get("ended"))


def _describe_running(name: str, request_id: str, progress: Json, claim: Json, attempts: int) -> Running:
    return Running(
        name,
        request_id,
        str(claim.get("owner", "")),
        attempts,
        is_plausible(claim.get("started")) or 0.0,
        str(progress["stage"]),
        int(progress["step"]),
        int(progress["steps"]),
        progress.get("eta_seconds"),
    )
