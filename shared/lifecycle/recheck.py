"""Whether a request that was made ready is still wanted, asked for beside the beginning of its work.

| the request, since it was made ready | what becomes of the work |
|---|---|
| unanswered, and its manifest is the same | it goes on, and may be seen from now on: progress, artifacts |
| answered, overwritten or erased | it is stopped, its claim is withdrawn, and the delivery is served like any other |
| the store does not say | the store's error ends the attempt |
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from shared.contract.hooks import Attempt, AttemptHook
from shared.lifecycle.shutdown import Interrupted


class NoLongerWanted(Interrupted):
    """The request was answered, overwritten or erased after it was made ready."""


class RecheckFailed(Interrupted):
    """The store did not say whether the request is still wanted; the cause is its error."""


class Recheck(AttemptHook):
    """Asks once, in a thread; the claim must be ours already, so that whoever erases the request meets it.

    Args:
        ask: returns whether the request is still wanted; None for one that is known to be.
    """

    def __init__(self, ask: Callable[[], bool] | None = None) -> None:
        pool = ThreadPoolExecutor(1, "recheck")
        self._asked = pool.submit(ask or (lambda: True))
        pool.shutdown(wait=False)

    @property
    def known(self) -> bool:
        """Whether the request is known to be wanted, without waiting."""
        return self._asked.done() and self._asked.exception() is None and self._asked.result()

    def wait(self) -> None:
        """Return once the request is known to be wanted; raises NoLongerWanted and RecheckFailed."""
        if (error := self._asked.exception()) is not None:
            raise RecheckFailed(f"it is not known whether the request is still wanted: {error}") from error
        if not self._asked.result():
            raise NoLongerWanted("the request was answered, overwritten or erased a moment ago")

    def check(self, attempt: Attempt) -> None:
        if self._asked.done():
            self.wait()
