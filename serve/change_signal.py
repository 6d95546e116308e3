"""A signal to coroutines that a queue has changed, which any thread may give."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ChangeSignal:
    """Sets the event of every listener when it is rung."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def ring(self) -> None:
        """Wake all listeners. May be called from any thread."""
        with self._lock:
            for loop, event in self._listeners:
                loop.call_soon_threadsafe(event.set)

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """Yield an event that every ring sets; clear it before looking at the queue, wait for it afterwards."""
        listener = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            self._listeners.add(listener)
        try:
            yield listener[1]
        finally:
            with self._lock:
                self._listeners.discard(listener)
