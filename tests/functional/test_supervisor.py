"""`photog up` and workers that die; files in the current directory stop none."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.buckets import MemoryBucket
from shared.events import ObjectCreated
from shared.lifecycle.invocation import Invocation, Outcome
from shared.lifecycle.shutdown import Shutdown
from shared.runtime import supervisor
from shared.runtime.isolation import IsolatedFunction
from shared.runtime.supervisor import Supervisor, WorkerGivenUp
from shared.runtime.worker import READY
from shared.settings import Settings
from tests import decoys, rough

SAY_READY = f"print({READY!r}, flush=True); "


@pytest.fixture
def supervise(monkeypatch) -> Callable[..., Supervisor]:
    """Run a supervisor whose workers are this code, with short pauses."""
    monkeypatch.setattr(supervisor, "SHORTEST_PAUSE", 0.001)
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE", 0.01)

    def make(code: str) -> Supervisor:
        monkeypatch.setattr(supervisor, "worker_command", lambda function, address: [sys.executable, "-Ic", code])
        return Supervisor("bucket", ["check"], 1.0)

    return make


def starts(watched: Supervisor, seconds: float, enough: int) -> int:
    """Count the processes seen one after the other, until there are enough."""
    seen, until = set[int](), time.monotonic() + seconds
    with watched:
        while len(seen) < enough and time.monotonic() < until:
            seen.update(watched.processes().values())
            watched.check()
            time.sleep(0.002)
    return len(seen)


def test_a_worker_that_never_gets_ready_is_given_up_with_what_it_said_last(supervise):
    watched = supervise("import sys; print('a trace', file=sys.stderr); sys.exit('No module named breath')")
    with pytest.raises(WorkerGivenUp, match=r"check died 5 times .*exit status 1: No module named breath") as given_up:
        starts(watched, 20, enough=1000)
    assert given_up.value.status == 1


def test_a_worker_whose_configuration_is_wrong_is_not_started_again(supervise):
    watched = supervise("import sys; print('photog: no model', file=sys.stderr); sys.exit(2)")
    with pytest.raises(WorkerGivenUp, match="check cannot start, exit status 2: no model") as given_up:
        starts(watched, 20, enough=1000)
    assert given_up.value.status == 2


@pytest.mark.parametrize(
    "code",
    [SAY_READY + "raise SystemExit(1)", "raise SystemExit(75)", SAY_READY + "import os; os.kill(os.getpid(), 9)"],
    ids=["once ready", "a store that is away", "killed at work"],
)
def test_a_worker_that_was_ready_or_has_no_store_is_started_again_and_again(supervise, code):
    assert starts(supervise(code), 20, enough=8) == 8


def test_what_workers_write_is_passed_on_but_for_the_sign_that_they_are_ready(supervise, capsys):
    with supervise(SAY_READY + "print('loaded', flush=True); input()") as watched:
        until = time.monotonic() + 10
        seen = ""
        while "loaded" not in seen and time.monotonic() < until:
            time.sleep(0.01)
            seen += capsys.readouterr().err
        assert watched.processes()
    assert seen == "loaded\n"


def test_a_worker_starts_in_a_folder_with_packages_named_as_ours(tmp_path):
    command = supervisor.worker_command("no-such-function", str(tmp_path / "bucket"))
    here = decoys.folder(tmp_path / "mine")
    done = subprocess.run(command, cwd=here, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert "there is no function no-such-function" in done.stderr
    assert done.returncode == 2


def test_the_process_that_works_takes_nothing_from_the_current_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(decoys.folder(tmp_path / "mine"))
    bucket, function = MemoryBucket(), IsolatedFunction("check", Settings(), rough.load)
    try:
        assert function.await_loaded(threading.Event())
        bucket.put("requests/check/r.json", json.dumps({"request_id": "r"}).encode())
        received = Invocation(bucket, function, Settings(), "w", Shutdown(1)).receive(
            ObjectCreated("requests/check/r.json")
        )
        assert received == Outcome.ANSWERED
    finally:
        function.close()


@pytest.mark.slow
def test_up_ends_with_one_line_where_a_model_is_missing(tmp_path: Path):
    settings = {"PHOTOG_FACES__ENGINE": "insightface", "PHOTOG_FACES__MODEL": str(tmp_path / "nowhere")}
    command = [sys.executable, "-P", "-m", "shared.cli", "up", str(tmp_path / "bucket")]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | settings, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("photog: ")
    assert "no model folder" in last
