"""A worker's death, or its freezing, at one exact call of its own bucket: before it or right after it."""

import os
import re
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.buckets import Bucket

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


def _strike(how: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL if how == "kill" else signal.SIGSTOP)
