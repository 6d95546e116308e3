"""A thread that lets hooks beat while something else works, whatever that does."""

import threading
from types import TracebackType

from shared.contract.hooks import AttemptHook


class Pulse:
    """Lets a hook beat whenever it needs to, from `__enter__` to `__exit__`; no beat comes after that."""

    def __init__(self, name: str, hook: AttemptHook) -> None:
        self._hook, self._done = hook, threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> "Pulse":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(min(self._hook.beat_after(), threading.TIMEOUT_MAX)):
            if not self._hook.beat():
                return
