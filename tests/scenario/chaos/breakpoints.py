"""A worker's death, or its freezing, at one exact call of its own bucket: before it or right after it; or its end
at the moment when a request was made ready for it."""

import os
import re
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.buckets import Bucket
from shared.events import ObjectCreated
from shared.lifecycle.invocation import Invocation

POINTS = {  # name: method of the bucket, and what its key must look like
    "claim": ("put_if_absent", r"claims/"),
    "beat": ("put", r"claims/"),
    "progress": ("put", r"progress/"),
    "artifact": ("put", r"results/.*/a\d+/"),
    "announce": ("put", r"outbox/"),
    "result": ("put_if_absent", r"results/.*/result\.json"),
    "clear": ("delete", r"results/"),
    "pointer": ("put", r"users/"),
    "notification": ("put_if_absent", r"notifications/"),
    "done": ("delete", r"progress/"),
    "delivered": ("delete", r"outbox/"),
    "conflict": ("put_if_absent", r"results/.*/conflict-"),
    "staged": ("_stage", r""),  # a folder's only: the bytes lie beside, their name is not there yet
    "probe": ("put_if_absent", r"probes/"),
}


@dataclass(frozen=True)
class Breakpoint:
    """The `count`th call at `point`; `before` it or after it; `how` is kill or freeze."""

    point: str
    count: int
    before: bool
    how: str


def set_breakpoint(bucket: Bucket, one: Breakpoint) -> None:
    """Arrange for it in this process; nothing where the bucket has no such call."""
    name, pattern = POINTS[one.point]
    method: Callable[..., Any] | None = getattr(bucket, name, None)
    if method is None:
        return
    calls, lock = [0], threading.Lock()

    def called(key: Any, *arguments: Any) -> Any:
        with lock:
            calls[0] += isinstance(key, bytes) or bool(re.match(pattern, key))
            here = calls[0] == one.count and (isinstance(key, bytes) or bool(re.match(pattern, key)))
        if here and one.before:
            _strike(one.how)
        result = method(key, *arguments)
        if here and not one.before:
            _strike(one.how)
        return result

    setattr(bucket, name, called)


def stop_when_ready(count: int) -> None:
    """Arrange that this worker is asked to stop as soon as it has made the `count`th request ready beside its work."""
    prepare, calls, lock = Invocation.prepare, [0], threading.Lock()

    def prepared(invocation: Invocation, created: ObjectCreated, over: Callable[[], bool]) -> None:
        prepare(invocation, created, over)
        with lock:
            calls[0] += invocation._ready is not None
            here = calls[0] == count and invocation._ready is not None
        if here:
            os.kill(os.getpid(), signal.SIGTERM)

    setattr(Invocation, "prepare", prepared)  # noqa: B010 - of all that this process makes


def _strike(how: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL if how == "kill" else signal.SIGSTOP)
