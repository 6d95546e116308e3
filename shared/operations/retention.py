"""Retention: what a bucket has kept for longer than it is to be kept is removed, in an order that loses no request.

| kind | what | its age is counted from |
|---|---|---|
| `photos` | objects below `photos/` and `users/<user_id>/photos/` | their upload |
| `requests` | manifests that are answered | the answer |
| `results` | answers with their artifacts, claims and conflicts, after their manifests | the answer |
| `notifications` | completion events | their writing |
| `usage` | records of what requests used, and quotas' slots | their writing |
| `users` | everything of a person, as by `photog forget` | the newest of their model and of requests that name them |

Never removed: what a user's model names, and the whole request that made it; what an unanswered request names, and the
request; people whom one names; a request whose put waits in a queue of `photog serve`, whose completion event is in the
outbox, or that has a progress object beside its answer: its worker died, and the next one writes the user's model.
Pictures elsewhere in the bucket are the application's.

A manifest stays as long as a photo in the bucket that it names, since only it tells erasure whose photo that is. An
answer stays a moment longer than its manifest, which would be run again without it, by a worker too that has just read
it. An event that comes after its manifest is gone runs nothing.

If a part of the bucket cannot be read, it is not known what that part needs: then nothing is removed.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import partial

from shared.buckets.base import Bucket, BucketError, ObjectInfo, StoreUnavailable
from shared.contract import keys
from shared.contract.function import NAMES
from shared.contract.manifests import invalid_id, is_invalid_id
from shared.operations import mentions
from shared.operations.mentions import Mention, Reader
from shared.operations.object_names import Places

READ_SECONDS = 2.0  # at most between a worker's reading of a manifest and its look for the answer
KINDS = ("photos", "requests", "results", "notifications", "usage", "users")
CAME_SINCE = "a request that has just come names it"
Identity = tuple[str, str]  # a function and a request_id


@dataclass
class Expired:
    """What may be removed.

    Attributes:
        objects: kind by key, in the order in which they may be removed.
        needs: by key, the keys that have to be gone before.
        users: ids of the people to forget.
        faults: keys or prefixes that could not be read, with the reason; then nothing has expired.
    """

    objects: dict[str, str] = field(default_factory=dict)
    needs: dict[str, Set[str]] = field(default_factory=dict)
    users: list[str] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)


class Retention:
    """Finds and removes what has expired in one bucket."""

    def __init__(
        self,
        bucket: Bucket,
        named: Mapping[str, str],
        wall: Callable[[], float] = time.time,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """Search a bucket.

        Args:
            named: addresses of the buckets that references may name.
            wall: the clock; seconds since 1970, like the store's.
            wait: sleeps for some seconds.
        """
        self._bucket, self._wall, self._wait = bucket, wall, wait
        self._reader, self._places = Reader(bucket), Places(bucket, named)
        self._searched: Set[str] = frozenset()  # keys of the requests that the last search has seen

    def find(self, seconds: Mapping[str, float]) -> Expired:
        """Return what has expired.

        Args:
            seconds: how long each kind is kept; a kind that is missing is kept for ever.
        """
        self._reader.begin()
        content = self._read_content()
        found = Expired()
        if "photos" in seconds:
            found.objects |= dict.fromkeys(self._old_photos(content, seconds["photos"]), "photos")
        if "notifications" in seconds:
            events = self._reader.list_objects(keys.NOTIFICATIONS)
            found.objects |= dict.fromkeys(self._list_old(events, seconds["notifications"]), "notifications")
        if "usage" in seconds:
            used = self._reader.list_objects(keys.USAGE)
            found.objects |= dict.fromkeys(self._list_old(used, seconds["usage"]), "usage")
        self._add_requests(content, seconds, found)
        if "users" in seconds:
            old = {user for user, newest in content.newest.items() if self._age(newest) >= seconds["users"]}
            found.users = sorted(old - content.list_busy_users())
        return Expired(faults=dict(self._reader.faults)) if self._reader.faults else found

    def remove(self, expired: Expired) -> dict[str, str | None]:
        """Remove the objects; return every key with the reason why it is still there, or None if it is gone.

        Raises StoreUnavailable; the rest is found again by the next search.
        """
        named = self._named_since()
        outcome: dict[str, str | None] = {key: CAME_SINCE for key in expired.objects if key in named}
        before = ""
        for key, kind in expired.objects.items():
            if key in outcome:
                continue
            if (before, kind) == ("requests", "results"):
                self._wait(READ_SECONDS)
            before = kind
            left = sorted(one for one in expired.needs.get(key, ()) if outcome.get(one) is not None)
            outcome[key] = f"{left[0]} is still there" if left else self._delete(key)
        if any(kind == "requests" for kind in expired.objects.values()):
            for info in self._reader.list_objects(keys.INDEX):  # else the same manifest again would count as settled
                self._delete(info.key)
        return outcome

    def _named_since(self) -> Set[str]:
        """Return the pictures that are named by requests which have come since the search, as long as that took."""
        named = set[str]()
        for one in (*self._read_puts(), *self._read_manifests()):
            if one.key not in self._searched:
                named |= one.pictures_of(*one.photos) | one.templates
        return named

    def _read_manifests(self) -> list[Mention]:
        ours = (
            one for one in self._reader.list_objects(keys.REQUESTS) if any(keys.is_request(one.key, f) for f in NAMES)
        )
        return list(self._reader.read(ours, partial(_read_request, self._places)))

    def _read_puts(self) -> list[Mention]:
        puts = self._reader.list_objects(keys.QUEUE)
        return list(self._reader.read(puts, partial(mentions.read_put, self._places)))

    def _delete(self, key: str) -> str | None:
        try:
            self._bucket.delete(key)
        except StoreUnavailable:
            raise
        except BucketError as error:
            return str(error)
        return None

    def _read_content(self) -> "_Content":
        """Read what tells apart what is needed and what is not."""
        puts = self._read_puts()  # first, so that one which becomes a manifest meanwhile is in one place at least
        listed = {info.key: info for info in self._reader.list_objects(keys.REQUESTS)}
        ours = (info for info in listed.values() if any(keys.is_request(info.key, one) for one in NAMES))
        requests = list(self._reader.read(ours, partial(_read_request, self._places)))
        self._searched = {one.key for one in (*requests, *puts)}
        pointers = {info.key: info for info in self._reader.list_objects(keys.USERS)}
        models = list(self._reader.read(_list_records(pointers.values()), mentions.read_model))
        results = [info for function in NAMES for info in self._reader.list_objects(keys.results(function))]
        newest: dict[str, float] = {}
        for key, info in pointers.items():
            user = key.split("/")[1]
            newest[user] = max(newest.get(user, 0.0), info.modified)
        for one in requests:
            for user in one.users & newest.keys():
                newest[user] = max(newest[user], listed[one.key].modified)
        left = (info for root in (keys.OUTBOX, keys.PROGRESS) for info in self._reader.list_objects(root))
        undelivered = {_identity(info.key) for info in left if info.key.count("/") == 2}
        return _Content(
            requests=requests,
            answers={_identity(info.key): info for info in results if info.key == keys.result(*_identity(info.key))},
            results=results,
            waiting=puts,
            modeled=frozenset().union(*(one.names for one in models)),
            needed={identity for one in models for identity in mentions.list_requests(one)} | undelivered,
            undelivered=undelivered,
            newest=newest,
        )

    def _old_photos(self, content: "_Content", seconds: float) -> list[str]:
        """Return the keys of photos that have expired and that nothing needs."""
        pinned = set(content.modeled)
        for one in content.list_unanswered():
            pinned |= one.pictures_of(*one.photos) | one.templates
        users = (info for info in self._reader.list_objects(keys.USERS) if keys.is_user_photo(info.key))
        old = self._list_old([*self._reader.list_objects(keys.PHOTOS), *users], seconds)
        return [key for key in old if key not in pinned]

    def _add_requests(self, content: "_Content", seconds: Mapping[str, float], found: Expired) -> None:
        """Add manifests, then what is stored under their ids."""
        kept = {(one.function, one.request_id) for one in content.waiting} | content.needed
        manifests: dict[Identity, list[Mention]] = {}
        for one in content.requests:
            manifests.setdefault((one.function, one.request_id), []).append(one)
        photos = {key for key, kind in found.objects.items() if kind == "photos"}
        stored = content.group_results()
        claims: list[str] = []
        answers: list[str] = []
        shortest = min((seconds[kind] for kind in ("requests", "results") if kind in seconds), default=None)
        for identity, answer in content.answers.items():
            age = self._age(answer.modified)
            if shortest is None or age < shortest or identity in kept:
                continue
            mine = manifests.get(identity, [])
            if not mine and is_invalid_id(identity[1]):
                continue  # its manifest may be there, and too large to be read here
            if any(self._names_a_photo(one, photos) for one in mine):
                continue
            for one in mine:
                found.objects[one.key] = "requests"
                found.needs[one.key] = one.pictures_of(*one.photos) & photos
            if age >= seconds.get("results", float("inf")):
                before = {one.key for one in mine}
                rest = [key for key in stored[identity] if key != answer.key]
                answers += [*rest, answer.key]
                found.needs |= dict.fromkeys(rest, before) | {answer.key: before | set(rest)}
                for info in self._reader.list_objects(keys.claims(*identity)):
                    claims.append(info.key)
                    found.needs[info.key] = {answer.key}
        found.objects |= dict.fromkeys([*answers, *claims], "results")

    def _names_a_photo(self, one: Mention, going: Set[str]) -> bool:
        """Return whether a manifest names a photo that stays."""
        pictures = one.pictures_of(*one.photos) - going
        return any(self._reader.exists(key) for key in pictures)

    def _list_old(self, infos: Iterable[ObjectInfo], seconds: float) -> list[str]:
        return [info.key for info in infos if self._age(info.modified) >= seconds]

    def _age(self, modified: float) -> float:
        return self._wall() - modified


@dataclass(frozen=True)
class _Content:
    """What a bucket holds, as far as retention has to know it.

    Attributes:
        answers: the answer of each request that has one.
        results: all objects below `results/`.
        waiting: requests in queues of `photog serve`.
        modeled: everything that users' models name.
        needed: requests that made these, and those whose answer is not told to all.
        undelivered: the latter alone.
        newest: by user with a model, when it or a request that names them was written.
    """

    requests: list[Mention]
    answers: dict[Identity, ObjectInfo]
    results: list[ObjectInfo]
    waiting: list[Mention]
    modeled: frozenset[str]
    needed: set[Identity]
    undelivered: set[Identity]
    newest: dict[str, float]

    def list_unanswered(self) -> list[Mention]:
        """Return the requests without an answer."""
        return [one for one in (*self.requests, *self.waiting) if (one.function, one.request_id) not in self.answers]

    def list_busy_users(self) -> set[str]:
        """Return the people whose requests, or requests with their photos, are still to be answered or told of."""
        told = [one for one in self.requests if (one.function, one.request_id) in self.undelivered]
        busy = set[str]()
        for one in (*self.list_unanswered(), *self.waiting, *told):
            pictures = one.pictures_of(*one.photos) | one.templates
            busy |= one.users | {key.split("/")[1] for key in pictures if key.startswith(keys.USERS)}
        return busy

    def group_results(self) -> dict[Identity, list[str]]:
        """Return the keys of what is stored under each id below `results/`."""
        found: dict[Identity, list[str]] = {}
        for info in self.results:
            found.setdefault(_identity(info.key), []).append(info.key)
        return found


def _read_request(places: Places, key: str, text: bytes) -> Mention:
    """Return what a manifest names; one that nobody understands names nothing, and is answered all the same."""
    try:
        return mentions.read_manifest(places, key, text)
    except (ValueError, RecursionError):
        sha256 = hashlib.sha256(text).hexdigest()
        function = keys.without_empty_names(key).split("/")[1]
        nobody: frozenset[str] = frozenset()
        return Mention(key, function, invalid_id(sha256), (sha256,), nobody, {}, nobody, nobody)


def _list_records(infos: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
    """Yield the objects below `users/` that are not photos."""
    return (info for info in infos if not keys.is_user_photo(info.key))


def _identity(key: str) -> Identity:
    """Return the request to which an object below `results/`, `outbox/` or `progress/` belongs."""
    _, function, name = key.split("/")[:3]
    return function, name if key.startswith(keys.RESULTS) else name.removesuffix(".json")
