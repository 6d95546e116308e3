"""Hooks around a request, an attempt and its answer: one class for each concern, like dramatiq's middleware.

| stage | when | in which thread | an exception in it |
|---|---|---|---|
| `polled` | the loop looks for work, at least every few seconds | loop | fails the search, or ends the worker |
| `idle` | a queue is empty, or its worker ends | loop | the same |
| `before_request` | a manifest was delivered, whatever comes of it | serving | the delivery is repeated |
| `before` | the claim is ours | serving | ends the attempt, see below |
| `beat` | `beat_after` seconds after `before` or the last beat | beating | ends the beats: the claim expires |
| `admit` | after `before`; the request is about to be worked on | serving | a RequestError is the answer |
| `check` | at each report and artifact, often beside a child process | serving | Interrupted stops the work |
| `progressed` | the function reports its progress | serving | is raised in the function |
| `finished` | the function is done, nothing is published yet | serving | ClaimLost drops the answer |
| `committing` | the answer is about to be created, perhaps again | any | a store's error: retried for a while |
| `committed` | the answer exists; called any number of times | any | the same; the answer stays |
| `withdrawn` | no answer follows `committing`: its writer died | tidying | the next tidying tries again |
| `refused` | an error was answered without an attempt, or by its deadline | serving, beating | must not happen |
| `after` | the attempt's own answer is committed | serving | must not happen |
| `failed` | the attempt ended in any other way; the claim is still ours | serving | must not happen |
| `after_request` | after each `before_request` that returned | serving | must not happen |

An attempt goes through `before`, then `after` or `failed`. A BucketError or OSError that ends it releases the claim at
once, and the delivery is repeated; with any other exception the claim has to expire first. Hooks are called in the
order of their list, `after_request` in reverse order.

The threads: `serving` is the worker's `loop` thread, except that each call to the HTTP entry has a thread of its own.
`beating` goes on while the function hangs in native code. It calls all hooks of an attempt in turn, so none may take
long. `tidying` runs between requests.
"""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Event

from shared.contract.manifests import Json
from shared.contract.usage import Meter


@dataclass(frozen=True)
class Attempt:
    """One attempt at one request.

    Attributes:
        number: counted from 1.
        begun: start time on our monotonic clock.
        lost: set once its answer is useless: another attempt has taken over, or the deadline was answered.
        announced: set once its progress is stored, by which workers after a crash find what was left undone.
        metadata: the request's, as its answer repeats it.
        users: ids of the users whom the request names.
        meter: counts what it moves, the artifacts that it has saved or was about to save among it.
    """

    function: str
    request_id: str
    number: int
    begun: float = field(default_factory=time.monotonic)
    lost: Event = field(default_factory=Event)
    announced: Event = field(default_factory=Event)
    metadata: Json = field(default_factory=dict)
    users: tuple[str, ...] = ()
    meter: Meter = field(default_factory=Meter)

    def seconds(self) -> float:
        """Return the seconds since the attempt began."""
        return time.monotonic() - self.begun

    def usage(self, answered: bool) -> Json:
        """Return the `usage` of its answer's data.

        Args:
            answered: whether the answer is no error, so that its artifacts are kept.
        """
        return self.meter.usage(self.seconds(), self.users, time.time(), answered)


@dataclass(frozen=True)
class Progress:
    """The progress of an attempt; `figures` are values of the function's own, such as a loss."""

    stage: str
    step: int
    steps: int
    eta_seconds: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


class AttemptHook:
    """Base class that does nothing at any stage; a hook overrides the stages it needs. See the table above."""

    def polled(self) -> None:
        """Called when the worker's loop looks for work."""

    def idle(self) -> None:
        """Called when there is no work."""

    def before_request(self) -> None:
        """Called when a request is about to be served, or found to need nothing."""

    def after_request(self) -> None:
        """Called when the request is over."""

    def before(self, attempt: Attempt) -> None:
        """Called when an attempt begins."""

    def admit(self, attempt: Attempt) -> None:
        """Called when an attempt is about to work; raise RequestError to refuse its request."""

    def beat_after(self) -> float:
        """Return the seconds until the next beat is needed; it may come earlier if another hook needs it."""
        return math.inf

    def beat(self) -> bool:
        """Called when a sign of life is due. Returning False ends the beats of all hooks of the attempt."""
        return True

    def check(self, attempt: Attempt) -> None:
        """Raise `shared.lifecycle.shutdown.Interrupted` if the work must stop."""

    def progressed(self, attempt: Attempt, progress: Progress) -> None:
        """Called when the function reports its progress."""

    def finished(self, attempt: Attempt) -> None:
        """Called when the work is done and its answer is about to be published."""

    def after(self, attempt: Attempt, envelope: Json) -> None:
        """Called when the answer is published."""

    def failed(self, attempt: Attempt, reason: str) -> None:
        """Called when the attempt ended without an answer.

        Args:
            reason: `handed back`, `claim lost`, `child died`, `store failed` or `device broken`.
        """

    def committing(self, function: str, request_id: str) -> None:
        """Called when an answer is about to be committed: record now what must not be lost."""

    def committed(self, function: str, event: Json, envelope: Json) -> None:
        """Called when an answer is committed; must not block, and must be safe to repeat.

        Args:
            event: the answer's CloudEvent.
            envelope: the answer.
        """

    def withdrawn(self, function: str, request_id: str) -> None:
        """Called when there will be no answer after all: what `committing` recorded may go."""

    def refused(self, error_type: str) -> None:
        """Called when a request was answered with an error that did not come from an attempt."""


class Hooks(AttemptHook):
    """Several hooks as one.

    Each hook whose `before_request` returned has its `after_request` called, whatever the others raise.
    """

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

    def admit(self, attempt: Attempt) -> None:
        for hook in self._hooks:
            hook.admit(attempt)

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

    def committed(self, function: str, event: Json, envelope: Json) -> None:
        for hook in self._hooks:
            hook.committed(function, event, envelope)

    def withdrawn(self, function: str, request_id: str) -> None:
        for hook in self._hooks:
            hook.withdrawn(function, request_id)

    def refused(self, error_type: str) -> None:
        for hook in self._hooks:
            hook.refused(error_type)
