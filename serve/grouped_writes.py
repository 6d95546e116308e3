"""Writes of many threads to a bucket in groups, since a disk syncs several objects in hardly more time than one.

| a write | who moves it on | to |
|---|---|---|
| waiting | the thread of any waiting write, once the group before is written | in the group that is being written |
| in a group | the same thread | written, or failed |

A group begins as soon as the one before is written, so a write that comes alone waits for nothing.
"""

import threading
from contextlib import suppress

from shared.buckets.base import Bucket, BucketError

MOST_TOGETHER = 64  # objects; each holds a file open while the group is written


class _Write:
    def __init__(self, key: str, data: bytes) -> None:
        self.key, self.data = key, data
        self.done = False
        self.error: Exception | None = None


class GroupedWrites:
    """Writes objects that are durable when the call returns, whichever thread wrote them."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._gathering, self._turn = threading.Lock(), threading.Lock()
        self._waiting: list[_Write] = []

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing any earlier one; raises what `Bucket.put` raises for it."""
        mine = _Write(key, data)
        with self._gathering:
            self._waiting.append(mine)
        with self._turn:
            while not mine.done:
                self._write(self._take_group())
        if mine.error is not None:
            raise mine.error

    def _take_group(self) -> list[_Write]:
        """Take the next writes in their order, up to the second one of a key."""
        with self._gathering:
            group: dict[str, _Write] = {}
            for one in self._waiting[:MOST_TOGETHER]:
                if one.key in group:
                    break
                group[one.key] = one
            del self._waiting[: len(group)]
        return list(group.values())

    def _write(self, group: list[_Write]) -> None:
        with suppress(BucketError, OSError):  # then each is written by itself, so that it gets its own error
            if len(group) > 1:
                self._bucket.put_all({one.key: one.data for one in group})
                for one in group:
                    one.done = True
        for one in (one for one in group if not one.done):
            self._write_alone(one)

    def _write_alone(self, one: _Write) -> None:
        try:
            self._bucket.put(one.key, one.data)
        except Exception as error:  # noqa: BLE001 - raised in the thread that waits for this write
            one.error = error
        one.done = True
