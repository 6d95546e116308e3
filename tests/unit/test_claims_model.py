"""Every interleaving of two and three owners of one request, on the real claims: each call of the bucket is a step.

An owner is a procedure whose only input is what its bucket and its clock answer. So it can be taken to any point by
running it again on the answers that it has had: no threads, and two histories that led to the same answers and the
same bucket are one state. A crash is an owner that takes no further step, so it is in here at every point. Clocks are
free: whoever has looked twice at the same beat may or may not find that two leases have passed, whether its owner
lives or not.
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from shared import claims as module
from shared.buckets import MemoryBucket, MissingObject, ObjectInfo
from shared.claims import Busy, ClaimRecord, Claims, Exhausted, Held
from shared.settings import Lease

LEASE = Lease(seconds=1.0, attempts=2, drain_seconds=1.0)
RESULT = "results/check/r/result.json"
FIRST = "claims/check/r/000001.json"
LONG = 10.0  # seconds by which a clock may jump: more than two leases
ENOUGH = 8  # rounds in which a worker that is left alone must have answered

Objects = tuple[tuple[str, bytes], ...]
Call = tuple[str, tuple[Any, ...]]
Answers = tuple[Any, ...]


class Pending(BaseException):
    """The owner wants its next answer; ends its run, as nothing of the product catches it."""

    def __init__(self, call: Call) -> None:
        self.call = call


class World:
    """What an owner sees: answers that it has had, then Pending. Stands for its bucket, its clock and its will."""

    def __init__(self, answers: Answers) -> None:
        self._answers = iter(answers)
        self._now = 0.0

    def ask(self, name: str, *arguments: Any) -> Any:
        for answer in self._answers:
            if isinstance(answer, MissingObject):
                raise answer
            return answer
        raise Pending((name, arguments))

    def clock(self) -> float:
        self._now += self.ask("clock")
        return self._now

    def get(self, key: str) -> bytes:
        return self.ask("get", key)

    def put(self, key: str, data: bytes) -> None:
        self.ask("put", key, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        return self.ask("put_if_absent", key, data)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        yield from self.ask("list", prefix)

    def head(self, key: str) -> ObjectInfo | None:
        return self.ask("head", key)


CHOICES: dict[str, tuple[Any, ...]] = {"clock": (0.0, LONG), "ends": ("publish", "beat", "release", "end")}


@dataclass
class Search:
    """All states that owners and others can reach.

    Args:
        procedures: by name; each is called with a World until it returns.
        rounds: how often an owner tries to have the request.
    """

    procedures: dict[str, Callable[["Search", World, str], None]]
    rounds: int
    ends: tuple[str, ...] = CHOICES["ends"]
    states: int = 0
    buckets: set[Objects] = field(default_factory=set)
    events: list[tuple[Any, ...]] = field(default_factory=list)

    def run(self) -> "Search":
        """Visit every state once."""
        names = sorted(self.procedures)
        start = ((), tuple(() for _ in names))
        seen, todo = {start}, [start]
        pending: dict[tuple[str, Answers], Call | None] = {}
        while todo:
            objects, histories = todo.pop()
            self.states += 1
            self.buckets.add(objects)
            for place, name in enumerate(names):
                history = histories[place]
                if (name, history) not in pending:
                    pending[name, history] = self._next(name, history)
                call = pending[name, history]
                if call is None:
                    continue
                for answer, after in self._answers(call, objects):
                    moved = (*histories[:place], (*history, answer), *histories[place + 1 :])
                    if (after, moved) not in seen:
                        seen.add((after, moved))
                        todo.append((after, moved))
        return self

    def _next(self, name: str, history: Answers) -> Call | None:
        """What an owner with such a history does next; None when it is done."""
        try:
            self.procedures[name](self, World(history), name)
        except Pending as wanted:
            return wanted.call
        return None

    def _answers(self, call: Call, objects: Objects) -> Iterator[tuple[Any, Objects]]:
        name, arguments = call
        if name == "ends":
            yield from ((choice, objects) for choice in self.ends)
        elif name in CHOICES:
            yield from ((choice, objects) for choice in CHOICES[name])
        else:
            yield perform(call, objects)


def perform(call: Call, objects: Objects) -> tuple[Any, Objects]:
    """One call on a real bucket in memory: its answer, and the objects after it."""
    bucket = MemoryBucket()
    for key, data in objects:
        bucket.put(key, data)
    name, arguments = call
    try:
        answer = getattr(bucket, name)(*arguments)
    except MissingObject as error:
        answer = _Missing(str(error))
    if name == "list":
        answer = tuple(ObjectInfo(info.key, info.size, "", 0.0) for info in answer)
    if name == "head" and answer is not None:
        answer = ObjectInfo(answer.key, answer.size, "", 0.0)
    after = tuple((info.key, bucket.get(info.key)) for info in bucket.list(""))
    return answer, after


class _Missing(MissingObject):
    """Equal to another of the same message, so that histories can be compared."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Missing) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def serve(search: Search, world: World, name: str) -> None:
    """A worker, as `invocation.py` is one: look for the answer, claim, look again, work, publish."""
    claims = Claims(world, "check", LEASE, name, world.clock)
    for _ in range(search.rounds):
        if world.head(RESULT) is not None:
            return
        claim = claims.acquire("r", "requests/check/r.json", "body")
        if isinstance(claim, Busy):
            continue
        search.events.append(("claimed", name, type(claim), claim.record))
        if world.head(RESULT) is not None:
            return
        if isinstance(claim, Exhausted):
            publish(search, world, name, b"exhausted")
            return
        work(search, world, name, claims, claim)


def work(search: Search, world: World, name: str, claims: Claims, claim: Held) -> None:
    """Hold the claim until the work ends in one of its ways."""
    record: ClaimRecord | None = claim.record
    ends = world.ask("ends")
    if ends == "beat":
        record = claims.beat("r", claim.record)
        if record is None:
            return  # somebody has taken over
    if ends == "release":
        claims.release("r", claim.record)
    elif ends == "end":
        claims.end("r", claim.record, "the process that worked on it died")
    else:
        publish(search, world, name, f"answer of attempt {claim.record.attempt}".encode())


def publish(search: Search, world: World, name: str, answer: bytes) -> None:
    if world.put_if_absent(RESULT, answer):
        search.events.append(("published", name, answer))


def forget(search: Search, world: World, name: str) -> None:
    """Whoever forgets the user of the request while it runs."""
    publish(search, world, name, b"forgotten")
    Claims(world, "check", LEASE, name, world.clock).supersede("r")


def vandal(search: Search, world: World, name: str) -> None:
    """Something that damages the first claim, whenever it is there."""
    if world.head(FIRST) is not None:
        world.put(FIRST, b"\x00 no claim")


def records(objects: Objects) -> dict[int, ClaimRecord | None]:
    """The claims of a bucket by number; None for one that cannot be read."""
    found: dict[int, ClaimRecord | None] = {}
    for key, data in objects:
        if key.startswith("claims/"):
            number = int(key.rpartition("/")[2].removesuffix(".json"))
            found[number] = ClaimRecord.model_validate_json(data) if data.startswith(b"{") else None
    return found


def answers_alone(objects: Objects) -> bool:
    """Whether a fresh worker to whom nobody else talks any more comes to an answer."""
    search = Search({"last": serve}, ENOUGH)
    history: Answers = ()
    while (call := search._next("last", history)) is not None:
        answer = {"clock": LONG, "ends": "publish"}.get(call[0])
        if answer is None:
            answer, objects = perform(call, objects)
        history = (*history, answer)
    return any(key == RESULT for key, _ in objects)


SCENARIOS = {
    "two owners": ({"a": serve, "b": serve}, 3, CHOICES["ends"]),
    "three owners": ({"a": serve, "b": serve, "c": serve}, 1, ("publish", "end")),
    "two owners and one who forgets": ({"a": serve, "b": serve, "f": forget}, 2, ("publish", "beat")),
    "two owners and a damaged claim": ({"a": serve, "b": serve, "v": vandal}, 2, ("publish", "release")),
}


@pytest.fixture(autouse=True)
def _determined(monkeypatch):
    """Nonces and wall clocks are the same whenever an owner's history is run again."""
    monkeypatch.setattr(module.secrets, "token_hex", lambda size: "nonce")
    monkeypatch.setattr(time, "time", lambda: 0.0)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_interleaving_of_owners_breaks_the_protocol(scenario):
    procedures, rounds, ends = SCENARIOS[scenario]
    began = time.monotonic()
    search = Search(procedures, rounds, ends).run()
    seconds = time.monotonic() - began
    sys.stdout.write(f"{scenario}: {search.states} states, {len(search.buckets)} buckets, {seconds:.1f} s\n")
    assert search.states > 1000
    for objects in search.buckets:
        numbered = records(objects)
        assert sorted(numbered) == list(range(1, len(numbered) + 1)), "attempts are numbered without a gap"
        assert answers_alone(objects), f"nobody can answer from {objects}"
    for event in search.events:
        if event[0] == "claimed":
            _, name, kind, record = event
            assert record.owner == name
