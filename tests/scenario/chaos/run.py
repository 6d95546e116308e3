"""One schedule from its seed to its verdict."""

import contextlib
import json
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.scenario.chaos.crew import Crew, Zygote
from tests.scenario.chaos.inventory import Inventory
from tests.scenario.chaos.judgment import Judgment
from tests.scenario.chaos.labour import NAME
from tests.scenario.chaos.real import Checks
from tests.scenario.chaos.schedule import Blow, Delivery, Schedule, make
from tests.scenario.chaos.sites import Far, FolderSite, S3Site, Site

TICK = 0.02
STALL_SECONDS = 1.5  # without a new answer, after which the next blow falls all the same
SETTLE_SECONDS = 60.0  # without any breach less, once the harm has stopped: three deaths by one message take thirty
LONGEST_SECONDS = 300.0  # to settle, however much better it gets
LOOK_SECONDS = 1.0
SWEEP_SECONDS = 3.0
END_SECONDS = 15.0  # for the workers to go


@dataclass
class Verdict:
    """How a schedule went; `breaches` is empty when all invariants hold."""

    kind: str
    seed: int
    breaches: list[str]
    seconds: float
    settled: float
    answers: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)


class Run:
    """Drives one schedule: feeds, hits, heals, waits, judges.

    Args:
        place: a folder for the bucket, if it is one, for logs and for the trace.
    """

    def __init__(self, schedule: Schedule, site: Site, zygote: Zygote, place: Path) -> None:
        self._schedule, self._site, self._place = schedule, site, place
        self._began, self._trace = time.monotonic(), list[dict[str, Any]]()
        spec: dict[str, object] = {"bucket": site.bucket.address, "settings": site.settings(NAME), "function": NAME}
        spec |= {"logs": str(place), "apart": schedule.apart}
        self._crew = Crew(zygote, schedule, spec, self._note)
        self._inventory = Inventory(site.bucket)
        self._judgment = Judgment(schedule, self._inventory, self._crew, site.bucket.address)
        self._checks = Checks(site, schedule, place, self._note) if schedule.real else None
        self._told: list[Any] = []
        self._healing_at = 0.0
        self._counts: Counter[str] = Counter()

    def run(self) -> Verdict:
        """All of it."""
        self._crew.fill()
        self._began = time.monotonic()
        try:
            self._harm()
            self._heal()
            settled, breaches = self._settle()
            self._counts["stopped when ready"] += self._crew.stopped_when_ready()
            breaches += self._crew.dismiss(END_SECONDS)
            if self._checks is not None:
                breaches += self._checks.stop()
            breaches += self._crew.accidents() + self._orphans() + sorted(set(self._site.watch.wrongs))
            if not breaches:  # what happens on the way out must leave nothing either
                breaches += self._judge()
        finally:
            self._crew.dismiss(1.0)
            self._write()
        return self._verdict(breaches, settled)

    def _harm(self) -> None:
        """Deliver everything, and let every blow fall when its number of answers is there."""
        deliveries, blows = list(self._schedule.deliveries), list(self._schedule.blows)
        last, changed = 0, time.monotonic()
        while deliveries or blows or self._site.tick():
            self._tick()
            now = time.monotonic()
            deliveries = self._feed(deliveries, now - self._began)
            answers = self._site.watch.look()
            if answers != last:
                last, changed = answers, now
            while blows and (blows[0].answers <= answers or now - changed > STALL_SECONDS):
                changed = now
                self._strike(blows.pop(0), answers)

    def _feed(self, deliveries: list[Delivery], elapsed: float) -> list[Delivery]:
        left: list[Delivery] = []
        for one in deliveries:
            if one.at > elapsed or any(earlier.key == one.key for earlier in left):
                left.append(one)
                continue
            try:
                self._site.deliver(one)
            except OSError:
                left.append(one)  # the disk is full, its sender tries again
        return left

    def _strike(self, blow: Blow, answers: int) -> None:
        self._note("blow", kind=blow.kind, worker=blow.worker, seconds=round(blow.seconds, 2), answers=answers)
        self._counts[blow.kind] += 1
        if blow.kind in ("kill", "freeze", "terminate"):
            self._crew.hit(blow.kind, blow.worker, blow.seconds)
        elif not self._healing_at and self._site.strike(blow.kind):
            self._judgment.trouble = True
            self._healing_at = time.monotonic() + blow.seconds

    def _tick(self) -> None:
        """What goes on all the time; notes by how much the machine was late."""
        begun = time.monotonic()
        time.sleep(TICK)
        self._judgment.lag = max(self._judgment.lag, time.monotonic() - begun - TICK)
        self._crew.look()
        self._crew.fill()
        if self._checks is not None:
            self._checks.look()
        if self._healing_at and time.monotonic() >= self._healing_at:
            self._healing_at = 0.0
            self._site.heal()
            self._note("healed")

    def _heal(self) -> None:
        self._note("settling")
        self._site.heal()
        self._healing_at = 0.0
        self._crew.heal()
        weather = getattr(self._site, "weather", None)
        if weather is not None:
            weather.calm = True
            self._judgment.trouble |= bool(weather.tally)
            self._counts.update({f"call {kind}": count for kind, count in weather.tally.items()})
            self._counts["calls before settling"] += weather.calls

    def _settle(self) -> tuple[float, list[str]]:
        """Wait until every invariant holds; how long it took, and what did not hold in the end."""
        began = looked = swept = better = time.monotonic()
        patience = SETTLE_SECONDS * (4 if self._checks is not None else 1)  # a face engine takes seconds to load
        breaches, least = self._judge(), len(self._schedule.bodies) * 100
        while breaches and time.monotonic() - better < patience and time.monotonic() - began < LONGEST_SECONDS:
            self._tick()
            self._site.tick()
            self._site.watch.look()
            if time.monotonic() - swept > SWEEP_SECONDS:
                self._site.sweep(NAME)
                swept = time.monotonic()
            if time.monotonic() - looked > LOOK_SECONDS:
                breaches = self._judge()
                looked = time.monotonic()
                self._note("looked", breaches=len(breaches), some=breaches[:3])
                if len(breaches) < least:
                    least, better = len(breaches), looked
        return time.monotonic() - began, breaches

    def _judge(self) -> list[str]:
        self._inventory.renew()
        self._told += self._site.topic_events()
        topic = self._told if self._site.settings(NAME)["notify"].get("sns_topic") else None
        breaches = self._judgment.breaches(list(self._site.receiver.got), topic)
        breaches += [f"left: {one}" for one in self._site.leftovers()]
        return breaches + (self._checks.breaches() if self._checks is not None else [])

    def _orphans(self) -> list[str]:
        until = time.monotonic() + 3
        while self._crew.orphans() and time.monotonic() < until:
            self._crew.look()
            time.sleep(0.05)
        return [f"orphan: process {pid} is left" for pid in self._crew.orphans()]

    def _verdict(self, breaches: list[str], settled: float) -> Verdict:
        answers: Counter[str] = Counter()
        for answer in self._inventory.answers().values():
            answers[answer["code"] if answer["code"] == "OK" else answer["data"]["error"]["type"]] += 1
        harms = Counter(harm for member in self._crew.members for harm in set(member.harms))
        self._counts.update({"workers": len(self._crew.members), "died": harms["killed"], "frozen": harms["freeze"]})
        self._counts.update({"deliveries": len(self._schedule.deliveries), **self._judgment.soft})
        self._counts["machine too slow to judge deaths"] += self._judgment.lag >= 1.0
        seconds = time.monotonic() - self._began
        return Verdict(self._schedule.kind, self._schedule.seed, breaches, seconds, settled, answers, self._counts)

    def _note(self, what: str, **more: Any) -> None:
        self._trace.append({"at": round(time.monotonic() - self._began, 3), "what": what} | more)

    def _write(self) -> None:
        text = "".join(json.dumps(line) + "\n" for line in self._trace)
        (self._place / "trace.jsonl").write_text(text)


def run(
    kind: str,
    seed: int,
    zygote: Zygote,
    far: Far | None,
    folder: Path,
    mounts: bool,
    requests: int | None = None,
    keep: bool = False,
) -> Verdict:
    """The verdict on one seed; the logs of a good one are thrown away, those of a bad one stay in `folder`."""
    schedule = make(kind, seed, requests)
    place = folder / f"{kind}-{seed}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    site: FolderSite | S3Site
    if kind == "folder":
        site = FolderSite(schedule, place / "disk", mounts)
    else:
        assert far is not None
        site = S3Site(schedule, far, queues=kind == "cloud")
    try:
        verdict = Run(schedule, site, zygote, place).run()
        if verdict.breaches or keep:
            (place / "breaches.txt").write_text("\n".join(verdict.breaches) + "\n")
            _keep(site, place)
    finally:
        site.close()
    if not (verdict.breaches or keep):
        shutil.rmtree(place, ignore_errors=True)
    return verdict


def _keep(site: Site, place: Path) -> None:
    """A copy of the bucket beside the logs."""
    for info in site.bucket.list(""):
        path = place / "bucket" / info.key
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            path.write_bytes(site.bucket.get(info.key))
