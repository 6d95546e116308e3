"""Workers that outlive their command: one per bucket and function, found by the next command, gone by themselves."""

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from shared.buckets import FolderBucket
from shared.errors import ConfigurationError
from shared.runtime import seat, supervisor
from shared.runtime.seat import Holder, Seat, SeatTaken, Vacancy, makeup, seat_of
from shared.runtime.supervisor import Supervisor
from shared.runtime.warm_worker import WarmWorker
from shared.runtime.worker import Worker
from shared.settings import Settings
from tests.echo import Echo, until

ROOT = Path(__file__).parents[2]
SITS = (
    "import signal, sys, time\n"
    f"sys.path.insert(0, {str(ROOT)!r})\n"
    "from shared.runtime.seat import seat_of\n"
    "ended = []\n"
    "signal.signal(signal.SIGTERM, lambda number, frame: ended.append(number))\n"
    "with seat_of({function!r}, {address!r}).take() as tell:\n"
    "    tell('ready')\n"
    "    print('a line of its log', file=sys.stderr, flush=True)\n"
    "    while not ended: time.sleep(0.01)\n"
)  # a worker without its function


@pytest.fixture(autouse=True)
def own_seats(tmp_path, monkeypatch):
    """Seats of this test's own."""
    monkeypatch.setattr(seat.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(seat, "PAUSE_SECONDS", 0.01)


@pytest.fixture
def crew(monkeypatch):
    """A command's workers, each a process that only sits."""

    def command(function: str, address: str, *options: str) -> list[str]:
        return [sys.executable, "-Ic", SITS.format(function=function, address=address)]

    monkeypatch.setattr("shared.runtime.warm_worker.worker_command", command)

    def make(aloud: bool = False, **environment: str) -> Supervisor:
        start = partial(WarmWorker, idle_seconds=60, aloud=aloud)
        return Supervisor("/a/bucket", ["check"], 5.0, environment, start)

    return make


def ready(watched: Supervisor) -> int:
    until(watched.ready, 30)
    return watched.processes()["check"]


def test_the_next_command_finds_the_worker_that_the_last_one_has_left(crew, capfd):
    with crew() as first:
        pid = ready(first)
        first.leave()
    with crew(aloud=True) as second:
        assert second.ready(), "at once"
        assert second.processes() == {"check": pid}
        second.check()
        second.leave()
    assert "a line" not in capfd.readouterr().err, "only what it writes from now on"
    with crew(aloud=True, PHOTOG_MODEL__PATH="another") as third:
        other = ready(third)
        assert other != pid, "it would work with other settings"
        until(lambda: third.check() or "a line of its log" in capfd.readouterr().err, 10)
        assert os.waitpid(pid, os.WNOHANG)[0] == pid, "it has ended"
        third.hand_back()
    here = seat_of("check", "/a/bucket")
    assert not here.is_held(), "an interrupted command leaves no process"
    assert not here.log.exists(), "nor what it wrote"


def test_a_worker_that_is_killed_is_replaced(crew, monkeypatch):
    monkeypatch.setattr(supervisor, "SHORTEST_PAUSE", 0.01)
    with crew() as watched:
        pid = ready(watched)
        os.kill(pid, signal.SIGKILL)
        until(lambda: watched.check() or (watched.ready() and watched.processes()["check"] != pid), 30)
        watched.hand_back()


def test_commands_with_other_settings_take_turns(crew, caplog):
    """Each once ended the other's worker, and started its own, for as long as both lasted."""
    with crew() as first:
        pid = ready(first)
        with ThreadPoolExecutor() as pool:
            coming = pool.submit(crew(PHOTOG_MODEL__PATH="another").__enter__)
            until(lambda: "waiting for its end" in caplog.text, 30)
            with crew() as same:
                assert same.processes() == {"check": pid}, "others with the same settings need not wait"
                same.leave()
            first.check()
            assert first.processes() == {"check": pid}
            assert not coming.done()
            first.leave()
            second = coming.result(30)
        assert ready(second) != pid
        second.hand_back()
        second.drain()


def test_of_two_commands_at_once_one_starts_the_worker(crew):
    with ThreadPoolExecutor() as pool:
        both = [one.result(30) for one in [pool.submit(crew().__enter__) for _ in range(2)]]
    assert len({ready(one) for one in both}) == 1
    for one in both:
        one.check()
    both[0].leave()
    both[1].hand_back()
    both[1].drain()
    assert not seat_of("check", "/a/bucket").is_held()


class TestSeat:
    def test_two_never_have_it(self, monkeypatch):
        monkeypatch.setattr(seat, "TRIES", 2)
        here = seat_of("check", "/a/bucket")
        assert not here.is_held()
        with here.take() as tell:
            assert here.holder() == Holder(os.getpid(), "loading", makeup(os.environ), ())
            with pytest.raises(SeatTaken), here.take():
                pass
            tell("ready")
            assert here.holder().state == "ready"
            assert not seat_of("train", "/a/bucket").is_held()
            assert not seat_of("check", "/another").is_held()
        assert here.holder() is None

    def test_a_worker_suits_whoever_would_start_the_same_one(self):
        stages = {"PHOTOG_GENERATE__KEEP_STAGES": "true"}
        one = Holder(1, "ready", makeup({"PHOTOG_A": "1", "EDITOR": "x"}), ("PHOTOG_GENERATE__KEEP_STAGES=true",))
        assert one.suits({"PHOTOG_A": "1", "EDITOR": "y"})
        assert one.suits({"PHOTOG_A": "1"} | stages)
        assert not one.suits({"PHOTOG_A": "2"})
        assert not Holder(1, "ready", one.makeup, ()).suits({"PHOTOG_A": "1"} | stages)
        assert not Holder(1, "ending", one.makeup, one.extras).suits({"PHOTOG_A": "1"})

    def test_a_model_that_was_replaced_where_it_lies_suits_nobody(self, tmp_path):
        (tmp_path / "base").mkdir()
        for name, value in ((tmp_path / "base/model_index.json", tmp_path / "base"), (tmp_path / "a.pth",) * 2):
            name.touch()
            settings = {"PHOTOG_A": str(value), "PHOTOG_B": "x" * 5000, "PHOTOG_C": "~no-such-user/x"}
            one = Holder(1, "ready", makeup(settings), ())
            assert one.suits(settings)
            os.utime(name, (1, 1))
            assert not one.suits(settings)

    def test_a_folder_that_others_may_open_is_refused(self, tmp_path):
        (tmp_path / f"photog-{os.getuid()}").mkdir(mode=0o777)
        (tmp_path / f"photog-{os.getuid()}").chmod(0o777)
        with pytest.raises(ConfigurationError, match="that only you can open"):
            seat_of("check", "/a/bucket")

    @pytest.mark.parametrize("made", ["a file", "a link to nothing"])
    def test_what_is_no_folder_is_refused_too(self, tmp_path, made):
        place = tmp_path / f"photog-{os.getuid()}"
        place.touch() if made == "a file" else place.symlink_to("nothing")
        with pytest.raises(ConfigurationError, match="that only you can open"):
            seat_of("check", "/a/bucket")

    def test_a_worker_whom_nobody_needs_ends(self, tmp_path):
        here, ended = Seat(tmp_path / "seat"), []
        vacancy = Vacancy(here, 100.0, lambda: ended.append(1))
        here.path.touch()
        vacancy.polled()
        os.utime(here.path, (1, 1))
        here.need()
        vacancy.polled()
        assert not ended
        os.utime(here.path, (1, 1))
        vacancy.after_request()
        vacancy.polled()
        assert not ended
        os.utime(here.path, (1, 1))
        vacancy.polled()
        assert ended


def test_an_idle_worker_ends_itself_and_leaves_its_seat(tmp_path):
    here = seat_of("check", "/a/bucket")
    bucket = FolderBucket(tmp_path / "bucket")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    Worker("check", bucket, Settings(), lambda name, settings: Echo(), seat=here, idle_seconds=0.05).run()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert not here.is_held()
    assert time.time() - here.path.stat().st_mtime < 60
