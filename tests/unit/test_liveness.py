"""When a container without a port counts as alive."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from shared.events import ObjectCreated
from shared.lifecycle.invocation import Outcome
from shared.runtime.liveness import Liveness, Unhealthy, examine
from shared.settings import HealthSettings, Lease, Limits, Settings

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


def test_an_idle_loop_shows_itself_by_asking_whether_to_stop(settings):
    stop = threading.Event()
    polled = Liveness("check", settings.health.file).polled(stop)
    assert not polled.is_set()
    os.utime(settings.health.file, (0, 0))
    assert not polled.is_set()
    assert in_seconds(settings, 29) == "loading", "not written twice within a second"
    with pytest.raises(Unhealthy, match="loading for"):
        examine("check", settings)


def test_the_loop_is_seen_again_after_a_second_and_a_hanging_one_is_not(settings):
    now = [0.0]
    polled = Liveness("check", settings.health.file, lambda: now[0]).polled(threading.Event())
    now[0] = 1.0
    polled.is_set()
    assert in_seconds(settings, 29) == "idle"
    with pytest.raises(Unhealthy, match="idle for 31 s, 30 s are allowed"):
        in_seconds(settings, 31)


def test_a_long_request_is_alive_until_its_deadline_has_answered_it(settings):
    seen = []

    def receive(created: ObjectCreated, written: bool = True) -> Outcome:
        seen.append(in_seconds(settings, BUSY_LIMIT - 1))
        with pytest.raises(Unhealthy, match="busy for"):
            in_seconds(settings, BUSY_LIMIT + 1)
        return Outcome.ANSWERED

    alive = Liveness("check", settings.health.file)
    assert alive.around(receive)(ObjectCreated("requests/check/r1.json")) is Outcome.ANSWERED
    assert seen == ["busy"]
    assert in_seconds(settings, 0) == "idle"


def test_stopping_goes_through_to_the_workers_own_wish(settings):
    stop = threading.Event()
    polled = Liveness("check", settings.health.file).polled(stop)
    assert not polled.wait(0.01)
    polled.set()
    assert stop.is_set()
    assert polled.wait(0.01)


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
    assert alive.around(lambda created, written: Outcome.IGNORED)(ObjectCreated("k")) is Outcome.IGNORED
    with pytest.raises(Unhealthy, match="PHOTOG_HEALTH__FILE"):
        examine("check", Settings())
