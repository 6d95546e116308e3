"""What an operator has to know beside the requests: which workers live, and what cannot be served or is never read."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from pydantic import BaseModel, Field, ValidationError

from shared.buckets import Bucket, BucketError, ObjectInfo
from shared.contract import keys
from shared.contract.function import NAMES
from shared.contract.visible import visible
from shared.lifecycle.pointers import LATEST
from shared.lifecycle.unread import Stray, find_strays, find_unlisted

MISSED_BEATS = 3.0  # signs of life without which a worker counts as gone
MOST_WORKERS = 1000
MOST_TROUBLES = 50  # of each kind
LARGEST_RECORD = 64 * 1024  # bytes
NO_RECORD = "this is no record of a failing file, so photog has not written it; remove it"


class _Record(BaseModel):
    """What a worker writes of a key that fails; anybody may have overwritten it."""

    key: str
    error: str
    tries: int = Field(ge=0, lt=10**9, strict=True)
    since: float = Field(ge=0, lt=LATEST, strict=True)


@dataclass(frozen=True)
class Present:
    """A worker that has given a sign of life lately.

    Attributes:
        owner: its name in claims.
        seen: when, in seconds since 1970 by the store's clock.
    """

    function: str
    owner: str
    seen: float


@dataclass(frozen=True)
class Trouble:
    """An object that is not served, and why.

    Attributes:
        tries: how often a worker has tried it; 0 for an object that no worker reads.
        since: when the first try failed, in seconds since 1970; 0 if unknown.
    """

    key: str
    why: str
    tries: int = 0
    since: float = 0.0


def list_present(bucket: Bucket, beat_seconds: float, now: float | None = None) -> list[Present]:
    """Return the workers that live, by name; those that died show nothing for long.

    Args:
        beat_seconds: the setting `health.presence_seconds`.
        now: in seconds since 1970; None is the present.
    """
    oldest = (time.time() if now is None else now) - MISSED_BEATS * beat_seconds
    found = []
    for name in NAMES:
        for info in islice(bucket.list(keys.workers(name)), MOST_WORKERS):
            owner = info.key.removeprefix(keys.workers(name)).removesuffix(".json")
            if info.modified >= oldest:
                found.append(Present(name, visible(owner), info.modified))
    return found


def list_failing(bucket: Bucket) -> list[Trouble]:
    """Return the keys that workers cannot serve at present."""
    return [
        trouble
        for name in NAMES
        for info in islice(bucket.list(keys.failing(name)), MOST_TROUBLES)
        if (trouble := _read_failing(bucket, info.key)) is not None
    ]


def list_unread(bucket: Bucket, listed: Iterable[ObjectInfo]) -> list[Trouble]:
    """Return the objects that nobody reads although they lie below `requests/` or close to it.

    Args:
        listed: those in functions' folders that are no manifests.
    """
    found = {one.key: _describe(one) for one in islice(find_strays(listed), MOST_TROUBLES)}
    for name in NAMES:
        found |= {one.key: _describe(one) for one in islice(_find_unlisted(bucket, name), MOST_TROUBLES)}
    return list(found.values())


def _find_unlisted(bucket: Bucket, function: str) -> Iterator[Stray]:
    try:
        yield from find_unlisted(bucket, function)
    except BucketError:
        return  # a folder that cannot be read, which the listing of requests tells


def _describe(stray: Stray) -> Trouble:
    return Trouble(visible(stray.key), visible(stray.why))


def _read_failing(bucket: Bucket, place: str) -> Trouble | None:
    """Return what a worker's record says; None if it is gone, and that it is none of photog's if so."""
    try:
        text = bucket.find(place, LARGEST_RECORD)
        if text is None:
            return None
        told = _Record.model_validate_json(text)
    except ValidationError:
        return Trouble(place, NO_RECORD)
    except BucketError as error:
        return Trouble(place, visible(str(error)))
    return Trouble(visible(told.key), visible(told.error), told.tries, told.since)
