"""Strays: objects below `requests/` that no worker reads although somebody may expect it, each with the reason.

| object | reason |
|---|---|
| `requests/check/a.json.txt` | not a manifest, by its name; no guess is made |
| `requests/check/.a.json` | hidden, like files that programs write before they rename them |
| `requests/Check/a.json`, `requests/a.json` | not in a function's folder |
| `/requests/check/a.json`, `requests//check/a.json`, `REQUESTS\\check\\a.json` | another spelling of the folder |
| `requests/check/./a.json`, with a backslash or control characters | no object of photog's can have such a key |
| a link, a file in a linked folder, a FIFO | on a disk, only regular files are objects |

Files that desktops leave everywhere, hidden files that are not `.json` and empty objects are not requests, and are not
reported. A worker logs each stray once, after it has been there for a while; `photog status` lists all.
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
MOST_ELSEWHERE = 100  # strays outside all functions' folders that are searched for
MOST_TOLD = 20  # strays that one worker logs
MOST_WATCHED = 1000  # strays that it remembers until they are old enough to log
LOOK_SECONDS = 60.0  # between two searches for strays that no listing of the function's folder shows
LOCAL_SECONDS = 5.0  # the same on a disk, where store calls cost nothing
LOOK_SHARE = 0.02  # of the time is spent on such searches at most, if they are slow


@dataclass(frozen=True)
class Stray:
    """An object that is not read, or a folder of such objects; a folder's key ends with /."""

    key: str
    why: str


def why_unread(key: str) -> str | None:
    """Return why no worker reads the object; None if one does, or if nobody would expect it."""
    if is_misspelled(key, keys.REQUESTS):
        return None if _is_ignored(names(key)[-1]) else _explain_misspelled(key)
    if not key.startswith(keys.REQUESTS) or _is_ignored(key.rpartition("/")[2]):
        return None
    return None if any(keys.is_request(key, function) for function in NAMES) else _explain_unread(key)


def _explain_unread(key: str) -> str:
    """Return why no worker reads a key below `requests/` that is not a function's manifest."""
    folder, slash, _ = key.removeprefix(keys.REQUESTS).partition("/")
    name = key.rpartition("/")[2]
    if not is_usable_key(key):
        return f"{NO_KEY}; put it under {_suggest_key(key)}"
    if not slash:
        return f"it is in no function's folder; put it into {_name_folders()}"
    if folder not in NAMES:
        return _explain_folder(folder)
    if name.startswith("."):
        return "its name begins with a dot, like those of hidden and half-written files; rename it"
    plain = name[: name.lower().find(SUFFIX) + len(SUFFIX)] if SUFFIX in name.lower() else f"{name}{SUFFIX}"
    return f"its name does not end with {SUFFIX}; rename it to {plain} if it is a request"


def find_strays(listed: Iterable[ObjectInfo]) -> Iterator[Stray]:
    """Yield the strays among listed objects."""
    for info in listed:
        if info.size and (why := why_unread(info.key)) is not None:
            yield Stray(info.key, why)


def find_unlisted(bucket: Bucket, function: str) -> Iterator[Stray]:
    """Yield the strays that may be this function's and that no listing of its folder shows.

    Of those outside all functions' folders only the first are given; finding them takes one store call per folder.
    """
    yield from (one for one in _find_elsewhere(bucket) if _may_be_of(one.key, function))
    yield from _find_unlisted_below(bucket, keys.requests(function), deep=True)


class StrayLog:
    """Logs strays: each once, and at most `MOST_TOLD` in all."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, stray: Stray) -> None:
        """Log the stray, unless it was logged before."""
        if stray.key in self._told or len(self._told) > MOST_TOLD:
            return
        self._told.add(stray.key)
        if len(self._told) <= MOST_TOLD:
            log.warning("%s is not read: %s", stray.key, stray.why)
        else:
            log.warning("more objects below %s are not read; `photog status` lists them with reasons", keys.REQUESTS)

    def tell_of(self, key: str) -> None:
        """Log the object that an event names, if it is a stray."""
        if (why := why_unread(key)) is not None:
            self.tell(Stray(key, why))


class Strays:
    """The strays that concern one function, found and logged by its worker.

    Args:
        settle_seconds: how long one must have been there; programs write under other names before they rename.
    """

    def __init__(
        self, bucket: Bucket, function: str, settle_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bucket, self._function, self._settle_seconds, self._clock = bucket, function, settle_seconds, clock
        self._stray_log = StrayLog()
        self._since: dict[str, float] = {}
        self._unlisted: list[Stray] = []
        self._every = LOCAL_SECONDS if isinstance(bucket, FolderBucket) else LOOK_SECONDS
        self._due = float("-inf")

    def look(self, listed: Iterable[ObjectInfo]) -> None:
        """Find strays, and log those that have been there for a while.

        Args:
            listed: all objects in the function's folder.
        """
        now = self._clock()
        if now >= self._due:
            self._look_further()
        found = [*islice(find_strays(listed), MOST_WATCHED), *self._unlisted]
        self._since = {one.key: self._since.get(one.key, now) for one in found}
        for one in found:
            if now - self._since[one.key] >= self._settle_seconds:
                self._stray_log.tell(one)

    def _look_further(self) -> None:
        begun = time.monotonic()
        try:
            self._unlisted = list(islice(find_unlisted(self._bucket, self._function), MOST_WATCHED))
        except (BucketError, OSError) as error:
            log.warning("the search for unread objects below %s failed: %s", keys.REQUESTS, error)
        self._due = self._clock() + max(self._every, (time.monotonic() - begun) / LOOK_SHARE)


def _find_elsewhere(bucket: Bucket) -> Iterator[Stray]:
    """Yield the first objects below `requests/` that are in no function's folder."""
    with suppress(UnreadableFolder):  # reported by the listings of the functions' folders
        yield from islice(_list_elsewhere(bucket), MOST_ELSEWHERE)
    yield from islice(_find_unlisted_elsewhere(bucket), MOST_ELSEWHERE)
    with suppress(UnreadableFolder):
        misspelled = (
            Stray(key, why) for key in bucket.find_misspelled(keys.REQUESTS) if (why := why_unread(key)) is not None
        )
        yield from islice(misspelled, MOST_ELSEWHERE)


def _list_elsewhere(bucket: Bucket) -> Iterator[Stray]:
    after: str | None = keys.REQUESTS
    while after is not None:
        begin, after = after, None
        for info in bucket.list(keys.REQUESTS, begin):
            folder, slash, _ = info.key.removeprefix(keys.REQUESTS).partition("/")
            if slash and not folder:
                if why := _explain_misspelled(info.key):
                    yield Stray(info.key, why)
            elif slash:
                after = f"{keys.REQUESTS}{folder}0"  # sorts after everything in that folder
                if folder not in NAMES:
                    yield Stray(f"{keys.REQUESTS}{folder}/", _explain_folder(folder))
                break
            else:
                yield from find_strays([info])


def _find_unlisted_elsewhere(bucket: Bucket) -> Iterator[Stray]:
    """Yield links directly in `requests/`, and keys that are in no function's folder because no file can have them."""
    deep = not isinstance(bucket, FolderBucket)
    functions = tuple(map(keys.requests, NAMES))
    yield from (one for one in _find_unlisted_below(bucket, keys.REQUESTS, deep) if not one.key.startswith(functions))


def _find_unlisted_below(bucket: Bucket, folder: str, deep: bool) -> Iterator[Stray]:
    for key, why in bucket.find_unlisted(folder, deep):
        # a link to a folder of the bucket is followed there
        own = key.removesuffix("/").removeprefix(keys.REQUESTS) in NAMES
        if not own and not key.rpartition("/")[2].startswith("."):
            yield Stray(key, f"{why}; put it under {_suggest_key(key)}" if why == NO_KEY else why)


def _is_ignored(name: str) -> bool:
    hidden = name.startswith(".") and (name.startswith("._") or not name.lower().endswith(SUFFIX))
    return not name or hidden or name.lower() in DESKTOP


def _may_be_of(key: str, function: str) -> bool:
    """Return whether the function's worker should log it: not if another function's folder is meant."""
    meant = names(key)[1].lower().removesuffix(SUFFIX) if len(names(key)) > 1 else ""
    return meant == function or meant not in NAMES


def _explain_misspelled(key: str) -> str:
    return f"it does not begin with exactly {keys.REQUESTS} and a function's name; put it under {_suggest_key(key)}"


def _suggest_key(key: str) -> str:
    """Return the key to use instead."""
    _, *below = names(key) or [""]
    function = [name.lower() if name.lower() in NAMES else name for name in below[:1]]
    return keys.REQUESTS + "/".join([*function, *below[1:]])


def _explain_folder(folder: str) -> str:
    if folder.lower() in NAMES:
        return f"the function's folder is {keys.REQUESTS}{folder.lower()}/, in lower case"
    return f"there is no function with that name; put requests into {_name_folders()}"


def _name_folders() -> str:
    *others, last = (f"{keys.REQUESTS}{function}/" for function in NAMES)
    return f"{', '.join(others)} or {last}"
