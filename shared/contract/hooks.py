"""What runs around a request, an attempt and its answer: one class for each concern, as dramatiq's middleware.

| stage | when | in which thread | an exception in it |
|---|---|---|---|
| `polled` | the loop looks for work, every few seconds at least | loop | fails the look, or ends the worker |
| `idle` | a queue is empty, or its worker ends | loop | the same |
| `before_request` | a manifest was delivered, whatever comes of it | serving | the delivery comes again |
| `before` | the claim is ours | serving | ends the attempt, as below |
| `beat` | `beat_after` seconds after `before` or the last beat | beating | ends the beats: the claim runs out |
| `check` | at each report and artifact, often beside a child process | serving | Interrupted stops the work |
| `progressed` | the function reports how far it is | serving | is the function's |
| `finished` | the function is done, nothing is published yet | serving | ClaimLost drops the answer |
| `committing` | the answer is about to be created, perhaps again | any | a store's: it is tried again for a while |
| `committed` | the answer is there, any number of times | any | the same; the answer stays |
| `withdrawn` | no answer follows `committing`: its writer died | tidying | the next look tries again |
| `refused` | an error is answered by no attempt, or by its deadline | serving, beating | there must be none |
| `after` | the attempt's own answer is committed | serving | there must be none |
| `failed` | the attempt has ended in any other way; the claim is still ours | serving | there must be none |
| `after_request` | after each `before_request` that returned | serving | there must be none |

An attempt goes through `before`, then `after` or `failed`. A BucketError or OSError that ends it gives the claim back
at once, and the delivery comes again; with any other exception the claim runs out first. Hooks are called in the order
of their list, for `after_request` in the reverse one.

The threads: the worker's `loop` is also the one that is `serving`, except that a call to the HTTP entry has its own.
`beating` goes on while the function hangs in native code, and has all hooks of an attempt in turn, so none may take
long. `tidying` runs between requests.
"""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Event

from shared.contract.manifests import Json


@dataclass(frozen=True)
class Attempt:
    """One attempt at one request.

    Attributes:
        number: from 1 on.
        begun: on our monotonic clock.
        lost: set once its answer is of no use: another attempt has taken over, or the deadline has answered.
    """

    function: str
    request_id: str
    number: int
    begun: float = field(default_factory=time.monotonic)
    lost: Event = field(default_factory=Event)

    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.begun


@dataclass(frozen=True)
class Progress:
    """How far an attempt is; `figures` are the function's own, such as a loss."""

    stage: str
    step: int
    steps: int
    eta_seconds: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


class AttemptHook:
    """Does nothing at any stage; a hook overrides those that it is about. The module's table says when each runs."""

    def polled(self) -> None:
        """The worker's loop looks for work."""

    def idle(self) -> None:
        """There is no work."""

    def before_request(self) -> None:
        """A request is about to be served, or found to need nothing."""

    def after_request(self) -> None:
        """That is over."""

    def before(self, attempt: Attempt) -> None:
        """An attempt begins."""

    def beat_after(self) -> float:
        """Seconds until the next beat is wanted; it may come earlier, for another hook's sake."""
        return math.inf

    def beat(self) -> bool:
        """A sign of life is due. False ends the beats: of all hooks of the attempt, also those further behind."""
        return True

    def check(self, attempt: Attempt) -> None:
        """May the work go on? Raises `shared.lifecycle.shutdown.Interrupted` where it must stop."""

    def progressed(self, attempt: Attempt, progress: Progress) -> None:
        """The function says how far it is."""

    def finished(self, attempt: Attempt) -> None:
        """The work is done and its answer about to be published."""

    def after(self, attempt: Attempt, envelope: Json) -> None:
        """The answer is published."""

    def failed(self, attempt: Attempt, reason: str) -> None:
        """The attempt ended without an answer: `handed back`, `claim lost`, `child died`, `store failed`,
        `device broken`."""

    def committing(self, function: str, request_id: str) -> None:
        """An answer is about to be committed: what must not be lost is noted now."""

    def committed(self, function: str, event: Json) -> None:
        """An answer is committed; `event` is its CloudEvent. Waits for nobody, and repeats do no harm."""

    def withdrawn(self, function: str, request_id: str) -> None:
        """There will be no answer after all: what was noted may go."""

    def refused(self, error_type: str) -> None:
        """A request was answered with an error that no attempt came to by itself."""


class Hooks(AttemptHook):
    """Hooks as one. Each that had `before_request` has `after_request`, whatever the others raise."""

    def __init__(self, hooks: Sequence[AttemptHook]) -> None:
        self._hooks = tuple(hooks)

    def polled(self) -> None:
        for hook in self._hooks:
            hook.polled()

    def idle(self) -> None:
        for hook in self._hooks:
            hook.idle()

    def before_request(self) -> None:
        with ExitStack() as entered:
            for hook in self._hooks:
                hook.before_request()
                entered.callback(hook.after_request)
            entered.pop_all()

    def after_request(self) -> None:
        with ExitStack() as entered:
            for hook in self._hooks:
                entered.callback(hook.after_request)

    def before(self, attempt: Attempt) -> None:
        for hook in self._hooks:
            hook.before(attempt)

    def beat_after(self) -> float:
        return min((hook.beat_after() for hook in self._hooks), default=math.inf)

    def beat(self) -> bool:
        return all(hook.beat() for hook in self._hooks)

    def check(self, attempt: Attempt) -> None:
        for hook in self._hooks:
            hook.check(attempt)

    def progressed(self, attempt: Attempt, progress: Progress) -> None:
        for hook in self._hooks:
            hook.progressed(attempt, progress)

    def finished(self, attempt: Attempt) -> None:
        for hook in self._hooks:
            hook.finished(attempt)

    def after(self, attempt: Attempt, envelope: Json) -> None:
        for hook in self._hooks:
            hook.after(attempt, envelope)

    def failed(self, attempt: Attempt, reason: str) -> None:
        for hook in self._hooks:
            hook.failed(attempt, reason)

    def committing(self, function: str, request_id: str) -> None:
        for hook in self._hooks:
            hook.committing(function, request_id)

    def committed(self, function: str, event: Json) -> None:
        for hook in self._hooks:
            hook.committed(function, event)

    def withdrawn(self, function: str, request_id: str) -> None:
        for hook in self._hooks:
            hook.withdrawn(function, request_id)

    def refused(self, error_type: str) -> None:
        for hook in self._hooks:
            hook.refused(error_type)
