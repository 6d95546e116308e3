"""Requests out of a watched folder: the watcher only wakes, a scan decides.

watchfiles misses files in new sub-folders, whatever was there before the start, and says nothing of when a writer is
done; so every wake, and every `scan.seconds` without one, is a scan as of any other bucket.
"""

import logging
import time
from collections.abc import Callable, Iterator
from threading import Event

from watchfiles import watch

from shared.buckets import FolderBucket
from shared.settings import Scan
from shared.triggers.scan import ScanTrigger

log = logging.getLogger(__name__)

WAKE_MILLISECONDS = 200  # longest grouping of changes into one wake; not a quiet time


class FolderTrigger(ScanTrigger):
    """Scans when something below the function's prefix has changed, and now and then."""

    def __init__(
        self,
        bucket: FolderBucket,
        function: str,
        scan: Scan,
        largest_manifest: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(bucket, function, scan, largest_manifest, clock)
        self._root = bucket.root

    def _changes(self, stop: Event) -> Iterator[None]:
        """Yields when something below the prefix has changed or the scan is due; ends when `stop` is set."""
        folder = self._root / self._prefix
        while not stop.is_set():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                for _ in watch(
                    folder,
                    watch_filter=None,
                    debounce=WAKE_MILLISECONDS,
                    rust_timeout=round(self._scan.seconds * 1000),
                    yield_on_timeout=True,
                    stop_event=stop,
                    raise_interrupt=False,
                ):
                    yield
            except (OSError, RuntimeError) as error:
                log.warning("no watching of %s (%s), scanning every %.0f s", folder, error, self._scan.seconds)
                stop.wait(self._scan.seconds)
                yield
