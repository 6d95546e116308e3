"""A listing of everything below a function's prefix, and the thread in which a long one is made.

A hundred thousand manifests take a second or more to list. Requests that come meanwhile are found and served by the
loop; whatever it does with keys then is newer than the listing, which is therefore not believed about those keys.
"""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

from shared.buckets.base import BucketError, ObjectInfo

SWITCH_SECONDS = 0.0005  # for which a long listing keeps Python from the thread that serves, instead of 5 ms a time


@dataclass(frozen=True)
class FullListing:
    """What a listing found.

    Attributes:
        manifests: the keys of all manifests.
        marks: of all manifests, see `settled_index.py`.
        unsettled: those that were neither settled nor set aside when they were listed.
        others: objects that are no manifests.
        times: when each folder was changed that the store can tell of, in nanoseconds; looked at before the listing.
        broken: why it is not complete; None if it is.
    """

    manifests: set[str] = field(default_factory=set)
    marks: set[bytes] = field(default_factory=set)
    unsettled: list[ObjectInfo] = field(default_factory=list)
    others: list[ObjectInfo] = field(default_factory=list)
    times: Mapping[str, int] = field(default_factory=dict)
    broken: BucketError | OSError | None = None

    @property
    def size(self) -> int:
        """The number of objects."""
        return len(self.manifests) + len(self.others)


class Beside:
    """Runs one job at a time in a thread that no stopping worker waits for."""

    def __init__(self) -> None:
        self._made: Future[FullListing | None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a job is under way, or its result was not taken yet."""
        return self._made is not None

    def begin(self, job: Callable[[], FullListing | None]) -> None:
        """Begin a job; only if not `busy`."""
        made: Future[FullListing | None] = Future()

        def run() -> None:
            with _short_switches():
                try:
                    made.set_result(job())
                except BaseException as error:  # noqa: BLE001 - raised to whoever takes the result
                    made.set_exception(error)

        self._made = made
        threading.Thread(target=run, name="listing", daemon=True).start()

    def take(self) -> FullListing | None:
        """Return what the job has found, once; None if there is nothing yet. Raises the error that ended it."""
        made = self._made
        if made is None or not made.done():
            return None
        self._made = None
        return made.result()


@contextmanager
def _short_switches() -> Iterator[None]:
    """Let other threads take over more often: serving a request takes over a dozen times."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SWITCH_SECONDS))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
