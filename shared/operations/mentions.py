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
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from shared.contract.manifests import NOBODY, REQUEST_ID, Json, invalid_id, parse
from shared.contract.meaning import DEFAULTS
from shared.errors import RequestError
from shared.lifecycle.manifest_reader import require_key
from shared.operations.object_names import Places
from shared.operations.quoted_strings import LONGEST_ESCAPE, ids, quotes, strings

OURS = tuple(root for root in keys.ROOTS if root != keys.PHOTOS)  # never the key of a photo, except those of users
READERS = 16  # objects read concurrently; each is one round trip to a store
CHUNK = 32  # objects that a reader takes at a time
LARGEST = (20 << 20) + 4096  # bytes of a manifest or an answer, and of the line that a queue adds
LOOSE = 1 << 20  # bytes of a manifest that is not a valid request but is still parsed
ARTIFACT = re.compile(keys.RESULTS + r"(train|generate)/([^/]+)/a[0-9]+/.")
REFERENCES = "references"  # of generate's `configure`: pictures of people
KNOBS = {"seed", *DEFAULTS}

T = TypeVar("T")


@dataclass(frozen=True)
class Mention:
    """What a manifest names.

    Attributes:
        request_id: the id under which it is answered, even if it cannot be served.
        spellings: hashes of the body that claims may have, see `Manifest`.
        users: user ids.
        photos: keys of its pictures in this bucket, without the template, by the user whom they show; None for
            somebody without an id, as in a check that names nobody, or in a portrait by references alone.
        templates: keys of the template in this bucket.
        quoted: strings that may be a user id, if no person is named in the right place.
    """

    key: str
    function: str
    request_id: str
    spellings: tuple[str, ...]
    users: frozenset[str]
    photos: Mapping[str | None, frozenset[str]]
    templates: frozenset[str]
    quoted: frozenset[str]

    def pictures_of(self, *users: str | None) -> frozenset[str]:
        """Return the keys of its pictures of these users; None stands for people without an id."""
        return frozenset().union(*(self.photos.get(user, frozenset()) for user in users))


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
    function = keys.without_empty_names(key).split("/")[1]
    people = _people(body.get("configure")) or _people(body)
    photos, templates = _photos(places, function, people, body), _pictures(places, body.get("template_image"))
    quoted = frozenset() if people else _quoted(body)
    return Mention(key, function, request_id, spellings, people, photos, templates, quoted)


def read_stray(places: Places, key: str, text: bytes) -> Mention:
    """Return what an object names as a request would, although no worker reads it where it lies.

    Raises ValueError if it is not JSON or too large to be searched as such.
    """
    if len(text) > LOOSE:
        raise ValueError("too large to be searched as JSON")
    value = json.loads(text)
    body = value if isinstance(value, dict) else {}
    people = _people(body.get("configure")) or _people(body)
    # which function is meant only decides whose its photos are
    function = "generate" if _has_references(body) else "train" if people else "check"
    photos, templates = _photos(places, function, people, body), _pictures(places, body.get("template_image"))
    quoted = frozenset() if people else _quoted(body) if body else ids(value)
    return Mention(key, function, "", (), people, photos, templates, quoted)


def read_put(places: Places, key: str, text: bytes) -> Mention:
    """Return what a request in a queue of `photog serve` names: the server's own line, then the request as it came."""
    return read_manifest(places, key, text.partition(b"\n")[2])


def read_answer(key: str, text: bytes) -> Naming:
    """Return the people of an answer."""
    data = _parse_object(text).get("data")
    used = data.get("usage") if isinstance(data, dict) else None
    people = frozenset(_strings(data.get("user_id")) if isinstance(data, dict) else ())
    people |= frozenset(_strings(used.get("user_ids")) if isinstance(used, dict) else ())
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


def list_requests(one: Naming) -> set[tuple[str, str]]:
    """Return the requests, as (function, request_id), whose artifacts a user's model names."""
    found = (match.groups() for name in one.names if (match := ARTIFACT.match(name)))
    return {(function, name) for function, name in found if REQUEST_ID.fullmatch(name)}


def read_event(key: str, text: bytes) -> Naming:
    """Return the request that a completion event is about."""
    return Naming(key, frozenset(_strings(_parse_object(text).get("subject"))))


def read_failing(key: str, text: bytes) -> Naming:
    """Return the failing key."""
    return Naming(key, frozenset(_strings(_parse_object(text).get("key"))))


def _photos(places: Places, function: str, people: frozenset[str], body: Json) -> Mapping[str | None, frozenset[str]]:
    """Return the keys of a body's pictures by the user whom they show; None for somebody without an id."""
    photos: dict[str | None, frozenset[str]] = {}
    for user, pictures in _portrayed(function, people, body):
        photos[user] = photos.get(user, frozenset()) | _pictures(places, pictures)
    return photos


def _has_references(body: Json) -> bool:
    configure = body.get("configure")
    return isinstance(configure, dict) and bool(configure.get(REFERENCES))


def _portrayed(function: str, people: frozenset[str], body: Json) -> Iterator[tuple[str | None, object]]:
    """Yield the pictures of each person in a body, with the person's id, or None for somebody without one."""
    if function != "generate":
        for user in people or [None]:
            yield user, body.get("images")
        return
    configure = body.get("configure")
    given = configure.get(REFERENCES) if isinstance(configure, dict) else None
    if not isinstance(given, list) or not any(isinstance(one, list) for one in given):
        given = [given]
    for users, pictures in zip(_takers(configure, len(given)), given, strict=True):
        for user in users:
            yield user, pictures


def _takers(configure: object, faces: int) -> list[list[str | None]]:
    """Return who takes each of so many faces: one person each if the ids match the faces, otherwise anybody named."""
    if not isinstance(configure, dict):
        return [[None]] * faces
    given = configure.get("model_id") if configure.get("user_id") is None else configure.get("user_id")
    people = given if isinstance(given, list) else [given]
    known = [one if isinstance(one, str) and one != NOBODY else None for one in people]
    if len(known) == faces:
        return [[one] for one in known]
    return [[one for one in known if one is not None] or [None]] * faces


def _quoted(body: Json) -> frozenset[str]:
    """Return the strings that may be a user id in a body that names nobody, apart from pictures and known knobs."""
    if _has_references(body):
        configure = {name: one for name, one in body["configure"].items() if name not in KNOBS}
        body = body | {"configure": configure}
    return ids([value for name, value in body.items() if name not in ("request_id", "template_image")])


def _people(configure: object) -> frozenset[str]:
    if not isinstance(configure, dict):
        return frozenset()
    return frozenset((*_strings(configure.get("user_id")), *_strings(configure.get("model_id"))))


def _strings(value: object) -> list[str]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _pictures(places: Places, value: object) -> frozenset[str]:
    found = (places.key(one) for one in strings(value))
    return frozenset(key for key in found if key and (not key.startswith(OURS) or keys.is_user_photo(key)))


def _parse_object(text: bytes) -> Json:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
