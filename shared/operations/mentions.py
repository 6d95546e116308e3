"""The people that a bucket's objects name, read without keeping the bodies, which may contain pictures.

| object | when it is read |
|---|---|
| understood | what it names is remembered until the object changes |
| not a manifest or not JSON, or too large to be either | searched for the person's quoted id, escaped or not |
| not readable, or in an unreadable folder | a fault, which is reported to the caller |
"""

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from shared.buckets.base import (
    Bucket,
    BucketError,
    InvalidKey,
    MissingObject,
    ObjectInfo,
    StoreUnavailable,
    UnreadableFolder,
)
from shared.buckets.misnamed import NO_KEY
from shared.contract import keys
from shared.contract.manifests import REQUEST_ID, Json, invalid_id, parse
from shared.errors import RequestError
from shared.lifecycle.manifest_reader import require_key
from shared.operations.object_names import Places
from shared.operations.quoted_strings import LONGEST_ESCAPE, ids, quotes, strings

OURS = tuple(root for root in keys.ROOTS if root != keys.PHOTOS)  # never the key of a photo
READERS = 16  # objects read concurrently; each is one round trip to a store
CHUNK = 32  # objects that a reader takes at a time
LARGEST = (20 << 20) + 4096  # bytes of a manifest or an answer, and of the line that a queue adds
LOOSE = 1 << 20  # bytes of a manifest that is not a valid request but is still parsed
TRAINED = re.compile(keys.results("train") + r"([^/]+)/a[0-9]+/.")

T = TypeVar("T")


@dataclass(frozen=True)
class Mention:
    """What a manifest names.

    Attributes:
        request_id: the id under which it is answered, even if it cannot be served.
        spellings: hashes of the body that claims may have, see `Manifest`.
        users: user ids.
        photos: keys of its pictures in this bucket, without the template.
        templates: keys of the template in this bucket.
        quoted: strings that may be a user id, if no person is named in the right place.
    """

    key: str
    function: str
    request_id: str
    spellings: tuple[str, ...]
    users: frozenset[str]
    photos: frozenset[str]
    templates: frozenset[str]
    quoted: frozenset[str]


@dataclass(frozen=True)
class Naming:
    """What an object written by photog names: an answer's people, an event's subject, a failing key.

    Attributes:
        quoted: strings that may be a user id, if no person is named in the right place.
    """

    key: str
    names: frozenset[str]
    quoted: frozenset[str] = frozenset()


class Reader:
    """Reads a bucket's objects for what they name. Errors of one object are recorded; StoreUnavailable ends the search.

    Attributes:
        faults: keys, or prefixes that end with /, that could not be read since `begin`, with the reason.
    """

    def __init__(self, bucket: Bucket) -> None:
        self.faults: dict[str, str] = {}
        self._bucket = bucket
        self._garbage: set[str] = set()
        self._remembered: dict[str, tuple[str, object]] = {}

    def begin(self) -> None:
        """Begin a new search of the bucket."""
        self.faults.clear()
        self._garbage.clear()

    def list_objects(self, prefix: str) -> list[ObjectInfo]:
        """Return the objects that can be listed; in a root also those of functions' folders that are links."""
        links = self._bucket.find_unlisted(prefix, deep=False) if prefix in keys.ROOTS else ()
        return [*self._list(prefix), *(info for key, why in links if why != NO_KEY for info in self._list(f"{key}/"))]

    def _list(self, prefix: str) -> list[ObjectInfo]:
        found = []
        try:
            for info in self._bucket.list(prefix):
                found.append(info)
        except UnreadableFolder as error:
            self.faults |= dict.fromkeys(error.folders, str(error))
        except InvalidKey as error:
            self.faults[prefix] = str(error)
        return found

    def list_misspelled(self, root: str) -> list[ObjectInfo]:
        """Return the objects below other spellings of a root, such as `Requests/`."""
        try:
            return self._look_up((key, NO_KEY) for key in self._bucket.find_misspelled(root))
        except UnreadableFolder as error:
            self.faults |= dict.fromkeys(error.folders, str(error))
            return []

    def list_linked(self, root: str) -> list[ObjectInfo]:
        """Return the files of the bucket that links below a root lead to, under the keys of the links."""
        return self._look_up(self._bucket.find_unlisted(root))

    def _look_up(self, entries: Iterable[tuple[str, str]]) -> list[ObjectInfo]:
        """Return those entries that are objects; it is a fault if one may be an object under a name that no key has."""
        found = []
        for key, why in entries:
            try:
                found.append(self._bucket.head(key))
            except InvalidKey:
                if why == NO_KEY:  # else a link that leads out of the bucket
                    self.faults[key] = f"{NO_KEY}, so whom it names is unknown: inspect it"
            except StoreUnavailable:
                raise
            except BucketError as error:
                self.faults[key] = str(error)
        return [info for info in found if info is not None]

    def exists(self, key: str) -> bool:
        """Return whether an object exists; True with a fault if it may exist but cannot be seen."""
        try:
            return self._bucket.head(key) is not None
        except (StoreUnavailable, InvalidKey):
            raise
        except BucketError as error:
            self.faults[key] = str(error)
            return True

    def read(self, infos: Iterable[ObjectInfo], understand: Callable[[str, bytes], T]) -> Iterator[T]:
        """Yield what each object names, for those that can be read and understood, in order."""
        todo = iter(infos)
        chunks = iter(lambda: list(itertools.islice(todo, CHUNK)), [])
        with ThreadPoolExecutor(READERS) as pool:
            for found in pool.map(lambda chunk: [self._understand(info, understand) for info in chunk], chunks):
                yield from (one for one in found if one is not None)

    def quotes(self, name: str) -> list[str]:
        """Return the keys of objects read since `begin` that were not understood and contain the name in quotes."""
        return sorted(key for key in self._garbage if self._contains(key, name))

    def _understand(self, info: ObjectInfo, understand: Callable[[str, bytes], T]) -> T | None:
        etag, known = self._remembered.get(info.key, (None, None))
        if etag == info.etag:
            return known  # type: ignore[return-value]  # made by the same function from the same object
        try:
            if info.size > LARGEST:
                raise ValueError("too large")
            text = self._bucket.find(info.key)
            if text is None:
                return None
            found = understand(info.key, text)
        except StoreUnavailable:
            raise
        except BucketError as error:
            self.faults[info.key] = str(error)
            return None
        except (ValueError, RecursionError):
            self._garbage.add(info.key)
            return None
        self._remembered[info.key] = info.etag, found
        return found

    def _contains(self, key: str, name: str) -> bool:
        tail, kept = b"", LONGEST_ESCAPE * (len(name) + 2)
        try:
            for piece in self._bucket.stream(key):
                text = tail + piece
                if quotes(text, name):
                    return True
                tail = text[-kept:]
        except MissingObject:
            pass
        except StoreUnavailable:
            raise
        except BucketError as error:
            self.faults[key] = str(error)
        return False


def read_manifest(places: Places, key: str, text: bytes) -> Mention:
    """Return what a manifest names, even if it cannot be served; raises ValueError if it is not a manifest."""
    try:
        require_key(key)
        parsed = parse(text)
        body, request_id, spellings = parsed.body, parsed.request_id, parsed.spellings
    except RequestError as error:
        if len(text) > LOOSE:
            raise ValueError("not a manifest") from error
        body, sha256 = _parse_object(text), hashlib.sha256(text).hexdigest()
        request_id, spellings = invalid_id(sha256), (sha256,)
    people = _people(body.get("configure")) or _people(body)
    return Mention(
        key,
        keys.without_empty_names(key).split("/")[1],
        request_id,
        spellings,
        people,
        _pictures(places, body.get("images")),
        _pictures(places, body.get("template_image")),
        frozenset() if people else ids([value for name, value in body.items() if name != "request_id"]),
    )


def read_stray(places: Places, key: str, text: bytes) -> Mention:
    """Return what an object names as a request would, although no worker reads it where it lies.

    Raises ValueError if it is not JSON or too large to be searched as such.
    """
    if len(text) > LOOSE:
        raise ValueError("too large to be searched as JSON")
    value = json.loads(text)
    body = value if isinstance(value, dict) else {}
    people = _people(body.get("configure")) or _people(body)
    return Mention(
        key,
        "train" if people else "check",  # if it has no template, which only decides whose its photos are
        "",
        (),
        people,
        _pictures(places, body.get("images")),
        _pictures(places, body.get("template_image")),
        frozenset() if people else ids(value),
    )


def read_put(places: Places, key: str, text: bytes) -> Mention:
    """Return what a request in a queue of `photog serve` names: the server's own line, then the request as it came."""
    return read_manifest(places, key, text.partition(b"\n")[2])


def read_answer(key: str, text: bytes) -> Naming:
    """Return the people of an answer."""
    data = _parse_object(text).get("data")
    people = frozenset(_strings(data.get("user_id")) if isinstance(data, dict) else ())
    return Naming(key, people, frozenset() if people else ids(data.get("user_id") if isinstance(data, dict) else data))


def read_linked(key: str, text: bytes) -> Naming:
    """Return the strings that may be a user id in a file that a link leads to; it stays, since the link is not ours.

    Raises ValueError if it is not JSON or too large to be searched as such.
    """
    if len(text) > LOOSE:
        raise ValueError("too large to be searched as JSON")
    return Naming(key, frozenset(), ids(json.loads(text)))


def read_model(key: str, text: bytes) -> Naming:
    """Return everything that a user's model names: its LoRA and its reference photos."""
    return Naming(key, frozenset(strings(_parse_object(text))))


def list_trainings(one: Naming) -> set[str]:
    """Return the request_ids of the trainings whose artifacts a user's model names."""
    return {match[1] for name in one.names if (match := TRAINED.match(name)) and REQUEST_ID.fullmatch(match[1])}


def read_event(key: str, text: bytes) -> Naming:
    """Return the request that a completion event is about."""
    return Naming(key, frozenset(_strings(_parse_object(text).get("subject"))))


def read_failing(key: str, text: bytes) -> Naming:
    """Return the failing key."""
    return Naming(key, frozenset(_strings(_parse_object(text).get("key"))))


def _people(configure: object) -> frozenset[str]:
    if not isinstance(configure, dict):
        return frozenset()
    return frozenset((*_strings(configure.get("user_id")), *_strings(configure.get("model_id"))))


def _strings(value: object) -> list[str]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _pictures(places: Places, value: object) -> frozenset[str]:
    keys = (places.key(one) for one in strings(value))
    return frozenset(key for key in keys if key and not key.startswith(OURS))


def _parse_object(text: bytes) -> Json:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
