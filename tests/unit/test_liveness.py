"""When a container without a port counts as alive."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from shared.buckets import FolderBucket, MemoryBucket
from shared.contract.hooks import AttemptHook
from shared.events import ObjectCreated
from shared.lifecycle.invocation import Outcome
from shared.runtime.liveness import Liveness, Unhealthy, examine
from shared.settings import HealthSettings, Lease, Limits, Scan, Settings
from shared.triggers.folder import FolderTrigger
from shared.triggers.scan import ScanTrigger
from tests.echo import Echo, invocation

BUSY_LIMIT = 100.0 + 2 * 10.0  # the request's limit and two leases


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    health = HealthSettings(file=tmp_path / "alive", loading_seconds=50, idle_seconds=30)
    return Settings(health=health, limits=Limits(request_seconds=100), lease=Lease(seconds=10))


def in_seconds(settings: Settings, seconds: float) -> str:
    assert settings.health.file is not None
    return examine("check", settings, settings.health.file.stat().st_mtime + seconds)


def test_a_worker_that_never_started_is_not_alive(settings):
    with pytest.raises(Unhealthy, match="no worker has started"):
        examine("check", settings)


def test_loading_models_may_take_its_time_and_no_longer(settings):
    Liveness("check", settings.health.file)
    assert in_seconds(settings, 49) == "loading"
    with pytest.raises(Unhealthy, match="loading for 51 s"):
        in_seconds(settings, 51)


def test_an_idle_loop_shows_itself_by_looking_for_work(settings):
    alive = Liveness("check", settings.health.file)
    alive.polled()
    os.utime(settings.health.file, (0, 0))
    alive.polled()
    assert in_seconds(settings, 29) == "loading", "not written twice within a second"
    with pytest.raises(Unhealthy, match="loading for"):
        examine("check", settings)


def test_the_loop_is_seen_again_after_a_second_and_a_hanging_one_is_not(settings):
    now = [0.0]
    alive = Liveness("check", settings.health.file, lambda: now[0])
    now[0] = 1.0
    alive.polled()
    assert in_seconds(settings, 29) == "idle"
    with pytest.raises(Unhealthy, match="idle for 31 s, 30 s are allowed"):
        in_seconds(settings, 31)


def test_a_long_request_is_alive_until_its_deadline_has_answered_it(settings):
    seen = []

    def look(body, workspace):
        seen.append(in_seconds(settings, BUSY_LIMIT - 1))
        with pytest.raises(Unhealthy, match="busy for"):
            in_seconds(settings, BUSY_LIMIT + 1)

    bucket = MemoryBucket()
    bucket.put("requests/check/r1.json", b'{"request_id": "r1"}')
    invoked = invocation(bucket, Echo(look), hooks=[Liveness("check", settings.health.file)])
    assert invoked.receive(ObjectCreated("requests/check/r1.json")) is Outcome.ANSWERED
    assert seen == ["busy"]
    assert in_seconds(settings, 0) == "idle"


@pytest.mark.parametrize("trigger", [ScanTrigger, FolderTrigger])
def test_a_worker_without_a_request_shows_itself_between_two_looks(settings, tmp_path, trigger):
    class Clock:
        """A clock that advances two seconds at every call."""

        now = 0.0

        def __call__(self) -> float:
            self.now += 2
            return self.now

    settings.health.file.parent.mkdir(exist_ok=True)
    alive, stop, states = Liveness("check", settings.health.file, Clock()), threading.Event(), []

    class Count(AttemptHook):
        def polled(self):
            states.append(in_seconds(settings, 0))
            if len(states) == 5:
                stop.set()

    bucket = FolderBucket(tmp_path / "bucket")
    trigger(bucket, "check", Scan(seconds=60), hooks=[alive, Count()]).run(invocation(bucket, Echo()).receive, stop)
    assert set(states) == {"idle"}


def test_another_functions_file_and_a_dead_process_are_found_out(settings):
    Liveness("train", settings.health.file)
    with pytest.raises(Unhealthy, match="a worker of train, not check"):
        examine("check", settings)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(20)
    settings.health.file.write_text(f'{{"function": "check", "pid": {gone.pid}, "state": "idle"}}')
    with pytest.raises(Unhealthy, match="is gone"):
        examine("check", settings, time.time())


def test_nothing_is_written_where_no_file_is_configured():
    alive = Liveness("check", None)
    alive.before_request()
    alive.after_request()
    with pytest.raises(Unhealthy, match="PHOTOG_HEALTH__FILE"):
        examine("check", Settings())
