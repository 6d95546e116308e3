"""Objects below `requests/` that no worker reads though somebody may mean them to be read, each with the reason.

| object | |
|---|---|
| `requests/check/a.json.txt` | no manifest, by its name; it is not guessed what else it may be |
| `requests/check/.a.json` | hidden, as what programs write before they rename it |
| `requests/Check/a.json`, `requests/a.json` | in no function's folder |
| `/requests/check/a.json`, `requests//check/a.json`, `REQUESTS\\check\\a.json` | another spelling of the folder |
| `requests/check/./a.json`, with a backslash or control characters | no object of ours can have such a key |
| a link, or what lies in a linked folder; a FIFO | in a folder on a disk: only files are objects there |

What desktops leave everywhere, hidden files that are no `.json` and empty objects are nobody's requests, and nobody is
told of them. A worker says of each stray once that it is there, when it has lain for a while; `photog status` names
all.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from shared.buckets import Bucket, BucketError, FolderBucket, ObjectInfo, UnreadableFolder
from shared.buckets.base import is_usable_key
from shared.buckets.misnamed import NO_KEY, is_misspelled, names
from shared.contract import keys
from shared.contract.function import NAMES

log = logging.getLogger(__name__)

SUFFIX = ".json"
DESKTOP = {"thumbs.db", "desktop.ini"}
MOST_ELSEWHERE = 100  # strays outside of all functions' folders that are looked for
MOST_TOLD = 20  # that one worker logs
MOST_WATCHED = 1000  # that it keeps in mind until they have lain for long enough
LOOK_SECONDS = 60.0  # between two looks for what no listing of the function's folder gives
LOCAL_SECONDS = 5.0  # the same on a disk, where no call of a store is paid for
LOOK_SHARE = 0.02  # of the time that goes into such looks, where they take long


@dataclass(frozen=True)
class Stray:
    """An object that is not read, or a folder of such, whose key then ends with /."""

    key: str
    why: str


def why_unread(key: str) -> str | None:
    """Why no worker reads the object; None where one does, or nobody would expect it."""
    if is_misspelled(key, keys.REQUESTS):
        return None if _is_nobodys(names(key)[-1]) else _misspelled(key)
    if not key.startswith(keys.REQUESTS) or _is_nobodys(key.rpartition("/")[2]):
        return None
    return None if any(keys.is_request(key, function) for function in NAMES) else _unread(key)


def _unread(key: str) -> str:
    """The same of what lies below `requests/` and is nobody's."""
    folder, slash, _ = key.removeprefix(keys.REQUESTS).partition("/")
    name = key.rpartition("/")[2]
    if not is_usable_key(key):
        return f"{NO_KEY}; put it under {_plain(key)}"
    if not slash:
        return f"it lies in no function's folder; put it into {_folders()}"
    if folder not in NAMES:
        return _no_function(folder)
    if name.startswith("."):
        return "its name begins with a dot, as that of hidden and of half-written files; rename it"
    plain = name[: name.lower().find(SUFFIX) + len(SUFFIX)] if SUFFIX in name.lower() else f"{name}{SUFFIX}"
    return f"its name does not end with {SUFFIX}; rename it to {plain} if it is a request"


def find_strays(listed: Iterable[ObjectInfo]) -> Iterator[Stray]:
    """The strays among objects."""
    for info in listed:
        if info.size and (why := why_unread(info.key)) is not None:
            yield Stray(info.key, why)


def find_unlisted(bucket: Bucket, function: str) -> Iterator[Stray]:
    """The strays that may be this function's and that no listing of its folder gives.

    Of those in no function's folder the first ones; that takes one call of the store for each folder.
    """
    yield from (one for one in _elsewhere(bucket) if _may_be_of(one.key, function))
    yield from _passed_over(bucket, keys.requests(function), deep=True)


class StrayLog:
    """Says of strays that they are there: once of each, and no more than `MOST_TOLD` in all."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, stray: Stray) -> None:
        """Into the log."""
        if stray.key in self._told or len(self._told) > MOST_TOLD:
            return
        self._told.add(stray.key)
        if len(self._told) <= MOST_TOLD:
            log.warning("%s is not read: %s", stray.key, stray.why)
        else:
            log.warning("more below %s is not read; `photog status` says what and why", keys.REQUESTS)

    def tell_of(self, key: str) -> None:
        """The same of an object that an event speaks of, if it is a stray."""
        if (why := why_unread(key)) is not None:
            self.tell(Stray(key, why))


class Strays:
    """The strays that concern one function, as its worker sees and tells of them.

    Args:
        settle_seconds: how long one must have lain there; programs write under other names before they rename.
    """

    def __init__(
        self, bucket: Bucket, function: str, settle_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bucket, self._function, self._settle_seconds, self._clock = bucket, function, settle_seconds, clock
        self._telling = StrayLog()
        self._since: dict[str, float] = {}
        self._unlisted: list[Stray] = []
        self._every = LOCAL_SECONDS if isinstance(bucket, FolderBucket) else LOOK_SECONDS
        self._due = float("-inf")

    def look(self, listed: Iterable[ObjectInfo]) -> None:
        """See what is there, and tell of what has been there for a while; all of the function's folder is given."""
        now = self._clock()
        if now >= self._due:
            self._look_further()
        found = [*islice(find_strays(listed), MOST_WATCHED), *self._unlisted]
        self._since = {one.key: self._since.get(one.key, now) for one in found}
        for one in found:
            if now - self._since[one.key] >= self._settle_seconds:
                self._telling.tell(one)

    def _look_further(self) -> None:
        begun = time.monotonic()
        try:
            self._unlisted = list(islice(find_unlisted(self._bucket, self._function), MOST_WATCHED))
        except (BucketError, OSError) as error:
            log.warning("what is not read below %s is not known: %s", keys.REQUESTS, error)
        self._due = self._clock() + max(self._every, (time.monotonic() - begun) / LOOK_SHARE)


def _elsewhere(bucket: Bucket) -> Iterator[Stray]:
    """What lies below `requests/` in no function's folder, the first of it."""
    with suppress(UnreadableFolder):  # which the listings of the functions' folders tell of
        yield from islice(_listed_elsewhere(bucket), MOST_ELSEWHERE)
    yield from islice(_passed_over_elsewhere(bucket), MOST_ELSEWHERE)
    with suppress(UnreadableFolder):
        misspelled = (
            Stray(key, why) for key in bucket.misspelled(keys.REQUESTS) if (why := why_unread(key)) is not None
        )
        yield from islice(misspelled, MOST_ELSEWHERE)


def _listed_elsewhere(bucket: Bucket) -> Iterator[Stray]:
    after: str | None = keys.REQUESTS
    while after is not None:
        begin, after = after, None
        for info in bucket.list(keys.REQUESTS, begin):
            folder, slash, _ = info.key.removeprefix(keys.REQUESTS).partition("/")
            if slash and not folder:
                if why := _misspelled(info.key):
                    yield Stray(info.key, why)
            elif slash:
                after = f"{keys.REQUESTS}{folder}0"  # which sorts behind everything in that folder
                if folder not in NAMES:
                    yield Stray(f"{keys.REQUESTS}{folder}/", _no_function(folder))
                break
            else:
                yield from find_strays([info])


def _passed_over_elsewhere(bucket: Bucket) -> Iterator[Stray]:
    """Links directly in `requests/`, and keys of a store that lie in no function's folder, since they name none."""
    deep = not isinstance(bucket, FolderBucket)
    functions = tuple(map(keys.requests, NAMES))
    yield from (one for one in _passed_over(bucket, keys.REQUESTS, deep) if not one.key.startswith(functions))


def _passed_over(bucket: Bucket, folder: str, deep: bool) -> Iterator[Stray]:
    for key, why in bucket.passed_over(folder, deep):
        own = (
            key.removesuffix("/").removeprefix(keys.REQUESTS) in NAMES
        )  # a link to a folder of the bucket is followed there
        if not own and not key.rpartition("/")[2].startswith("."):
            yield Stray(key, f"{why}; put it under {_plain(key)}" if why == NO_KEY else why)


def _is_nobodys(name: str) -> bool:
    hidden = name.startswith(".") and (name.startswith("._") or not name.lower().endswith(SUFFIX))
    return not name or hidden or name.lower() in DESKTOP


def _may_be_of(key: str, function: str) -> bool:
    """Whether the function's worker should tell of it: not where another's folder is meant."""
    meant = names(key)[1].lower().removesuffix(SUFFIX) if len(names(key)) > 1 else ""
    return meant == function or meant not in NAMES


def _misspelled(key: str) -> str:
    return (
        f"it does not begin with {keys.REQUESTS} and a function's name as workers read them; put it under {_plain(key)}"
    )


def _plain(key: str) -> str:
    """What to call it instead."""
    _, *below = names(key) or [""]
    function = [name.lower() if name.lower() in NAMES else name for name in below[:1]]
    return keys.REQUESTS + "/".join([*function, *below[1:]])


def _no_function(folder: str) -> str:
    if folder.lower() in NAMES:
        return f"the function's folder is {keys.REQUESTS}{folder.lower()}/, in small letters"
    return f"there is no function of that name; what is asked for lies in {_folders()}"


def _folders() -> str:
    *others, last = (f"{keys.REQUESTS}{function}/" for function in NAMES)
    return f"{', '.join(others)} or {last}"
