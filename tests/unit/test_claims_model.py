"""Every interleaving of two and three owners of one request, on the real claims: each call of the bucket is a step.

An owner is a procedure whose only input is what its bucket and its clock answer. So it can be taken to any point by
running it again on the answers that it has had: no threads, and two histories that led to the same answers and the
same bucket are one state. A crash is an owner that takes no further step, so it is in here at every point. Clocks are
free: whoever has looked twice at the same beat may or may not find that two leases have passed, whether its owner
lives or not.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from shared.buckets import Bucket, MemoryBucket, MissingObject, ObjectInfo
from shared.lifecycle import claims as module
from shared.lifecycle.claims import AttemptsUsedUp, ClaimBusy, ClaimRecord, Claims, HeldClaim
from shared.settings import Lease

LEASE = Lease(seconds=1.0, attempts=2, drain_seconds=1.0)
RESULT = "results/check/r/result.json"
FIRST = "claims/check/r/000001.json"
LONG = 10.0  # seconds by which a clock may jump: more than two leases
ENOUGH = 8  # rounds in which a worker that is left alone must have answered

Objects = tuple[tuple[str, bytes], ...]
Call = tuple[str, tuple[Any, ...]]
Answers = tuple[Any, ...]


@dataclass(frozen=True)
class Fact:
    """What an owner knows for certain: that it claimed an attempt, or that its answer is the one.

    Attributes:
        lost: attempts that had ended without an answer when it claimed, as far as it saw.
    """

    kind: str
    attempt: int
    lost: int = 0
    answer: bytes = b""


Procedure = Callable[["Search", "World", str], None]


class Pending(BaseException):
    """Raised where the owner needs its next answer; ends its run, as the product catches it nowhere."""

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

    def get(self, key: str, largest: int | None = None) -> bytes:
        return self.ask("get", key)

    find = Bucket.find

    def put(self, key: str, data: bytes) -> None:
        self.ask("put", key, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        return self.ask("put_if_absent", key, data)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        yield from self.ask("list", prefix)

    def head(self, key: str) -> ObjectInfo | None:
        return self.ask("head", key)


CHOICES: dict[str, tuple[Any, ...]] = {"clock": (0.0, LONG), "ends": ("publish", "beat", "release", "end")}


@dataclass(frozen=True)
class Point:
    """An owner's state: the answers that it has had, its next call (None if it is done), and what it knows."""

    name: str
    history: Answers
    call: Call | None
    facts: tuple[Fact, ...]
    hasty: bool  # its clock has jumped, or it gave a claim up
    after: dict[Any, int] = field(default_factory=dict)  # the next point, by answer


class Search:
    """All states that owners and others can reach; a state is the number of a bucket's content and one of each point.

    Args:
        procedures: by name; each is called with a World until it returns.
        rounds: how often an owner tries to have the request.
        ends: how its work may end.
    """

    def __init__(self, procedures: dict[str, Procedure], rounds: int, ends: tuple[str, ...] = CHOICES["ends"]) -> None:
        self.rounds, self._procedures, self._ends = rounds, procedures, ends
        self.buckets: list[Objects] = [()]
        self.states = 0
        self.facts: list[Fact] = []
        self._numbers: dict[Objects, int] = {(): 0}
        self._points: list[Point] = []
        self._performed: dict[tuple[Call, int], tuple[Any, int]] = {}

    def run(self) -> "Search":
        """Visit every state once."""
        start = (0, *(self._point(name, ()) for name in sorted(self._procedures)))
        seen, todo = {start}, [start]
        while todo:
            state = todo.pop()
            self.states += 1
            check(self.buckets[state[0]], [self._points[place] for place in state[1:]])
            for moved in self._moves(state):
                if moved not in seen:
                    seen.add(moved)
                    todo.append(moved)
        return self

    def next(self, name: str, history: Answers) -> tuple[Call | None, list[Fact]]:
        """Return the next call of an owner with this history, None if it is done; and what it knows."""
        self.facts = []
        try:
            self._procedures[name](self, World(history), name)
        except Pending as wanted:
            return wanted.call, self.facts
        return None, self.facts

    def _moves(self, state: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        bucket, *places = state
        for index, place in enumerate(places):
            point = self._points[place]
            if point.call is None:
                continue
            for answer, content in self._answers(point.call, bucket):
                if answer not in point.after:
                    point.after[answer] = self._point(point.name, (*point.history, answer))
                yield content, *places[:index], point.after[answer], *places[index + 1 :]

    @property
    def kinds(self) -> set[str]:
        """Return the kinds of facts that any owner learned."""
        return {fact.kind for point in self._points for fact in point.facts}

    def _point(self, name: str, history: Answers) -> int:
        call, facts = self.next(name, history)
        hasty = any(answer in (LONG, "release", "end") for answer in history)
        self._points.append(Point(name, history, call, tuple(facts), hasty))
        return len(self._points) - 1

    def _answers(self, call: Call, bucket: int) -> Iterable[tuple[Any, int]]:
        name = call[0]
        if name in CHOICES:
            return [(choice, bucket) for choice in (self._ends if name == "ends" else CHOICES[name])]
        if (call, bucket) not in self._performed:
            answer, objects = perform(call, self.buckets[bucket])
            if objects not in self._numbers:
                self._numbers[objects] = len(self.buckets)
                self.buckets.append(objects)
            self._performed[call, bucket] = answer, self._numbers[objects]
        return [self._performed[call, bucket]]


def perform(call: Call, objects: Objects) -> tuple[Any, Objects]:
    """Make one call on a real bucket in memory; returns its answer, and the objects after it."""
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
    """Equal to any other with the same message, so that histories can be compared."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Missing) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def serve(search: Search, world: World, name: str) -> None:
    """Serve like `invocation.py`: look for the answer, claim, look again, work, publish."""
    claims = Claims(cast(Bucket, world), "check", LEASE, name, world.clock)
    for _ in range(search.rounds):
        if world.head(RESULT) is not None:
            return
        claim = claims.acquire_first("r", "requests/check/r.json", "body") or claims.acquire(
            "r", "requests/check/r.json", "body"
        )
        if isinstance(claim, ClaimBusy):
            continue
        lost = sum(not one.released for one in claim.earlier) if isinstance(claim, AttemptsUsedUp) else 0
        search.facts.append(Fact(type(claim).__name__, claim.record.attempt, lost))
        if world.head(RESULT) is not None:
            return
        if isinstance(claim, AttemptsUsedUp):
            publish(search, world, name, b"exhausted")
            return
        work(search, world, name, claims, claim)


def work(search: Search, world: World, name: str, claims: Claims, claim: HeldClaim) -> None:
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
        search.facts.append(Fact("published", 0, answer=answer))


def forget(search: Search, world: World, name: str) -> None:
    """Erase the user of the request while it runs."""
    publish(search, world, name, b"forgotten")
    Claims(cast(Bucket, world), "check", LEASE, name, world.clock).supersede("r")


def vandal(search: Search, world: World, name: str) -> None:
    """Damage the first claim whenever it exists."""
    if world.head(FIRST) is not None:
        world.put(FIRST, b"\x00 no claim")


def records(objects: Objects) -> dict[int, ClaimRecord | None]:
    """Return a bucket's claims by number; None for one that cannot be read."""
    found: dict[int, ClaimRecord | None] = {}
    for key, data in objects:
        if key.startswith("claims/"):
            number = int(key.rpartition("/")[2].removesuffix(".json"))
            found[number] = ClaimRecord.model_validate_json(data) if data.startswith(b"{") else None
    return found


def answers_alone(objects: Objects) -> bool:
    """Return whether a new worker, all alone, reaches an answer."""
    search = Search({"last": serve}, ENOUGH)
    history: Answers = ()
    while (call := search.next("last", history)[0]) is not None:
        answer = {"clock": LONG, "ends": "publish"}.get(call[0])
        if answer is None:
            answer, objects = perform(call, objects)
        history = (*history, answer)
    return any(key == RESULT for key, _ in objects)


def check(objects: Objects, owners: list[Point]) -> None:
    """Check what must hold in every state, whoever has crashed in it."""
    facts = [fact for owner in owners for fact in owner.facts]
    attempts = [fact.attempt for fact in facts if fact.kind != "published"]
    assert len(attempts) == len(set(attempts)), f"two own one attempt: {facts}"
    published = [fact.answer for fact in facts if fact.kind == "published"]
    assert published == [data for key, data in objects if key == RESULT][: len(published)], f"two answers: {facts}"
    for fact in facts:
        assert fact.kind != "AttemptsUsedUp" or fact.lost >= LEASE.attempts, f"given up too early: {fact}"
    given_up = any(owner.hasty for owner in owners) or any(b'"released":true' in data for _, data in objects)
    assert given_up or len(attempts) <= 1, f"two at work, and nobody was late: {facts}"


SCENARIOS = {
    "two owners": ({"a": serve, "b": serve}, 2, CHOICES["ends"]),
    "three owners": ({"a": serve, "b": serve, "c": serve}, 2, ("publish",)),
    "two owners and one who forgets": ({"a": serve, "b": serve, "f": forget}, 2, ("publish", "beat")),
    "two owners and a damaged claim": ({"a": serve, "b": serve, "v": vandal}, 2, ("publish",)),
}
LONGER = {
    "two owners who try longer": ({"a": serve, "b": serve}, 3, ("end", "publish")),
    "two owners and a damaged claim, longer": ({"a": serve, "b": serve, "v": vandal}, 2, ("publish", "release")),
}


@pytest.fixture(autouse=True)
def _determined(monkeypatch):
    """Make nonces and wall clocks repeat whenever an owner's history is run again."""
    monkeypatch.setattr(module.secrets, "token_hex", lambda size: "nonce")
    monkeypatch.setattr(time, "time", lambda: 0.0)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_interleaving_of_owners_breaks_the_protocol(scenario):
    explore(scenario, *SCENARIOS[scenario])


@pytest.mark.slow
@pytest.mark.parametrize("scenario", LONGER)
def test_no_longer_interleaving_either(scenario):
    explore(scenario, *LONGER[scenario])


def test_the_search_finds_owners_that_overwrite_each_other(monkeypatch):
    monkeypatch.setattr(World, "put_if_absent", lambda world, key, data: world.put(key, data) or True)
    with pytest.raises(AssertionError, match=r"two own one attempt|two answers"):
        explore("two owners", *SCENARIOS["two owners"])


def test_a_request_is_given_up_after_as_many_lost_attempts_as_are_allowed():
    assert "AttemptsUsedUp" in explore("two owners", *SCENARIOS["two owners"])


def explore(scenario: str, procedures: dict[str, Procedure], rounds: int, ends: tuple[str, ...]) -> set[str]:
    """Search, and check every bucket that was found; returns what the owners learned."""
    began = time.perf_counter()
    search = Search(procedures, rounds, ends).run()
    seconds = time.perf_counter() - began
    sys.stdout.write(f"{scenario}: {search.states} states, {len(search.buckets)} buckets, {seconds:.1f} s\n")
    for objects in search.buckets:
        numbered = records(objects)
        assert sorted(numbered) == list(range(1, len(numbered) + 1)), "attempts are numbered without a gap"
        assert answers_alone(objects), f"nobody can answer from {objects}"
    return search.kinds
