"""Requests from a watched folder: the watcher says where to look, listings find what it missed.

watchfiles misses files in new subfolders, files that existed before the start, and everything on a network drive, and
does not say when a writer is done. So a path that it names is only looked at, and a folder that it names is listed. The
whole folder is listed periodically as for any other bucket, and at once if a folder changed that it did not report.

| what happens to the folder under a running worker | what the worker does |
|---|---|
| the folder of manifests is removed | makes it again, after a while: its remover may not be done with the rest |
| the whole bucket is removed, or its volume unmounted | logs it once and waits; it never makes the bucket itself |
| the same while a request runs | the same: the request's writes fail, and it stays without an answer |
| it is recreated, or something is mounted over it | watches the new folder and lists all of it |
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event

from watchfiles import Change, watch

from shared.buckets import BucketError, FolderBucket, StoreUnavailable
from shared.contract.hooks import AttemptHook
from shared.lifecycle.device_turn import DeviceTurn
from shared.settings import Scan
from shared.triggers.full_listing import FullListing
from shared.triggers.scan import ScanTrigger

log = logging.getLogger(__name__)

WAKE_MILLISECONDS = 50  # longest time for which changes are grouped into one wake-up; not a quiet time
# Between two looks of the watcher's own thread, which wakes us once a look finds nothing
# more. Half the wait for a claim.
# Measured, idle cost in percent of a core and median wait: 50 ms: 0.1 %, 62 ms; 10: 0.24 %, 16; 5: 0.35 %, 9; 2: 1 %, 4
STEP_MILLISECONDS = 5
QUIET_SECONDS = 0.5  # at most, between two signs of life of a watcher that sees nothing
MOST_FOLDERS = 1000  # whose times are compared; with more, there are only listings
ABSENCE_SECONDS = 0.1  # between two checks whether a folder exists again
PATIENCE_SECONDS = 1.0  # until a changed folder counts as not reported by the watcher
RARELY = 10  # times rarer are full listings of many manifests while the folders' times tell of what is new
TICK_SECONDS = 3.0  # of the coarsest clocks by which filesystems tell when a folder changed: FAT's have two
CHECKING_SHARE = 0.005  # of the time, which is CPU time here: an idle worker uses less than a percent of a core


class FolderTrigger(ScanTrigger):
    """Looks for manifests when something below the function's prefix has changed, and periodically."""

    _checking_share = CHECKING_SHARE

    def __init__(
        self,
        bucket: FolderBucket,
        function: str,
        scan: Scan,
        clock: Callable[[], float] = time.monotonic,
        hooks: Sequence[AttemptHook] = (),
        turn: DeviceTurn | None = None,
    ) -> None:
        super().__init__(bucket, function, scan, clock, hooks, turn)
        self._root = bucket.root
        self._named: set[str] = set()
        self._times: dict[str, int] = {}
        self._visited: dict[str, int] = {}  # those of them that were noted since the last listing was
        self._doubts: dict[str, tuple[int, float]] = {}

    def _look(self) -> None:
        if not os.path.isdir(self._root):
            raise StoreUnavailable(f"{self._root} does not exist: make it, or mount its volume")
        named, self._named = self._named, set()
        for path in sorted(named):
            self._visit(path)
        unreported = self._has_unreported_change()
        self._list_if(unreported or self._clock() >= self._listed_at)

    def _note_listing(self, listing: FullListing) -> None:
        super()._note_listing(listing)
        self._times = {**listing.times, **self._visited} if listing.times else {}
        self._visited, self._doubts = {}, {}

    def _pause_after(self, listing: FullListing) -> float:
        """Return the seconds until everything is listed again, which are more where changed folders tell of changes.

        They do not tell of a manifest that was overwritten in place, nor of what came within the same tick of their
        clock as what was listed.
        """
        pause, newest = super()._pause_after(listing), max(listing.times.values(), default=0)
        quiet = time.time() - newest / 1e9 > TICK_SECONDS
        return pause * RARELY if self._is_long and listing.times and quiet else pause

    def _visit(self, path: str) -> None:
        """Look at one path that the watcher named."""
        key = Path(path).relative_to(self._root).as_posix()
        if self._is_linked(path):
            return
        try:
            if os.path.isdir(path):
                self._add(self._bucket.list(f"{key}/"))
                self._note_time(path)
                return
            info = self._bucket.head(key)
            parent = os.path.dirname(path)
            if parent in self._times:
                self._note_time(parent)
        except FileNotFoundError:
            return
        except (BucketError, OSError) as error:
            self._failures.add(key, error)
            return
        if info is None:
            self._waiting.pop(key, None)
        else:
            self._failures.remove(key)
            self._add([info])

    def _note_time(self, folder: str) -> None:
        """Note that what changed in a folder until now was reported, also to a listing that is being made."""
        self._times[folder] = self._visited[folder] = os.stat(folder).st_mtime_ns

    def _is_linked(self, path: str) -> bool:
        """Return whether the path is a link or leads through one: listings see nothing there (`unread.py`)."""
        top = os.path.join(self._root, self._prefix.rstrip("/"))
        return os.path.realpath(path) != os.path.join(os.path.realpath(top), os.path.relpath(path, top)).removesuffix(
            "/."
        )

    def _has_unreported_change(self) -> bool:
        """Return whether a folder changed a while ago without a report by the watcher."""
        now = self._clock()
        changed = {path: seen for path, before in self._times.items() if (seen := _mtime(path)) != before}
        known = {path: self._doubts.get(path, (0, now)) for path in changed}
        self._doubts = {path: known[path] if known[path][0] == seen else (seen, now) for path, seen in changed.items()}
        return any(now - since >= PATIENCE_SECONDS for _, since in self._doubts.values())

    def _folder_times(self) -> dict[str, int]:
        """Return when each folder of manifests was changed; empty if there are too many of them."""
        top = os.path.join(self._root, self._prefix.rstrip("/"))
        times: dict[str, int] = {}
        for folder, _, _ in os.walk(top):
            times[folder] = _mtime(folder)
            if len(times) > MOST_FOLDERS:
                return {}
        return times

    def _changes(self, stop: Event) -> Iterator[None]:
        """Yield once the watch has begun, then whenever something changed or a look is due; ends when `stop` is set."""
        folder, told = self._root / self._prefix, ""
        rest = 0.0  # seconds to wait before a missing folder is made
        while not stop.is_set():
            self._hooks.polled()
            try:
                if self._ensure_folder(folder, rest, stop):
                    yield from self._watch(folder, stop)
                else:
                    yield
                rest, told = self._scan.seconds, ""
            except (OSError, RuntimeError) as error:
                if told != str(error):
                    log.warning("cannot watch %s (%s), scanning every %.0f s", folder, error, self._scan.seconds)
                told = str(error)
                yield
                stop.wait(self._scan.seconds)

    def _ensure_folder(self, folder: Path, rest: float, stop: Event) -> bool:
        """Wait for the folder, then make it if its bucket exists; returns whether there is a folder to watch."""
        until = time.monotonic() + rest
        while not folder.is_dir() and time.monotonic() < until and not stop.wait(ABSENCE_SECONDS):
            self._hooks.polled()
        try:
            for part in (folder.parent, folder):
                part.mkdir(exist_ok=True)
        except FileNotFoundError:
            return False
        return True

    def _watch(self, folder: Path, stop: Event) -> Iterator[None]:
        """Yield like `_changes` while this very folder exists: its watcher would not report changes of another one."""
        watched = _identify(folder)
        due = 0.0  # look at once for what came before the watcher started
        self._listed_at = float("-inf")
        for changes in watch(
            folder,
            watch_filter=None,
            debounce=WAKE_MILLISECONDS,
            step=STEP_MILLISECONDS,
            rust_timeout=round(1000 * min(QUIET_SECONDS, self._scan.seconds / 2)),
            yield_on_timeout=True,
            stop_event=stop,
            raise_interrupt=False,
        ):
            self._hooks.polled()
            if (Change.deleted, str(folder)) in changes or _identify(folder) != watched:
                return
            self._named |= {path for _, path in changes}
            if changes or time.monotonic() >= due:
                yield
                due = time.monotonic() + self._failures.pause(self._scan.seconds)


def _identify(folder: Path) -> tuple[int, int] | None:
    """Return what tells a folder from another of the same name; None if there is none."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _mtime(folder: str) -> int:
    """Return when a folder was changed; 0 if that cannot be told, as when a file or a loop of links has its place."""
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0
