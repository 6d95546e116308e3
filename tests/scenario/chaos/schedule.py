"""What one seed means: the requests and how they come, what the workers suffer, how the store behaves."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from shared.contract.manifests import Json
from tests.scenario.chaos.breakpoints import POINTS, Breakpoint
from tests.scenario.chaos.labour import NAME

KINDS = ("folder", "s3", "cloud")
REQUESTS = {"folder": 110, "s3": 36, "cloud": 36}  # ids; each call of moto costs 5 ms, of which a request takes 30
FEEDING = 4.0  # seconds in which the deliveries come
LEASE = 1.0
LARGEST = 20_000  # bytes of a manifest
REAL_EVERY = 40  # seeds: one in so many has real checks of a real picture beside the cheap requests
READY_SHARE = 0.35  # of the workers are asked to stop at the moment when they have made a request ready
APART_EVERY = 20  # seeds: one in so many has workers whose function is a process of its own, which takes a second each


@dataclass(frozen=True)
class Delivery:
    """One manifest put into the bucket.

    Attributes:
        at: seconds after the start.
        manner: "whole", "slow" (half of it, then the rest), "hollow" (an empty object first), "dated" (an old mtime).
        events: seconds after the put at which the queue is told; none where the event is lost.
    """

    at: float
    key: str
    text: bytes
    manner: str = "whole"
    events: tuple[float, ...] = (0.0,)
    body: Json | None = None


@dataclass(frozen=True)
class Blow:
    """What is done to a worker or to the store once there are so many answers."""

    answers: int
    kind: str  # kill, freeze, terminate of a worker; full, readonly, outage of the store
    worker: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Start:
    """How one worker process begins."""

    breakpoint: Breakpoint | None = None
    clock: tuple[float, float] = (0.0, 0.0)  # wall clock: seconds off from the start, and a step after one second
    stop_when_ready: int | None = None  # asked to stop once it has made so many requests ready


@dataclass
class Schedule:
    """All of a seed.

    Attributes:
        bodies: by id, those that were sent under it; the accepted one is answered, the others conflict.
        overwritten: ids whose first body was replaced under its own key.
        unreadable: keys of manifests that have no usable id, with their text.
        slow: keys whose first half may be taken for the whole when the machine is slow.
        weather: share of calls through the proxy that go wrong, by kind of fault.
        webhook: statuses that the endpoint answers with at first.
    """

    seed: int
    kind: str
    workers: int
    real: bool
    apart: bool
    bodies: dict[str, list[Json]] = field(default_factory=dict)
    overwritten: set[str] = field(default_factory=set)
    unreadable: dict[str, bytes] = field(default_factory=dict)
    slow: set[str] = field(default_factory=set)
    deliveries: list[Delivery] = field(default_factory=list)
    blows: list[Blow] = field(default_factory=list)
    weather: dict[str, float] = field(default_factory=dict)
    webhook: list[int] = field(default_factory=list)

    def start(self, number: int) -> Start:
        """How the worker that is started as the nth begins."""
        chance = random.Random(f"{self.seed}/start/{number}")
        clock = chance.choice([(0.0, 0.0), (3600.0, 0.0), (-86_400.0, 0.0), (0.0, -30.0), (0.0, 3e7)])
        stop = _breakpoint(chance) if chance.random() < 0.5 else None
        ready = random.Random(f"{self.seed}/ready/{number}")  # apart, so that a seed's other draws stay as they were
        return Start(stop, clock, ready.randint(1, 4) if ready.random() < READY_SHARE else None)


def make(kind: str, seed: int, requests: int | None = None) -> Schedule:
    """The schedule of a seed."""
    chance = random.Random(f"{kind}/{seed}")
    made = Schedule(seed, kind, chance.choice((2, 3, 3)), seed % REAL_EVERY == 1, seed % APART_EVERY == 6)
    for number in range(requests or REQUESTS[kind]):
        _add_request(made, chance, f"r{number}")
    for number in range(chance.randint(2, 5)):
        _add_unreadable(made, chance, number)
    made.deliveries.sort(key=lambda delivery: (delivery.at, delivery.key))
    made.blows = sorted(_blows(made, chance), key=lambda blow: (blow.answers, blow.kind, blow.worker))
    made.weather = _weather(chance)
    made.webhook = [chance.choice((500, 503, 429, 404, 204, 301)) for _ in range(chance.randint(0, 6))]
    return made


def _add_request(made: Schedule, chance: random.Random, identity: str) -> None:
    body = _body(chance, identity)
    made.bodies[identity] = [body]
    for copy in range(chance.choice((1, 1, 1, 2, 3))):
        made.deliveries.append(_delivery(made, chance, f"{_folder(chance)}{identity}-{copy}.json", body))
    if chance.random() < 0.08:
        other = _body(chance, identity)
        made.bodies[identity].append(other)
        if chance.random() < 0.25:
            made.overwritten.add(identity)
            place = next(at for at, one in enumerate(made.deliveries) if one.key.endswith(f"/{identity}-0.json"))
            made.deliveries[place] = replace(made.deliveries[place], manner="whole")
            name = made.deliveries[place].key.removeprefix(f"requests/{NAME}/")
        else:
            name = f"other/{identity}.json"
        made.deliveries.append(_delivery(made, chance, name, other))


def _body(chance: random.Random, identity: str) -> Json:
    ends = chance.choices(
        ("ok", "refused", "unsuitable", "raises", "unsayable", "hangs", "dies"), (80, 6, 4, 4, 2, 0.6, 0.6)
    )[0]
    seconds = chance.choices((0.0, chance.uniform(0.02, 0.2), chance.uniform(2.2, 3.0)), (70, 28, 1.5))[0]
    artifacts = {f"{letter}.bin": chance.randint(1, 200) for letter in "abc"[: chance.choice((0, 0, 1, 3))]}
    body = {
        "request_id": identity,
        "value": chance.randrange(10**9),
        "ends": ends,
        "seconds": 0.1 if ends == "dies" else seconds,
        "steps": max(1, round(seconds / 0.1)),
        "artifacts": artifacts,
    }
    pointed = {"user_id": f"u{chance.randrange(4)}"} if chance.random() < 0.4 else {}
    # the fields that train requires: before a slot of a quota is taken, a worker looks at them
    fields = {"images": ["photos/1.jpg"], "configure": {"user_id": pointed.get("user_id", "crew")}}
    return body | pointed | fields


def _delivery(made: Schedule, chance: random.Random, name: str, body: Json) -> Delivery:
    text = chance.choice((json.dumps, lambda one: json.dumps(one, indent=2, sort_keys=True), repr))(body).encode()
    manner = chance.choices(("whole", "slow", "hollow", "dated"), (75, 8, 8, 9))[0]
    key = f"requests/{NAME}/{name}"
    if manner == "slow" and made.kind == "folder":
        made.slow.add(key)
    at = chance.uniform(0, FEEDING)
    if any(one.key == key for one in made.deliveries):  # the second body under one key comes second
        at, manner = at + FEEDING + 1, "whole"
    events = [chance.choice((0.0, 0.0, chance.uniform(0, 2))) for _ in range(chance.choice((0, 1, 1, 1, 1, 2, 3)))]
    return Delivery(at, key, text, manner, tuple(events), body)


def _add_unreadable(made: Schedule, chance: random.Random, number: int) -> None:
    mark = chance.randrange(10**9)
    text = chance.choice(
        [
            f"this is no json {mark}".encode(),
            b"\xff\xfe\x00" + str(mark).encode(),
            json.dumps({"value": mark}).encode(),
            json.dumps({"request_id": f"../{mark}"}).encode(),
            json.dumps([mark]).encode(),
            json.dumps({"request_id": f"large{mark}", "x": "x" * LARGEST}).encode(),
        ]
    )
    key = f"requests/{NAME}/{_folder(chance)}unreadable-{number}.json"
    made.unreadable[key] = text
    made.deliveries.append(Delivery(chance.uniform(0, FEEDING), key, text))


def _folder(chance: random.Random) -> str:
    return chance.choice(("", "", "sub/", f"deep/er/{chance.randrange(3)}/", "with space/"))


def _blows(made: Schedule, chance: random.Random) -> Iterator[Blow]:
    last = round(0.85 * len(made.bodies))
    for kind, most in (("kill", 4), ("freeze", 2), ("terminate", 2)):
        for _ in range(chance.randint(0, most)):
            seconds = chance.uniform(0.3, 3.2) * LEASE
            yield Blow(chance.randint(0, last), kind, chance.randrange(made.workers), seconds)
    kinds = ("full", "readonly") if made.kind == "folder" else ("outage", "readonly")
    for kind in kinds:
        if chance.random() < 0.4:
            yield Blow(chance.randint(0, last), kind, seconds=chance.uniform(0.2, 3.0))


def _weather(chance: random.Random) -> dict[str, float]:
    """Mostly fair; some days everything goes wrong a little, some days one thing does much."""
    kinds = ("error", "busy", "lost", "late", "cut", "delay", "undecided", "refused")
    worst: str  # drawn last, so that the draws of a seed stay in their order
    day: Callable[[str], float] = chance.choice(
        [
            lambda kind: 0.0,
            lambda kind: 0.005,
            lambda kind: 0.01 if kind != "late" else 0.002,
            lambda kind: 0.06 if kind == worst else 0.001,
        ]
    )
    worst = chance.choice(kinds)
    return {kind: day(kind) for kind in kinds}


def _breakpoint(chance: random.Random) -> Breakpoint:
    point = chance.choice(sorted(POINTS))
    how = chance.choices(("kill", "freeze"), (3, 1))[0]
    return Breakpoint(point, chance.randint(1, 6), chance.random() < 0.5, how)
