"""The workers of one schedule: started through the zygote, hit, thawed, restarted as a supervisor would."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shared.contract.manifests import Json
from tests.scenario.chaos.schedule import Schedule, Start
from tests.scenario.chaos.zygote import START_FAILED

RESTART_SECONDS = 0.2
ROOT = Path(__file__).parents[3]


class Zygote:
    """The other side of `zygote.py`; a context manager."""

    def __enter__(self) -> "Zygote":
        ours, theirs = socket.socketpair()
        # with an option that `tests.zygotes` does not know: if it were forked, its twin would be taken for an orphan
        command = [sys.executable, "-X", "faulthandler", "-m", "tests.scenario.chaos.zygote", str(theirs.fileno())]
        self._process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()])
        theirs.close()
        self._channel, self._replies = ours, ours.makefile("rb")
        return self

    def __exit__(self, *exception: object) -> None:
        self._replies.close()
        self._channel.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def start(self, spec: Json) -> int:
        """A worker process; its id."""
        return self._ask(spec | {"do": "start"})

    def changes(self) -> list[tuple[int, int]]:
        """(pid, wait status) of what has ended or stopped since."""
        return [(pid, status) for pid, status in self._ask({"do": "reap"})]

    def children(self) -> set[int]:
        """Every process that lives below it, orphans of dead workers included."""
        listed = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return {int(pid) for pid in listed.split()}

    def _ask(self, command: Json) -> Any:
        self._channel.sendall(json.dumps(command).encode() + b"\n")
        return json.loads(self._replies.readline())


@dataclass
class Member:
    """One worker process and what it suffered; times are of the monotonic clock."""

    number: int
    place: int
    pid: int
    harms: list[str] = field(default_factory=list)
    status: int | None = None
    ended: float = 0.0
    stopped: float | None = None
    thaw: float = 0.0
    freezes: list[float] = field(default_factory=list)  # how long each was
    ready: bool = False  # asked to stop, by itself, as soon as it has made a request ready

    @property
    def lives(self) -> bool:
        return self.status is None


class Crew:
    """So many places for workers, each filled again when its worker has gone.

    Args:
        spec: what all of them start with: bucket, settings, function; the log's folder as `logs`.
        trace: told of everything that happens.
    """

    def __init__(self, zygote: Zygote, schedule: Schedule, spec: Json, trace: Callable[..., None]) -> None:
        self._zygote, self._schedule, self._spec, self._trace = zygote, schedule, spec, trace
        self.members: list[Member] = []
        self._holding = True
        self.healing = False

    def fill(self) -> None:
        """Start a worker wherever none is, a moment after the last one went."""
        for place in range(self._schedule.workers):
            before = [member for member in self.members if member.place == place]
            if not before or (not before[-1].lives and time.monotonic() - before[-1].ended > RESTART_SECONDS):
                self._start(place)

    def hit(self, kind: str, place: int, seconds: float) -> None:
        """Kill, freeze for so long, or terminate the worker at a place, if there is one in good health."""
        found = [one for one in self.members if one.place == place and one.lives and one.stopped is None]
        if not found:
            return
        number = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP, "terminate": signal.SIGTERM}[kind]
        found[0].harms.append(kind)
        found[0].thaw = time.monotonic() + seconds
        os.kill(found[0].pid, number)

    def look(self) -> None:
        """Learn who ended or stopped; wake who was frozen for long enough."""
        now = time.monotonic()
        for pid, status in self._zygote.changes():
            for member in self.members:
                if member.pid == pid and member.lives:
                    self._changed(member, status, now)
        for member in self.members:
            if member.lives and member.stopped is not None and now >= member.thaw:
                member.freezes.append(now - member.stopped)
                member.stopped = None
                os.kill(member.pid, signal.SIGCONT)
                self._trace("thawed", worker=member.number, seconds=round(member.freezes[-1], 2))

    def heal(self) -> None:
        """No more harm: wake everybody now; whoever starts from here on starts well."""
        self.healing = True
        for member in self.members:
            member.thaw = 0.0

    def dismiss(self, seconds: float) -> list[str]:
        """Terminate all; what was wrong with how they ended."""
        for member in self.members:
            if member.lives:
                member.harms.append("terminate")
                os.kill(member.pid, signal.SIGTERM)
        until = time.monotonic() + seconds
        while any(member.lives for member in self.members) and time.monotonic() < until:
            self.look()
            time.sleep(0.02)
        late = [member for member in self.members if member.lives]
        for member in late:
            os.kill(member.pid, signal.SIGKILL)
        return [f"worker {member.number} did not stop within {seconds:.0f} s of SIGTERM" for member in late]

    def accidents(self) -> list[str]:
        """Workers that ended otherwise than they were made to."""
        return [
            f"worker {member.number} ended by itself with {_told(member.status)}"
            for member in self.members
            if member.status is not None and not _expected(member, self._schedule)
        ]

    def stopped_when_ready(self) -> int:
        """How many workers have ended because they had made a request ready; to be asked before the others end."""
        return sum(member.ready and member.status == 0 for member in self.members)

    def orphans(self) -> set[int]:
        """Processes that workers left behind."""
        return self._zygote.children()

    def of(self, owner: str) -> Member | None:
        """Whose claim it is."""
        pid = owner.rsplit("-", 2)[1]
        return next((member for member in self.members if str(member.pid) == pid), None)

    def _start(self, place: int) -> None:
        number = len(self.members)
        begin = Start() if self.healing else self._schedule.start(number)
        log = str(Path(self._spec["logs"]) / f"worker-{number}.log")
        stop = asdict(begin.breakpoint) if begin.breakpoint else None
        ready = begin.stop_when_ready
        pid = self._zygote.start(
            self._spec | {"log": log, "breakpoint": stop, "clock": begin.clock, "stop_when_ready": ready}
        )
        self.members.append(Member(number, place, pid, ["terminate"] if ready else [], ready=ready is not None))
        self._trace("started", worker=number, place=place, pid=pid, breakpoint=stop, clock=begin.clock, ready=ready)

    def _changed(self, member: Member, status: int, now: float) -> None:
        if os.WIFSTOPPED(status):
            if "freeze" not in member.harms:
                member.harms.append("freeze")
                member.thaw = now + (0 if self.healing else 2.6)
            member.stopped = now
            self._trace("frozen", worker=member.number)
            return
        member.status, member.ended = status, now
        if os.WIFSIGNALED(status):
            member.harms.append("killed")
        self._trace("ended", worker=member.number, how=_told(status))


def _expected(member: Member, schedule: Schedule) -> bool:
    status = member.status or 0
    if os.WIFSIGNALED(status):
        # ours, its own at a breakpoint, or as its request asked; terminated before it had come to listen
        return os.WTERMSIG(status) == signal.SIGKILL or "terminate" in member.harms
    return os.WEXITSTATUS(status) == START_FAILED or (status == 0 and "terminate" in member.harms)


def _told(status: int | None) -> str:
    if status is not None and os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"exit status {os.waitstatus_to_exitcode(status or 0)}"
