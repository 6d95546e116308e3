"""What a bucket holds of a user: found by reading the bucket, in the order in which it may be removed."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import partial

from shared.buckets.base import Bucket, BucketError, InvalidKey, ObjectInfo, StoreUnavailable
from shared.contract import keys
from shared.contract.function import NAMES
from shared.contract.manifests import NOBODY, USER_ID
from shared.lifecycle.claims import ClaimRecord, Claims
from shared.operations import mentions
from shared.operations.mentions import Mention, Naming, Reader
from shared.operations.object_names import Places
from shared.settings import Lease

Identity = tuple[str, str]  # a function and a request_id
UNOWNED = ""  # in place of a user: no id is empty


@dataclass
class UserData:
    """What a bucket holds of a user.

    Attributes:
        requests: the user's manifests, and answered ids whose manifest is gone, as (function, request_id).
        keys: keys of all objects, in the order in which they may be removed.
        needs: by key, what has to be gone before: a request stays as long as anything that only it shows to be theirs.
        running: (function, request_id) that a worker has claimed and not answered.
        faults: keys, or prefixes that end with /, that cannot be read, removed or attributed, with the reason.
    """

    requests: list[Identity] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    needs: dict[str, list[Set[str]]] = field(default_factory=dict)
    running: list[Identity] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)

    def remaining(self) -> list[str]:
        """Return everything that exists or may exist, sorted."""
        return sorted({*self.keys, *self.faults})


@dataclass(frozen=True)
class _Stored:
    """What is stored under a request's id, except its manifest."""

    artifacts: list[str] = field(default_factory=list)
    answer: list[str] = field(default_factory=list)
    claims: list[str] = field(default_factory=list)


class UserDataSearch:
    """Finds what a bucket holds of users.

    It remembers the requests that it has found, as only they lead to what a worker writes for them afterwards.
    """

    def __init__(self, bucket: Bucket, lease: Lease, named: Mapping[str, str]) -> None:
        self._bucket, self._lease, self._places = bucket, lease, Places(bucket, named)
        self._unclear: list[Naming | Mention] = []
        self._reader = Reader(bucket)
        self._known: dict[str, dict[Identity, set[str]]] = {}  # by user: ids, and the hashes of their bodies
        self._manifests: dict[str, set[str]] = {}  # by user: keys

    def find(self, user_id: str) -> UserData:
        """Return everything of the user that exists now, if anything; raises InvalidKey for an invalid id."""
        if not USER_ID.fullmatch(user_id) or user_id == NOBODY:
            raise InvalidKey(f"{user_id!r} is not a user id")
        self._reader.begin()
        self._unclear.clear()
        requests = self._requests()
        own = {one.key: one for one in requests if user_id in one.users}
        strays = self._read_strays()
        named = {one.key: one for one in strays if user_id in one.users}
        names = self._own_photos(user_id, [*requests, *strays], own | named)
        photos = sorted(key for key in names if self._reader.exists(key))
        named |= {one.key: one for one in strays if not names.isdisjoint(one.pictures_of(None))}
        unnamed = {
            one.key: one
            for one in requests
            if one.key not in own and one.function != "train" and not names.isdisjoint(one.pictures_of(None))
        }
        own = unnamed | own  # in this order, as checks and portraits without an id are found by the others' photos
        accepted, conflicts = self._sort_out(own.values())
        results = [info for function in NAMES for info in self._reader.list_objects(keys.results(function))]
        answers_read = self._answers(results)
        modeled = self._find_modeled(user_id, requests, answers_read)
        known = self._ids(user_id, accepted, {*_find_answered(user_id, answers_read), *modeled})
        foreign = {key for one in requests if one.key not in own for key in _conflicts(one)}
        stored = {identity: self._find_stored(identity, foreign, user_id) for identity in sorted(known)}
        puts = self._puts(user_id, names)
        artifacts = [key for one in stored.values() for key in one.artifacts]
        artifacts += [key for key in conflicts if self._reader.exists(key)]
        artifacts += [info.key for info in self._reader.list_objects(keys.user(user_id))]
        # also below an id that is another person's by now
        kept = [info.key for info in results if keys.whose_photo(info.key) == user_id]
        artifacts += kept
        artifacts += self._notifications(known)
        used = self._reader.list_objects(keys.USAGE)
        artifacts += [info.key for info in used if keys.whose_usage(info.key) == user_id]
        answers = [key for one in stored.values() for key in one.answer]
        claims = [key for one in stored.values() for key in one.claims]
        held = [*puts, *artifacts, *photos, *named, *self._failing(user_id, own), *own, *answers, *claims]
        return UserData(
            requests=list(stored),
            keys=list(dict.fromkeys(held)),
            needs=_needs(own.values(), set(unnamed), stored, set(photos), set(puts))
            | {
                key: [set(kept), *(set(stored[one].artifacts) for one in modeled if one in stored)]
                for key in self._models(user_id)
            }
            | {one.key: [one.pictures_of(*one.photos) & set(photos)] for one in named.values()},
            running=[identity for identity, one in stored.items() if one.claims and not one.answer],
            faults=self._faults(user_id, set(held)),
        )

    def find_unowned(self, photos: Set[str]) -> tuple[UserData, dict[str, str]]:
        """Return these photos with the requests that name them and nobody; and whose the others are.

        Returns:
            What may be removed; and by the key of each photo that a person's request names, that person.
        """
        self._reader.begin()
        self._unclear.clear()
        in_queues = self._reader.list_objects(keys.QUEUE)  # first: one may become a manifest meanwhile
        puts = list(self._reader.read(in_queues, partial(mentions.read_put, self._places)))
        requests, strays = self._requests(), self._read_strays()
        owners: dict[str, str] = {}
        for one in [*requests, *strays, *puts]:
            for user, pictures in one.photos.items():
                owners |= dict.fromkeys(pictures & photos, user) if user is not None else {}
        names = photos - owners.keys()
        named = {one.key for one in strays if not names.isdisjoint(one.pictures_of(None))}
        own = [one for one in requests if not one.users and not names.isdisjoint(one.pictures_of(None))]
        accepted, conflicts = self._sort_out(own)
        known = self._ids(UNOWNED, accepted, set())
        foreign = {key for one in requests if one not in own for key in _conflicts(one)}
        stored = {identity: self._find_stored(identity, foreign, UNOWNED) for identity in sorted(known)}
        there = [key for key in sorted(names) if self._reader.exists(key)]
        artifacts = [key for one in stored.values() for key in one.artifacts]
        artifacts += [key for key in conflicts if self._reader.exists(key)] + self._notifications(known)
        answers = [key for one in stored.values() for key in (*one.answer, *one.claims)]
        queued = [one.key for one in puts if not one.users and not names.isdisjoint(one.pictures_of(None))]
        held = [*queued, *artifacts, *there, *named, *(one.key for one in own), *answers]
        return UserData(
            requests=list(stored),
            keys=list(dict.fromkeys(held)),
            needs=_needs(own, {one.key for one in own}, stored, set(there), set(queued)),
            running=[identity for identity, one in stored.items() if one.claims and not one.answer],
            faults={key: why for key, why in self._reader.faults.items() if key not in held},
        ), owners

    def indexes(self) -> list[str]:
        """Return the keys of the indexes of settled manifests, which name nobody."""
        return [info.key for info in self._reader.list_objects(keys.INDEX)]

    def _requests(self) -> list[Mention]:
        ours = (info for info in self._reader.list_objects(keys.REQUESTS) if _is_manifest(info.key))
        requests = list(self._reader.read(ours, partial(mentions.read_manifest, self._places)))
        self._unclear += requests
        return requests

    def _read_strays(self) -> list[Mention]:
        """Return what is named by objects that no worker reads as a request, because of where they lie."""
        others = [info for info in self._reader.list_objects(keys.REQUESTS) if not _is_manifest(info.key)]
        others += self._reader.list_misspelled(keys.REQUESTS)
        strays = list(self._reader.read(others, partial(mentions.read_stray, self._places)))
        self._unclear += [*strays, *self._reader.read(self._reader.list_linked(keys.REQUESTS), mentions.read_linked)]
        return strays

    def _sort_out(self, own: Iterable[Mention]) -> tuple[list[Mention], list[str]]:
        """Return the user's requests whose ids are theirs, and the conflict objects of the others."""
        accepted, conflicts = [], []
        for one in own:
            first = self._first((one.function, one.request_id))
            if first is None or first.accepts(*one.spellings):
                accepted.append(one)
            else:
                conflicts += _conflicts(one)
        return accepted, conflicts

    def _ids(self, user_id: str, accepted: Iterable[Mention], told: Set[Identity]) -> set[Identity]:
        """Return the ids whose claims and answers are the user's, including those found in earlier passes."""
        known = self._known.setdefault(user_id, {})
        for one in accepted:
            known.setdefault((one.function, one.request_id), set()).update(one.spellings)
        firsts = {identity: self._first(identity) for identity in {*known, *told}}
        for identity in firsts.keys() - known.keys():
            first = firsts[identity]
            known[identity] = {first.payload_sha256} if first else set()
        return {
            identity
            for identity, first in firsts.items()
            if first is None or not known[identity] or any(first.accepts(body) for body in known[identity])
        }

    def _find_stored(self, identity: Identity, foreign: set[str], user_id: str) -> _Stored:
        """Return what is stored under an id, without what serves another user beyond it.

        Args:
            foreign: keys of conflicts that other people's bodies led to.
        """
        function, request_id = identity
        folder, result = keys.result_folder(function, request_id), keys.result(function, request_id)
        below = [info.key for info in self._reader.list_objects(folder)]
        foreign = foreign | self._kept_of_others(below, user_id)
        beside = (keys.progress(function, request_id), keys.outbox(function, request_id))
        return _Stored(
            artifacts=[key for key in below if key != result and key not in foreign]
            + [key for key in beside if self._reader.exists(key)],
            answer=[result] if result in below else [],
            claims=[info.key for info in self._reader.list_objects(keys.claims(function, request_id))],
        )

    def _kept_of_others(self, artifacts: Iterable[str], user_id: str) -> set[str]:
        """Return the references that a portrait of several people keeps of others, while their models name them."""
        theirs: dict[str, set[str]] = {}
        for key in artifacts:
            if (who := keys.whose_photo(key)) is not None and who != user_id:
                theirs.setdefault(who, set()).add(key)
        return {key for who, photos in theirs.items() for key in photos & self._named_by_model(who)}

    def _named_by_model(self, user_id: str) -> frozenset[str]:
        infos = [info for info in self._reader.list_objects(keys.user(user_id)) if info.key == keys.model(user_id)]
        return frozenset().union(*(one.names for one in self._reader.read(infos, mentions.read_model)))

    def _own_photos(self, user_id: str, requests: list[Mention], own: dict[str, Mention]) -> set[str]:
        """Return the keys of pictures that requests name as the user's and nobody else's, whether they exist or not."""
        named = {photo for one in own.values() for photo in one.pictures_of(user_id)}
        others: set[str] = set()
        for one in requests:
            if one.function != "check" or one.users:
                people = one.photos.keys() - {user_id, *([None] if one.function == "generate" else [])}
                others |= one.pictures_of(*people) | (frozenset() if one.key in own else one.templates)
        return {key for key in named - others if self._possible(key)}

    def _possible(self, key: str) -> bool:
        try:
            self._reader.exists(key)
        except InvalidKey:
            return False
        return True

    def _answers(self, results: Iterable[ObjectInfo]) -> dict[Identity, frozenset[str]]:
        """Return the people of every answer, even if its manifest has been removed."""
        answers = (info for info in results if info.key.endswith("/result.json") and info.key.count("/") == 3)
        found = list(self._reader.read(answers, mentions.read_answer))
        self._unclear += found
        return {(one.key.split("/")[1], one.key.split("/")[2]): one.names for one in found}

    def _models(self, user_id: str) -> list[str]:
        """Return the keys that point to the user's trainings: the model, and the candidates for it."""
        below = [info.key for info in self._reader.list_objects(keys.user(user_id))]
        swaps = keys.pointer_swaps(user_id)
        return [key for key in below if key == keys.model(user_id) or key.startswith(swaps)]

    def _find_modeled(
        self, user_id: str, requests: list[Mention], answers: Mapping[Identity, frozenset[str]]
    ) -> set[Identity]:
        """Return the requests that the user's model names, unless an answer or accepted manifest says otherwise."""
        pointing = set(self._models(user_id))
        infos = (info for info in self._reader.list_objects(keys.user(user_id)) if info.key in pointing)
        named = {
            identity
            for one in self._reader.read(infos, mentions.read_model)
            for identity in mentions.list_requests(one)
        }
        named -= {identity for identity in named if answers.get(identity, frozenset()) - {user_id}}
        for one in requests:
            identity = one.function, one.request_id
            if identity in named and one.users and user_id not in one.users:
                first = self._first(identity)
                if first is None or first.accepts(*one.spellings):
                    named.discard(identity)
        return named

    def _puts(self, user_id: str, photos: set[str]) -> list[str]:
        """Return what was put into a queue for the user, answered or not, or of photos that are removed."""
        puts = self._reader.read(self._reader.list_objects(keys.QUEUE), partial(mentions.read_put, self._places))
        return [
            one.key for one in puts if user_id in one.users or not photos.isdisjoint(one.pictures_of(None, user_id))
        ]

    def _notifications(self, known: set[Identity]) -> list[str]:
        events = self._reader.read(self._reader.list_objects(keys.NOTIFICATIONS), mentions.read_event)
        return [one.key for one in events if any((one.key.split("/")[1], name) in known for name in one.names)]

    def _failing(self, user_id: str, own: Iterable[str]) -> list[str]:
        """Return the records of the user's failing manifests, including those found in earlier passes."""
        manifests = self._manifests.setdefault(user_id, set())
        manifests |= set(own)
        failures = self._reader.read(self._reader.list_objects(keys.FAILING), mentions.read_failing)
        return [one.key for one in failures if not one.names.isdisjoint(manifests)]

    def list_found(self, user_id: str) -> list[Identity]:
        """Return every request of the user found until now."""
        return sorted(self._known.get(user_id, {}))

    def _faults(self, user_id: str, keys: set[str]) -> dict[str, str]:
        """Return what was not read or not understood, and is not removed anyway."""
        quoting = {
            one.key: f"it quotes {user_id} where no person is expected"
            for one in self._unclear
            if user_id in one.quoted
        }
        unclear = quoting | dict.fromkeys(
            self._reader.quotes(user_id), f"it is not JSON of photog's, but quotes {user_id}: inspect it"
        )
        return {key: why for key, why in {**unclear, **self._reader.faults}.items() if key not in keys}

    def _first(self, identity: Identity) -> ClaimRecord | None:
        """Return the claim that accepted the request; None also if it cannot be read, which is recorded as a fault."""
        try:
            return self._claims(identity[0]).first(identity[1])
        except StoreUnavailable:
            raise
        except BucketError as error:
            self._reader.faults[keys.claims(*identity)] = str(error)
            return None

    def _claims(self, function: str) -> Claims:
        return Claims(self._bucket, function, self._lease, "forgetting")


def _find_answered(user_id: str, answers: Mapping[Identity, frozenset[str]]) -> set[Identity]:
    return {identity for identity, people in answers.items() if user_id in people}


def _is_manifest(key: str) -> bool:
    return any(keys.is_request(key, function) for function in NAMES)


def _needs(
    own: Iterable[Mention],
    unnamed: Set[str],
    stored: Mapping[Identity, _Stored],
    photos: Set[str],
    puts: Set[str],
) -> dict[str, list[Set[str]]]:
    """Return what has to be gone before each manifest, answer and claim, as sets that many of them share.

    Args:
        unnamed: keys of the manifests in `own` that only their photos show to be the user's.
    """
    artifacts: dict[Identity, Set[str]] = {identity: set(one.artifacts) for identity, one in stored.items()}
    manifests: dict[Identity, set[str]] = {identity: set() for identity in stored}
    needs: dict[str, list[Set[str]]] = {}
    for one in own:
        identity = one.function, one.request_id
        needs[one.key] = [artifacts.get(identity, set()), one.pictures_of(*one.photos) & photos]
        if one.key not in unnamed:
            needs[one.key] += [puts, unnamed]
        manifests.setdefault(identity, set()).add(one.key)
    for identity, under in stored.items():
        needs |= {key: [artifacts[identity], manifests[identity]] for key in (*under.answer, *under.claims)}
    return needs


def _conflicts(one: Mention) -> list[str]:
    """Return the keys of a body's conflict objects, as written by this and earlier versions."""
    return [keys.conflict(one.function, one.request_id, sha256) for sha256 in one.spellings]
