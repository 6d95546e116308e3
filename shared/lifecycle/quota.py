"""Quotas: how many requests, and how many seconds of a device, a user has per day of UTC.

| a request's attempt | who moves it | how | to |
|---|---|---|---|
| claimed | its worker | no free slot, or the seconds of today's records are used up | answered with QuotaExceeded |
| claimed | its worker | creates the first free slot of each user, if absent | admitted |
| claimed, of several people of whom one has no slot left | its worker | deletes the slots of the others | answered |
| admitted, its worker died | the next worker | finds the request's slots of today, or of a day beside | admitted |

Of two requests that take a user's last slot at once exactly one gets it, and however many workers die over a request,
it has one slot. Seconds are known afterwards only: a request that begins below the limit runs to its end, and so do
those that run beside it.
"""

import math
import time
from collections.abc import Callable, Iterable
from itertools import islice

from shared.buckets.base import Bucket, ObjectInfo
from shared.contract import keys
from shared.contract.hooks import Attempt, AttemptHook
from shared.contract.manifests import decode, encode
from shared.contract.usage import day_of, parse_record
from shared.errors import QuotaExceeded
from shared.settings import QuotaSettings

DAY = 86_400.0  # seconds
LARGEST = 1024  # bytes of a slot


class Quota(AttemptHook):
    """Admits the requests of one bucket.

    Args:
        wall: the clock that says which day it is; seconds since 1970.
    """

    def __init__(self, bucket: Bucket, settings: QuotaSettings, wall: Callable[[], float] = time.time) -> None:
        self._bucket, self._settings, self._wall = bucket, settings, wall

    def admit(self, attempt: Attempt) -> None:
        """Take a slot for each user of the request; raises QuotaExceeded, with none taken, if one has no more."""
        taken: list[str] = []
        try:
            for user_id in attempt.users:
                if attempt.number == 1:
                    taken += self._take(attempt, user_id)
                elif self._get_limit(attempt) is not None:  # else the first attempt began below the limit of seconds
                    taken += self._find_slots(attempt, user_id) or self._take(attempt, user_id)
        except QuotaExceeded:
            for key in taken:
                self._bucket.delete(key)
            raise

    def _take(self, attempt: Attempt, user_id: str) -> list[str]:
        """Return the key of the slot that was taken, if requests are limited."""
        now = self._wall()
        day, limit = day_of(now), self._get_limit(attempt)
        there = list(self._bucket.list(keys.usage(day, user_id)))
        self._require_seconds(there, user_id, now)
        if limit is None:
            return []
        present = {info.key for info in there}
        slot = encode({"function": attempt.function, "request_id": attempt.request_id})
        for number in range(1, limit + 1):
            key = keys.quota_slot(day, user_id, attempt.function, number)
            if key not in present and self._bucket.put_if_absent(key, slot):
                return [key]
        raise _exceeded(f"{user_id} has sent {limit} requests to {attempt.function} today, and may send no more", now)

    def _require_seconds(self, there: Iterable[ObjectInfo], user_id: str, now: float) -> None:
        limit = self._settings.device_seconds
        if limit is None:
            return
        used = sum(one.device_seconds for info in there if (one := parse_record(info.key)) is not None)
        if used >= limit:
            raise _exceeded(f"{user_id} has used {used:.0f} of {limit:.0f} seconds of a device today", now)

    def _get_limit(self, attempt: Attempt) -> int | None:
        """Return how many requests to the attempt's function a user has; None for one that has no quota."""
        limit: int | None = getattr(self._settings, attempt.function, None)
        return limit

    def _find_slots(self, attempt: Attempt, user_id: str) -> list[str]:
        """Return the key of the slot that an earlier attempt has taken for the user; it may have been yesterday."""
        now = self._wall()
        found = (
            info.key
            for moment in (now, now - DAY, now + DAY)  # the last where that worker's clock was ahead of ours
            for info in self._bucket.list(keys.quota_slots(day_of(moment), user_id, attempt.function))
            if self._is_slot_of(attempt, info.key)
        )
        return list(islice(found, 1))

    def _is_slot_of(self, attempt: Attempt, key: str) -> bool:
        text = self._bucket.find(key, LARGEST)
        try:
            return text is not None and decode(text).get("request_id") == attempt.request_id
        except ValueError:
            return False  # somebody else's object


def _exceeded(why: str, now: float) -> QuotaExceeded:
    left = math.ceil(DAY - now % DAY)
    return QuotaExceeded(f"{why}; the day ends in {left} s").retry_in(left)
