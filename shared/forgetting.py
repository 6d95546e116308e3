"""Forgetting a user: everything that a bucket holds of one person goes, and a listing proves it.

| what | why in this order |
|---|---|
| running requests | answered as forgotten and superseded, so that their workers lose the claim and clear up |
| puts of `photog serve` | before the manifests, that it makes of them |
| artifacts, photos, the user's model, notifications, progress | while manifests and answers still say whose they are |
| manifests | before the answers: a manifest without an answer would be run again |
| answers, then claims | last, so that an interrupted forgetting finds them by running it again |

A photo goes when trainings of this user name it and no request of anybody else does; templates are not of the person
and stay. A portrait of several people goes when one of them is forgotten. A check goes when it names a photo that goes.

One id may stand in manifests of several people: only the first body's claims and answer are stored under it, any other
body has a conflict object. Each goes with the body that it belongs to; a conflict whose manifest is gone goes with the
id. When an id has become free, another's manifest may be served under it while this still sweeps: that is not touched.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from shared.attempt import progress_key
from shared.buckets.base import Bucket, InvalidKey, MissingObject
from shared.claims import Claims
from shared.errors import RequestError
from shared.function import NAMES
from shared.invocation import is_request
from shared.manifests import Json, Manifest, decode, encode, failure, parse
from shared.notify.outbox import entry_key
from shared.settings import Lease

QUEUE = "queue/"  # puts of `photog serve`: a line of its own, then the request as it came
OURS = (
    "requests/",
    "claims/",
    "progress/",
    "results/",
    "users/",
    "notifications/",
    "outbox/",
    "probes/",
    QUEUE,
)  # never a photo's key
SWEEPS = 3  # a worker that was just about to write may leave something behind the first one


class Forgotten(RequestError):
    """The request's user was forgotten while it ran."""


@dataclass(frozen=True)
class _Request:
    """A manifest of the bucket, with what else is stored under its id.

    Attributes:
        accepted: whether the id's claims and answer are this body's; else it has only a conflict.
    """

    key: str
    function: str
    manifest: Manifest
    accepted: bool

    @property
    def users(self) -> set[str]:
        """The people that the request names."""
        return _users(self.manifest.body)

    @property
    def photos(self) -> set[str]:
        """The keys of its pictures in this bucket, the template's left out."""
        return _photos(self.manifest.body)

    @property
    def pictures(self) -> set[object]:
        """Whatever the request names as a picture, the template too."""
        return {*self.photos, self.manifest.body.get("template_image")}


@dataclass
class Holdings:
    """What a bucket holds of a user.

    Attributes:
        requests: manifests of the user, and answered ids whose manifest is gone, as (function, request_id).
        keys: of all objects, in the order in which they may be removed.
        running: (function, request_id) that a worker has claimed and not answered.
    """

    requests: list[tuple[str, str]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    running: list[tuple[str, str]] = field(default_factory=list)


class Forgetting:
    """Finds and removes what one bucket holds of users.

    It remembers the requests that it removed: what a worker writes for them afterwards is found by them alone.
    """

    def __init__(self, bucket: Bucket, lease: Lease, wait: Callable[[float], None] = time.sleep) -> None:
        self._bucket, self._lease, self._wait = bucket, lease, wait
        self._known: dict[str, dict[tuple[str, str], set[str]]] = {}  # by user: ids, and the bodies they were for

    def forget(self, user_id: str) -> list[str]:
        """Remove everything of the user; the removed keys, sorted."""
        removed: set[str] = set()
        for _ in range(SWEEPS):
            held = self.holdings(user_id)
            if not held.keys:
                break
            self._supersede(held.running)
            if held.running:
                held = self.holdings(user_id)
            for key in held.keys:
                self._bucket.delete(key)
            removed |= set(held.keys)
        return sorted(removed)

    def holdings(self, user_id: str) -> Holdings:
        """Everything of the user that is there now; empty when nothing is."""
        requests = list(self._requests())
        mine = [one for one in requests if one.function != "check" and user_id in one.users]
        photos = self._own_photos(user_id, requests, mine)
        mine += [one for one in requests if one.function == "check" and one.photos & photos]
        known = self._ids(user_id, mine)
        foreign = {key for one in requests if one not in mine for key in self._conflicts(one)}
        held = Holdings(requests=sorted(known))
        artifacts, answers, claims = [], [], []
        for function, request_id in held.requests:
            folder = f"results/{function}/{request_id}/"
            below = [info.key for info in self._bucket.list(folder)]
            answers += [key for key in below if key.removeprefix(folder) == "result.json"]
            artifacts += [key for key in below if key not in answers and key not in foreign]
            claimed = [info.key for info in self._bucket.list(f"claims/{function}/{request_id}/")]
            claims += claimed
            if claimed and folder + "result.json" not in answers:
                held.running.append((function, request_id))
            beside = [progress_key(function, request_id), entry_key(function, request_id)]
            artifacts += [key for key in beside if self._bucket.head(key)]
        artifacts += [key for one in mine if not one.accepted for key in self._conflicts(one)]
        artifacts += [info.key for info in self._bucket.list(f"users/{user_id}/")]
        artifacts += self._notifications(known)
        artifacts += sorted(key for key in photos if self._bucket.head(key))
        manifests = [one.key for one in mine]
        puts = self._puts(user_id, photos)
        held.keys = list(dict.fromkeys([*puts, *artifacts, *manifests, *answers, *claims]))
        return held

    def _ids(self, user_id: str, mine: list[_Request]) -> set[tuple[str, str]]:
        """Ids whose claims and answers are the user's, those met in earlier sweeps included."""
        known = self._known.setdefault(user_id, {})
        for one in mine:
            if one.accepted:
                known.setdefault((one.function, one.manifest.request_id), set()).add(one.manifest.sha256)
        firsts = {}
        for identity in {*known, *self._answered(user_id)}:
            claims = Claims(self._bucket, identity[0], self._lease, "forgetting")
            firsts[identity] = claims.first(identity[1])
        for identity in firsts.keys() - known.keys():
            first = firsts[identity]
            known[identity] = {first.payload_sha256} if first else set()
        return {
            identity
            for identity, first in firsts.items()
            if first is None or not known[identity] or first.payload_sha256 in known[identity]
        }

    def _own_photos(self, user_id: str, requests: list[_Request], mine: list[_Request]) -> set[str]:
        model = self._json(f"users/{user_id}/model.json") or {}
        named = {photo for one in mine if one.function == "train" for photo in one.photos}
        others = {name for one in requests if one.function != "check" and one not in mine for name in one.pictures}
        references = {one["key"] for one in model.get("references", [])}
        return {key for key in named - others - references if self._possible(key)}

    def _possible(self, key: str) -> bool:
        try:
            self._bucket.head(key)
        except InvalidKey:
            return False
        return True

    def _requests(self) -> Iterator[_Request]:
        for function in NAMES:
            claims = Claims(self._bucket, function, self._lease, "forgetting")
            for info in self._bucket.list(f"requests/{function}/"):
                if not is_request(info.key, function):
                    continue
                try:
                    manifest = parse(self._bucket.get(info.key))
                except (RequestError, MissingObject):
                    continue  # nobody is named in what cannot be read
                first = claims.first(manifest.request_id)
                accepted = first is None or first.payload_sha256 == manifest.sha256
                yield _Request(info.key, function, manifest, accepted)

    def _answered(self, user_id: str) -> Iterator[tuple[str, str]]:
        """Ids whose answers name the user, also where the manifest has been removed."""
        for function in ("train", "generate"):
            for info in self._bucket.list(f"results/{function}/"):
                if info.key.endswith("/result.json"):
                    envelope = self._json(info.key) or {"data": {}}
                    named = envelope["data"].get("user_id")
                    if user_id in (named if isinstance(named, list) else [named]):
                        yield function, envelope["request_id"]

    def _puts(self, user_id: str, photos: set[str]) -> list[str]:
        """What was put into a queue for the user, answered or not, and checks of the photos that go."""
        found = []
        for info in self._bucket.list(QUEUE):
            try:
                body = parse(self._bucket.get(info.key).partition(b"\n")[2]).body
            except (RequestError, MissingObject):
                continue
            if user_id in _users(body) or _photos(body) & photos:
                found.append(info.key)
        return found

    def _notifications(self, known: set[tuple[str, str]]) -> list[str]:
        found = []
        for function in NAMES:
            for info in self._bucket.list(f"notifications/{function}/"):
                event = self._json(info.key) or {}
                if (function, event.get("subject")) in known:
                    found.append(info.key)
        return found

    def _conflicts(self, request: _Request) -> list[str]:
        manifest = request.manifest
        key = f"results/{request.function}/{manifest.request_id}/conflict-{manifest.sha256[:8]}.json"
        return [key] if self._bucket.head(key) else []

    def _supersede(self, running: list[tuple[str, str]]) -> None:
        """Take the requests from their workers, and give these the time to notice and clear up."""
        for function, request_id in running:
            error = Forgotten("the user of this request was forgotten while it ran")
            envelope = failure(request_id, error, {"cost_time": 0.0})
            self._bucket.put_if_absent(f"results/{function}/{request_id}/result.json", encode(envelope))
            claims = Claims(self._bucket, function, self._lease, "forgetting")
            claims.supersede(request_id)
        if running:
            self._wait(self._lease.seconds)

    def _json(self, key: str) -> Json | None:
        try:
            return decode(self._bucket.get(key))
        except MissingObject:
            return None


def _users(body: Json) -> set[str]:
    configure = body.get("configure")
    if not isinstance(configure, dict):
        return set()
    named = [configure.get("user_id"), configure.get("model_id")]
    flat = [one for entry in named for one in (entry if isinstance(entry, list) else [entry])]
    return {one for one in flat if isinstance(one, str)}


def _photos(body: Json) -> set[str]:
    images = body.get("images")
    named = [one for one in images if isinstance(one, str)] if isinstance(images, list) else []
    return {one for one in named if "://" not in one and not one.startswith(("data:", *OURS))}
