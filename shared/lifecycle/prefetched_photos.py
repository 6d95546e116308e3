"""Pictures of the request that comes next, fetched while another one runs, and kept until it begins.

Only that request gets them: another one that names the same pictures may have been sent because they were replaced, or
after they were erased. Nothing is kept of a picture that could not be fetched: the request tries again. What the
request never took goes when the next one is made ready, or when the worker tidies up.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from shared.contract.data_urls import is_embedded
from shared.contract.manifests import Json
from shared.contract.workspace import AT_ONCE
from shared.errors import PhotoError

if TYPE_CHECKING:
    from shared.photos import PhotoFetcher

MOST_BYTES = 64 * 1024 * 1024  # of all pictures kept; a worker has them in memory beside those of the running request
KEPT_SECONDS = 60.0
MEMBERS = ("template_image", "images")  # of a request's body, that name pictures


class PrefetchedPhotos:
    """Fetches pictures ahead for one request; threads may share it."""

    def __init__(self, fetcher: "PhotoFetcher", clock: Callable[[], float] = time.monotonic) -> None:
        self._fetcher, self._clock = fetcher, clock
        self._lock = threading.Lock()
        self._request: object = None
        self._kept: dict[str, bytes] = {}
        self._until = float("-inf")

    def prefetch(self, request: object, body: Json) -> None:
        """Fetch the pictures that a request names, as many as may be kept; what was kept before goes.

        Args:
            request: what tells this delivery of it from every other, by identity.
        """
        with self._lock:
            self._request, self._kept = request, {}
        left, wanted = MOST_BYTES, list(dict.fromkeys(_named_pictures(body)))
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            found = zip(some, self._fetcher.fetch(some), strict=True)
            files = {reference: data for reference, data in found if isinstance(data, bytes)}
            left -= sum(map(len, files.values()))
            if left < 0:
                return
            with self._lock:
                if self._request is not request:
                    return  # it was dropped meanwhile
                self._kept |= files
                self._until = self._clock() + KEPT_SECONDS

    def take(self, request: object) -> "TakenPhotos":
        """Return what fetches the pictures of a request, with those that were fetched ahead for it."""
        with self._lock:
            ours = request is not None and request is self._request
            kept = self._kept if ours and self._clock() < self._until else {}
            if ours:
                self._request, self._kept = None, {}
        return TakenPhotos(kept, self._fetcher)

    def look(self, request: object) -> "TakenPhotos":
        """Return what fetches further pictures of a request that is being made ready, and keeps them for it."""
        with self._lock:
            kept = self._kept if request is self._request else {}
        return TakenPhotos(kept, self._fetcher)

    def drop(self) -> None:
        """Forget what was fetched ahead."""
        with self._lock:
            self._request, self._kept = None, {}


class TakenPhotos:
    """Fetches the pictures of one request; one that was fetched ahead is given once."""

    def __init__(self, kept: dict[str, bytes], fetcher: "PhotoFetcher") -> None:
        self._kept, self._fetcher = kept, fetcher

    def fetch(self, references: Sequence[str], keep: bool = False) -> list[bytes | PhotoError]:
        """Return the bytes of each picture, or why it cannot be fetched.

        Args:
            keep: they will be fetched again, for the request itself; what is over the limit is not kept.
        """
        ready = {one: data for one in dict.fromkeys(references) if (data := self._kept.get(one)) is not None}
        missing = [reference for reference in dict.fromkeys(references) if reference not in ready]
        fetched = dict(zip(missing, self._fetcher.fetch(missing), strict=True)) if missing else {}
        for reference in ready if not keep else ():
            self._kept.pop(reference, None)
        for reference, file in fetched.items() if keep else ():
            if isinstance(file, bytes) and sum(map(len, self._kept.values())) + len(file) <= MOST_BYTES:
                self._kept[reference] = file
        return [ready[one] if one in ready else fetched[one] for one in references]


def _named_pictures(body: Json) -> Iterator[str]:
    """Yield the references in a body that need fetching; whether the body is right, its function says later."""
    for member in MEMBERS:
        named = body.get(member)
        for one in named if isinstance(named, list) else [named]:
            if isinstance(one, str) and not is_embedded(one):
                yield one
