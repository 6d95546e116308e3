"""What must hold once the harm has stopped and the workers have caught up; each breach is a line `invariant: what`."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime

import standardwebhooks

from shared.contract.manifests import Json, canonical_hash, decode
from shared.contract.usage import parse_record, records_of
from shared.errors import RequestError
from shared.events import completion_event
from shared.triggers.lanes import MOST
from tests.scenario.chaos.crew import Crew, Member
from tests.scenario.chaos.inventory import Inventory
from tests.scenario.chaos.labour import ERRORS, NAME, content, value
from tests.scenario.chaos.schedule import LEASE, Schedule
from tests.scenario.chaos.sites import SECRET

STALE = 1.2 * LEASE  # a freeze that may have cost so many beats that others took over
STARVED = LEASE  # seconds by which a loop of ours came late: the machine was too slow to say who lives
STORE_SECONDS = 1.1  # a store tells whole seconds in some answers and parts of them in others
TRANSIENT = ("progress/", "outbox/", "failing/")


class Judgment:
    """The invariants of one schedule's bucket.

    Args:
        trouble: whether the store failed at all; then an owner may have missed its beats without being dead.
        told: what the topic's subscriber has got so far; None where there is no topic.
    """

    def __init__(self, schedule: Schedule, inventory: Inventory, crew: Crew, address: str) -> None:
        self._schedule, self._inventory, self._crew, self._address = schedule, inventory, crew, address
        self.trouble = False
        self.lag = 0.0
        self.soft: Counter[str] = Counter()

    def breaches(self, posts: list[tuple[str, dict[str, str], bytes]], told: list[Json] | None) -> list[str]:
        """Everything that does not hold in the inventory as it is."""
        self.soft.clear()
        answers = self._inventory.answers()
        return [
            *self._unanswered(answers),
            *self._content(answers),
            *self._artifacts(answers),
            *self._conflicts(),
            *self._unreadable(answers),
            *self._pointers(answers),
            *self._events(answers, posts, told),
            *self._usage(answers),
            *self._residue(),
            *self._deaths(answers),
        ]

    def _unanswered(self, answers: dict[str, Json]) -> Iterator[str]:
        for identity in self._schedule.bodies.keys() - answers.keys():
            claims = [record.model_dump(exclude={"nonce", "payload_sha256"}) for record in self._claims(identity)]
            yield f"unanswered: {identity}, claims {claims}"

    def _content(self, answers: dict[str, Json]) -> Iterator[str]:
        known = _error_names(RequestError)
        for identity, answer in answers.items():
            kind = _error(answer)
            if answer["request_id"] != identity or answer["code"] not in ("OK", "error"):
                yield f"envelope: {identity} says {answer['request_id']} {answer['code']}"
            if answer["code"] == "error" and kind not in known:
                yield f"untyped: {identity} says {kind}"
            body = self._accepted(identity)
            if body is not None and not self._fits(identity, body, answer):
                said = kind or answer["data"].get("value")
                yield f"content: {identity} ends {body['ends']}, is answered {said}: {answer['message']}"

    def _fits(self, identity: str, body: Json, answer: Json) -> bool:
        kind, due = _error(answer), ERRORS.get(body["ends"])
        if kind is None:
            late = due == "DeadlineExceeded" and self.trouble  # done before the store took the deadline's answer
            return (due is None or late) and answer["data"]["value"] == value(body)
        if kind in (due, "AttemptsExhausted"):
            return True  # whether they died is told by `_deaths`
        if kind == "ConflictingRequest":
            return identity in self._schedule.overwritten
        if kind == "DeadlineExceeded":
            self.soft["deadline by a freeze or a failing store"] += 1
            return self.trouble or any(self._freezes(record.owner) for record in self._claims(identity))
        if kind == "InternalError" and self.trouble:
            self.soft["InternalError by a failing store"] += 1
            return True
        return False

    def _artifacts(self, answers: dict[str, Json]) -> Iterator[str]:
        lying = self._inventory.artifacts()
        for identity in lying.keys() | answers.keys():
            answer = answers.get(identity)
            named = answer["data"].get("artifacts", {}) if answer and answer["code"] == "OK" else {}
            for key in sorted(set(named.values()) - lying[identity]):
                yield f"artifact missing: {key}"
            for key in sorted(lying[identity] - set(named.values())):
                yield f"artifact left: {key}"
            body = self._accepted(identity)
            for name, key in named.items():
                if body is not None and key in lying[identity] and self._inventory.get(key) != content(body, name):
                    yield f"artifact wrong: {key}"

    def _conflicts(self) -> Iterator[str]:
        for identity, bodies in self._schedule.bodies.items():
            accepted = self._accepted(identity)
            if len(bodies) == 1 or accepted is None:
                continue
            for body in bodies:
                replaced = identity in self._schedule.overwritten and body is bodies[0]
                if body is accepted or replaced or not self._delivered(body):
                    continue
                key = f"results/{NAME}/{identity}/conflict-{canonical_hash(body)[:8]}.json"
                if key not in self._inventory.infos:
                    yield f"conflict missing: {key}"
                elif _error(decode(self._inventory.get(key))) != "ConflictingRequest":
                    yield f"conflict wrong: {key}"

    def _unreadable(self, answers: dict[str, Json]) -> Iterator[str]:
        refused = {answer["data"]["manifest"]: _error(answer) for answer in answers.values() if _names(answer)}
        for key in self._schedule.unreadable:
            if refused.pop(key, None) not in ("InvalidManifest", "ManifestTooLarge"):
                yield f"unanswered: unreadable {key}"
        for key in refused.keys() - self._schedule.slow:
            if self.lag < STARVED and not self.trouble:
                yield f"refused: {key} was whole"

    def _pointers(self, answers: dict[str, Json]) -> Iterator[str]:
        """Each names the answer of the latest moment, and every moment is what the store's clock said then.

        So whoever began to commit after an answer was there is newer than it, whatever the workers' clocks say.
        """
        made: dict[str, dict[str, float]] = defaultdict(dict)
        for identity, answer in answers.items():
            if answer["code"] == "OK" and answer["data"]["user_id"]:
                committed = answer["data"]["committed"]
                lies = self._inventory.infos[f"results/{NAME}/{identity}/result.json"].modified
                if committed > lies + STORE_SECONDS:
                    yield f"pointer: {identity} says {committed}, and was there at {lies}"
                made[answer["data"]["user_id"]][answer["data"]["value"]] = committed
        for user, values in made.items():
            key = f"users/{user}/model.json"
            said = decode(self._inventory.get(key))["value"] if key in self._inventory.infos else ""
            if values.get(said) != max(values.values()):
                yield f"pointer: {key} is of {values.get(said)}, the newest is of {max(values.values())}"

    def _events(
        self,
        answers: dict[str, Json],
        posts: list[tuple[str, dict[str, str], bytes]],
        told: list[Json] | None,
    ) -> Iterator[str]:
        due = {}
        for identity, answer in answers.items():
            event = completion_event(NAME, answer, self._address, f"results/{NAME}/{identity}/result.json")
            due[event["id"]] = _lasting(event)
        sent = [json.loads(body) for _, _, body in posts]
        places = {"webhook": [event for event in sent if event["source"] == f"/photog/{NAME}"]}
        keys = self._inventory.below(f"notifications/{NAME}/")
        places["notifications"] = [decode(self._inventory.get(key)) for key in keys]
        if told is not None:
            places["topic"] = [event for event in told if event["source"] == f"/photog/{NAME}"]
        for place, events in places.items():
            got = {event["id"]: _lasting(event) for event in events}
            for identity in due.keys() - got.keys():
                yield f"event missing: {place} was not told of {due[identity]['subject']}"
            for identity, event in got.items():
                if due.get(identity) != event:
                    yield f"event wrong: {place} was told {event}"
            self.soft[f"events repeated to {place}"] += len(events) - len(got)
        signer = standardwebhooks.Webhook(SECRET.encode())
        for _, headers, body in posts:
            moment = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
            if signer.sign(headers["webhook-id"], moment, body.decode()) != _signature(headers):
                yield f"signature: of {headers['webhook-id']}"

    def _usage(self, answers: dict[str, Json]) -> Iterator[str]:
        """What each answer has used is recorded once, and nothing else is; a request has one slot of each user."""
        due = {record.key for answer in answers.values() for record in records_of(NAME, answer)}
        below = self._inventory.below("usage/")
        there = {key for key in below if (record := parse_record(key)) is not None and record.function == NAME}
        yield from (f"usage missing: {key}" for key in due - there)
        yield from (f"usage of no answer: {key}" for key in there - due)
        slots = [key for key in below if f"/slots/{NAME}-" in key]
        whose = Counter((key.split("/")[2], decode(self._inventory.get(key))["request_id"]) for key in slots)
        yield from (f"two slots: {user} for {identity}" for (user, identity), count in whose.items() if count > 1)
        self.soft["records of usage"] += len(there)
        self.soft["slots of quotas"] += len(slots)

    def _residue(self) -> Iterator[str]:
        self.soft["probes of workers that were killed at their start"] += len(self._inventory.below("probes/"))
        for key in self._inventory.infos:
            if key.startswith(TRANSIENT):
                yield f"left: {key}"

    def _deaths(self, answers: dict[str, Json]) -> Iterator[str]:
        """Nobody counts as dead who was not."""
        taken: Counter[str] = Counter()
        for identity, answer in answers.items():
            claims = self._claims(identity)
            lost = [record.owner for record in claims[:-1] if not (record.released or record.ended)]
            taken.update(lost)
            living = [owner for owner in lost if not self._excuses(owner)]
            if _error(answer) == "AttemptsExhausted":
                self.soft["attempts exhausted"] += 1
                if living and self.lag < STARVED:
                    yield f"false death: {identity} says {answer['message']!r}, and {living} lived"
        for owner, count in taken.items():
            self.soft["claims taken over"] += count
            # one accident costs what runs, and what is being published beside it
            if count > MOST * self._excuses(owner) and not self.trouble and self.lag < STARVED:
                yield f"false death: {owner} lost {count} claims, and had {self._excuses(owner)} accidents"

    def _excuses(self, owner: str) -> int:
        member = self._crew.of(owner)
        return 0 if member is None else ("killed" in member.harms) + len(_long(member))

    def _freezes(self, owner: str) -> list[float]:
        member = self._crew.of(owner)
        return [] if member is None else _long(member)

    def _claims(self, identity: str) -> list:
        return self._inventory.claims(identity)

    def _accepted(self, identity: str) -> Json | None:
        """The body that the first claim took; None for manifests without an id."""
        first = self._inventory.claims(identity)[:1]
        for body in self._schedule.bodies.get(identity, []):
            if first and first[0].payload_sha256 == canonical_hash(body):
                return body
        return None

    def _delivered(self, body: Json) -> bool:
        """Whether the workers were told of a manifest with this body; a scan tells of all."""
        return self._schedule.kind != "cloud" or any(
            one.events for one in self._schedule.deliveries if one.body is body
        )


def _error(answer: Json) -> str | None:
    return answer["data"]["error"]["type"] if answer["code"] == "error" else None


def _names(answer: Json) -> bool:
    return answer["code"] == "error" and "manifest" in answer["data"]


def _error_names(kind: type) -> set[str]:
    below: list[type] = kind.__subclasses__()
    return {kind.__name__}.union(*(_error_names(one) for one in below))


def _long(member: Member) -> list[float]:
    return [seconds for seconds in member.freezes if seconds >= STALE]


def _lasting(event: Json) -> Json:
    """An event without what may differ from one sending to the next."""
    return {name: told for name, told in event.items() if name != "time"}


def _signature(headers: dict[str, str]) -> str:
    return headers["webhook-signature"]
