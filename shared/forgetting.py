"""Forgetting a user: everything that a bucket holds of one person goes, and a listing proves it.

| what | why in this order |
|---|---|
| running requests | answered as forgotten and superseded, so that their workers lose the claim and clear up |
| puts of `photog serve` | before the manifests, that it makes of them |
| artifacts, photos, the user's model, notifications, progress | while manifests and answers still say whose they are |
| manifests, and that they fail | before the answers: a manifest without an answer would be run again |
| answers, then claims | last, so that an interrupted forgetting finds them by running it again |
| indexes of settled manifests | they are only a saving, and are made again |
| what dead writers left half-written | it may be anybody's: all of it goes |

A photo goes when trainings of this user name it and no request of anybody else does; templates are not of the person
and stay. A portrait of several people goes when one of them is forgotten. A check goes when it names a photo that goes.

One id may stand in manifests of several people: only the first body's claims and answer are stored under it, any other
body has a conflict object. Each goes with the body that it belongs to; a conflict whose manifest is gone goes with the
id. When an id has become free, another's manifest may be served under it while this still sweeps: that is not touched.

How fast: a bucket is read through two or three times, objects that did not change only once; that is linear, about
0.2 ms an object in a folder, and READERS round trips at once in a store over a network. Requests that run are given one
lease to notice. What a living writer stages at that moment is removed by itself, or within COLLECT_SECONDS of its death
by the next writer. What cannot be read or removed, and what quotes the user's id and cannot be understood, remains and
is told: nothing is skipped in silence.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from shared import mentions
from shared.attempt import progress_key
from shared.buckets.base import Bucket, BucketError, InvalidKey, StoreUnavailable, checked
from shared.claims import ClaimRecord, Claims
from shared.errors import RequestError
from shared.function import NAMES
from shared.invocation import is_request
from shared.manifests import encode, failure
from shared.mentions import Mention, Reader
from shared.notify.outbox import entry_key
from shared.settings import Lease
from shared.triggers.failures import FAILING
from shared.triggers.settled import INDEX

QUEUE = "queue/"  # puts of `photog serve`
SWEEPS = 3  # a worker that was just about to write may leave something behind the first one

Identity = tuple[str, str]  # a function and a request_id


class Forgotten(RequestError):
    """The request's user was forgotten while it ran."""


@dataclass
class Holdings:
    """What a bucket holds of a user.

    Attributes:
        requests: manifests of the user, and answered ids whose manifest is gone, as (function, request_id).
        keys: of all objects, in the order in which they may be removed.
        running: (function, request_id) that a worker has claimed and not answered.
        faults: what cannot be read or removed, or whose it is cannot be told: keys, or prefixes that end with /, with
            the reason.
    """

    requests: list[Identity] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    running: list[Identity] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)

    def remaining(self) -> list[str]:
        """Everything that is there or may be there, sorted."""
        return sorted({*self.keys, *self.faults})


class Forgetting:
    """Finds and removes what one bucket holds of users.

    It remembers the requests that it removed: what a worker writes for them afterwards is found by them alone.
    """

    def __init__(self, bucket: Bucket, lease: Lease, wait: Callable[[float], None] = time.sleep) -> None:
        self._bucket, self._lease, self._wait = bucket, lease, wait
        self._reader = Reader(bucket)
        self._known: dict[str, dict[Identity, set[str]]] = {}  # by user: ids, and the bodies they were for
        self._manifests: dict[str, set[str]] = {}  # by user: keys
        self._stuck: dict[str, str] = {}

    def forget(self, user_id: str) -> list[str]:
        """Remove everything of the user that can be; the removed keys and half-written files, sorted.

        InvalidKey for what is no id; StoreUnavailable where the store goes away: forget again.
        """
        removed: set[str] = set()
        for _ in range(SWEEPS):
            held = self.holdings(user_id)
            if not held.keys:
                break
            self._supersede(held.running)
            if held.running:
                held = self.holdings(user_id)
            removed |= self._delete(held.keys)
        if removed:
            removed |= self._delete(info.key for info in self._reader.listed(INDEX))
        return sorted(removed | self._collect(user_id))

    def holdings(self, user_id: str) -> Holdings:
        """Everything of the user that is there now; empty when nothing is. InvalidKey for what is no id."""
        checked(f"users/{user_id}/model.json")
        self._reader.begin()
        requests = self._requests()
        own = {one.key: one for one in requests if one.function != "check" and user_id in one.users}
        names = self._own_photos(user_id, requests, own)
        photos = sorted(key for key in names if self._reader.exists(key))
        own |= {one.key: one for one in requests if one.function == "check" and not one.photos.isdisjoint(names)}
        accepted, conflicts = self._sorted_out(own.values())
        known = self._ids(user_id, accepted)
        foreign = {_conflict(one) for one in requests if one.key not in own}
        held = Holdings(requests=sorted(known))
        artifacts: list[str] = []
        answers: list[str] = []
        claims: list[str] = []
        for identity in held.requests:
            self._add(identity, foreign, held.running, artifacts, answers, claims)
        artifacts += [key for key in conflicts if self._reader.exists(key)]
        artifacts += [info.key for info in self._reader.listed(f"users/{user_id}/")]
        artifacts += self._notifications(known)
        keys = [*self._puts(user_id, names), *artifacts, *photos, *own, *self._failing(user_id, own), *answers, *claims]
        held.keys = list(dict.fromkeys(keys))
        held.faults = self._faults(user_id, set(keys))
        return held

    def _requests(self) -> list[Mention]:
        infos = (info for function in NAMES for info in self._reader.listed(f"requests/{function}/"))
        ours = (info for info in infos if is_request(info.key, info.key.split("/")[1]))
        return list(self._reader.read(ours, mentions.manifest))

    def _sorted_out(self, own: Iterable[Mention]) -> tuple[list[Mention], list[str]]:
        """The user's requests whose ids are theirs, and the conflict objects of the others."""
        accepted, conflicts = [], []
        for one in own:
            first = self._first((one.function, one.request_id))
            if first is None or first.accepts(one.sha256):
                accepted.append(one)
            else:
                conflicts.append(_conflict(one))
        return accepted, conflicts

    def _ids(self, user_id: str, accepted: Iterable[Mention]) -> set[Identity]:
        """Ids whose claims and answers are the user's, those met in earlier sweeps included."""
        known = self._known.setdefault(user_id, {})
        for one in accepted:
            known.setdefault((one.function, one.request_id), set()).add(one.sha256)
        firsts = {identity: self._first(identity) for identity in {*known, *self._answered(user_id)}}
        for identity in firsts.keys() - known.keys():
            first = firsts[identity]
            known[identity] = {first.payload_sha256} if first else set()
        return {
            identity
            for identity, first in firsts.items()
            if first is None or not known[identity] or any(first.accepts(body) for body in known[identity])
        }

    def _add(
        self,
        identity: Identity,
        foreign: set[str],
        running: list[Identity],
        artifacts: list[str],
        answers: list[str],
        claims: list[str],
    ) -> None:
        """Add what is stored under a request's id."""
        function, request_id = identity
        folder = f"results/{function}/{request_id}/"
        result = folder + "result.json"
        below = [info.key for info in self._reader.listed(folder)]
        claimed = [info.key for info in self._reader.listed(f"claims/{function}/{request_id}/")]
        if claimed and result not in below:
            running.append(identity)
        answers += [key for key in below if key == result]
        artifacts += [key for key in below if key != result and key not in foreign]
        claims += claimed
        beside = (progress_key(function, request_id), entry_key(function, request_id))
        artifacts += [key for key in beside if self._reader.exists(key)]

    def _own_photos(self, user_id: str, requests: list[Mention], own: dict[str, Mention]) -> set[str]:
        """Names of pictures that only trainings of the user name, whether they are still there or not."""
        models = self._reader.read(self._reader.listed(f"users/{user_id}/model.json"), mentions.model)
        references = {name for one in models for name in one.names}
        named = {photo for one in own.values() if one.function == "train" for photo in one.photos}
        others = {
            name
            for one in requests
            if one.function != "check" and one.key not in own
            for name in (*one.photos, one.template)
        }
        return {key for key in named - others - references if self._possible(key)}

    def _possible(self, key: str) -> bool:
        try:
            self._reader.exists(key)
        except InvalidKey:
            return False
        return True

    def _answered(self, user_id: str) -> set[Identity]:
        """Ids whose answers name the user, also where the manifest has been removed."""
        infos = (info for function in ("train", "generate") for info in self._reader.listed(f"results/{function}/"))
        answers = (info for info in infos if info.key.endswith("/result.json") and info.key.count("/") == 3)
        found = (one.key.split("/") for one in self._reader.read(answers, mentions.answer) if user_id in one.names)
        return {(function, request_id) for _, function, request_id, _ in found}

    def _puts(self, user_id: str, photos: set[str]) -> list[str]:
        """What was put into a queue for the user, answered or not, and checks of the photos that go."""
        puts = self._reader.read(self._reader.listed(QUEUE), mentions.put)
        return [one.key for one in puts if user_id in one.users or not one.photos.isdisjoint(photos)]

    def _notifications(self, known: set[Identity]) -> list[str]:
        events = self._reader.read(self._reader.listed("notifications/"), mentions.event)
        return [one.key for one in events if any((one.key.split("/")[1], name) in known for name in one.names)]

    def _failing(self, user_id: str, own: Iterable[str]) -> list[str]:
        """What is shown of the user's manifests that failed, those met in earlier sweeps included."""
        manifests = self._manifests.setdefault(user_id, set())
        manifests |= set(own)
        failures = self._reader.read(self._reader.listed(FAILING), mentions.failing)
        return [one.key for one in failures if not one.names.isdisjoint(manifests)]

    def _faults(self, user_id: str, keys: set[str]) -> dict[str, str]:
        """Why something may remain: what was not read and does not go anyway, and what does not go."""
        reader = self._reader
        unclear = dict.fromkeys(reader.quotes(user_id), f"no JSON of ours, and it quotes {user_id}: look at it")
        unread = {key: why for key, why in {**unclear, **reader.faults}.items() if key not in keys}
        return unread | {key: why for key, why in self._stuck.items() if key in keys or key.endswith("/")}

    def _supersede(self, running: list[Identity]) -> None:
        """Take the requests from their workers, and give these the time to notice and clear up."""
        for identity in running:
            self._take(identity)
        if running:
            self._wait(self._lease.seconds)

    def _take(self, identity: Identity) -> None:
        function, request_id = identity
        error = Forgotten("the user of this request was forgotten while it ran")
        envelope = encode(failure(request_id, error, {"cost_time": 0.0}))
        result = f"results/{function}/{request_id}/result.json"
        self._try(result, lambda key: self._bucket.put_if_absent(key, envelope))
        self._try(f"claims/{function}/{request_id}", lambda _: self._claims(function).supersede(request_id))

    def _delete(self, keys: Iterable[str]) -> set[str]:
        """Remove objects; those that went."""
        return {key for key in keys if self._try(key, self._bucket.delete)}

    def _collect(self, user_id: str) -> set[str]:
        """Remove half-written files; their names."""
        folders = [f"results/{function}/{request_id}/" for function, request_id in self._known[user_id]]
        found: set[str] = set()
        self._try("half-written/", lambda _: found.update(self._bucket.collect(folders)))
        return found

    def _try(self, key: str, change: Callable[[str], object]) -> bool:
        """Whether the change was made; else why it was not is kept in mind, and the others go on."""
        self._stuck.pop(key, None)
        try:
            change(key)
        except StoreUnavailable:
            raise
        except BucketError as error:
            self._stuck[key] = str(error)
            return False
        return True

    def _first(self, identity: Identity) -> ClaimRecord | None:
        """The claim that accepted the request; None also where it cannot be read, which is told."""
        try:
            return self._claims(identity[0]).first(identity[1])
        except StoreUnavailable:
            raise
        except BucketError as error:
            self._reader.faults["claims/{}/{}/".format(*identity)] = str(error)
            return None

    def _claims(self, function: str) -> Claims:
        return Claims(self._bucket, function, self._lease, "forgetting")


def _conflict(one: Mention) -> str:
    """Where a body is answered whose id belongs to another."""
    return f"results/{one.function}/{one.request_id}/conflict-{one.sha256[:8]}.json"
