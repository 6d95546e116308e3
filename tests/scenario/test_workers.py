"""Real worker processes on a real folder, and real signals."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.buckets import FolderBucket
from tests import decoys, pictures, zygotes
from tests.echo import until

ROOT = Path(__file__).parents[2]
QUICK_LEASE = {"PHOTOG_LEASE__SECONDS": "1", "PHOTOG_SCAN__SECONDS": "0.3", "PHOTOG_SCAN__SETTLE_SECONDS": "1"}
PAIRS = 3  # of photos: seconds of work, long enough to be killed in the middle of it

pytestmark = pytest.mark.slow


@pytest.fixture
def bucket(tmp_path: Path) -> FolderBucket:
    made = FolderBucket(tmp_path / "bucket")
    made.put("photos/one.jpg", pictures.jpeg(pictures.astronaut()))
    made.put("photos/six.jpg", pictures.group_path().read_bytes())
    return made


def worker(bucket: FolderBucket, function: str = "check", **environment: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "shared.cli", "worker", function, bucket.address]
    return zygotes.start(command, cwd=ROOT, env=os.environ | QUICK_LEASE | environment)


def stop(process: "subprocess.Popen[bytes]") -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(60)


def request(bucket: FolderBucket, request_id: str, images: list[str], name: str | None = None) -> None:
    body = json.dumps({"request_id": request_id, "images": images}).encode()
    bucket.put(f"requests/check/{name or request_id}.json", body)


def answer(bucket: FolderBucket, request_id: str) -> dict | None:
    path = bucket.root / "results" / "check" / request_id / "result.json"
    return json.loads(path.read_text()) if path.exists() else None


def claims(bucket: FolderBucket, request_id: str) -> list[str]:
    return [info.key for info in bucket.list(f"claims/check/{request_id}/")]


def test_twenty_manifests_at_once_each_delivered_three_times_to_two_workers(bucket):
    workers = [worker(bucket), worker(bucket)]
    try:
        for copy in ("a", "b", "c"):
            for number in range(20):
                request(bucket, f"r{number}", ["photos/one.jpg"], f"{copy}/r{number}")
        until(lambda: all(answer(bucket, f"r{number}") for number in range(20)), 90)
        time.sleep(1.0)
    finally:
        codes = [stop(one) for one in workers]
    assert codes == [0, 0]
    assert len(list((bucket.root / "results" / "check").iterdir())) == 20
    for number in range(20):
        assert answer(bucket, f"r{number}")["data"]["check_results"][0]["code"] == 1
        assert len(claims(bucket, f"r{number}")) == 1, "one run each"


@pytest.mark.parametrize("moment", ["claimed", "in progress", "answered"])
def test_a_worker_killed_at_any_moment_leaves_exactly_one_right_answer(bucket, moment):
    request(bucket, "r1", ["photos/one.jpg", "photos/six.jpg"] * PAIRS)
    seen = {
        "claimed": lambda: claims(bucket, "r1"),
        "in progress": lambda: (bucket.root / "progress/check/r1.json").exists(),
        "answered": lambda: answer(bucket, "r1"),
    }[moment]
    first = worker(bucket)
    until(seen, 60)
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    second = worker(bucket)
    try:
        until(lambda: answer(bucket, "r1"), 90)
        time.sleep(0.5)
    finally:
        stop(second)
    codes = [one["code"] for one in answer(bucket, "r1")["data"]["check_results"]]
    assert codes == [1, 3] * PAIRS
    assert sorted(info.key for info in bucket.list("results/check/")) == ["results/check/r1/result.json"]


def test_a_terminated_worker_finishes_its_request_and_begins_no_other(bucket):
    request(bucket, "r1", ["photos/six.jpg"] * 2 * PAIRS)
    one = worker(bucket)
    until(lambda: claims(bucket, "r1"), 60)
    request(bucket, "r2", ["photos/one.jpg"])
    assert stop(one) == 0
    assert answer(bucket, "r1")["code"] == "OK"
    assert answer(bucket, "r2") is None
    assert claims(bucket, "r2") == []


def test_bad_input_is_answered_by_name_and_the_worker_lives_on(bucket):
    one = worker(bucket)
    try:
        bucket.put("requests/check/not.json", b"this is no json")
        bucket.put("requests/check/types.json", b'{"request_id": "types", "images": "photos/one.jpg"}')
        bucket.put("requests/check/large.json", b'{"request_id": "large", "x": "' + b"x" * (21 << 20) + b'"}')
        bucket.put("photos/broken.jpg", pictures.jpeg(pictures.astronaut())[:5000])
        request(bucket, "broken", ["photos/broken.jpg", "photos/gone.jpg"])
        found = bucket.root / "results" / "check"
        until(lambda: found.exists() and len(list(found.glob("*/result.json"))) == 4, 60)
        request(bucket, "good", ["photos/one.jpg"])
        until(lambda: answer(bucket, "good"), 30)
        assert one.poll() is None
    finally:
        stop(one)
    messages = {path.parent.name: json.loads(path.read_text()) for path in found.glob("*/result.json")}
    assert messages["types"]["data"]["error"] == {"type": "InvalidField", "field": "images", "retryable": False}
    assert [one["code"] for one in messages["broken"]["data"]["check_results"]] == [2, 2]
    invalid = {one["message"] for name, one in messages.items() if name.startswith("invalid-")}
    assert any("requests/check/not.json" in message for message in invalid)
    assert any("requests/check/large.json" in message and "20971520" in message for message in invalid)


def test_up_restarts_a_worker_that_dies_and_drains_all_on_sigterm(bucket, tmp_path):
    here = decoys.folder(tmp_path / "mine")  # a project whose packages are called like ours
    program = [Path(sys.executable).parent / "photog", "status", bucket.address]
    assert subprocess.run(program, cwd=here, capture_output=True, check=False).returncode == 0
    # -P, as the program has no folder but its own among its modules
    command = [sys.executable, "-P", "-m", "shared.cli", "up", bucket.address]
    told = {"stderr": subprocess.PIPE, "text": True}
    supervisor = zygotes.start(command, zygotes.HEAVY, cwd=here, env=os.environ | QUICK_LEASE, **told)
    try:
        request(bucket, "r1", ["photos/one.jpg"])
        until(lambda: answer(bucket, "r1"), 90)
        before = _check_worker(bucket)
        os.kill(before, signal.SIGKILL)
        until(lambda: _check_worker(bucket) not in (None, before), 30)
        request(bucket, "r2", ["photos/one.jpg"])
        until(lambda: answer(bucket, "r2"), 90)
    finally:
        supervisor.send_signal(signal.SIGTERM)
        _, log = supervisor.communicate(timeout=150)
    assert supervisor.returncode == 0
    assert "check died with SIGKILL" in log
    assert _check_worker(bucket) is None


def test_a_worker_whose_supervisor_is_killed_stops_by_itself(bucket):
    code = (
        "import sys, time; from shared.runtime.supervisor import Supervisor; "
        f"s = Supervisor({bucket.address!r}, ['check'], 5); s.__enter__(); "
        "print(s.processes()['check'], flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    parent.stdout.readline()
    request(bucket, "r1", ["photos/one.jpg"])
    until(lambda: answer(bucket, "r1"), 60)
    parent.kill()
    parent.wait(10)
    until(lambda: _check_worker(bucket) is None, 30)


@contextmanager
def rough_worker(bucket: FolderBucket) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker whose function does what none should."""
    quick = QUICK_LEASE | {"PHOTOG_LEASE__DRAIN_SECONDS": "1", "PHOTOG_LIMITS__REQUEST_SECONDS": "60"}
    command = [sys.executable, "-m", "tests.rough_worker", bucket.address]
    process = zygotes.start(command, cwd=ROOT, env=os.environ | quick)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def rough(bucket: FolderBucket) -> Iterator["subprocess.Popen[bytes]"]:
    with rough_worker(bucket) as process:
        yield process


def order(bucket: FolderBucket, request_id: str, **body: object) -> None:
    bucket.put(f"requests/check/{request_id}.json", json.dumps({"request_id": request_id} | body).encode())


def test_a_terminated_worker_ends_within_its_drain_time_whatever_its_function_hangs_in(bucket, rough):
    order(bucket, "r1", do="hang")
    until(lambda: (bucket.root / "progress/check/r1.json").exists(), 60)
    time.sleep(0.5)
    begun = time.monotonic()
    assert stop(rough) == 0
    assert time.monotonic() - begun < 15, "1 s to drain, and moments to end the process and release the claim"
    assert json.loads((bucket.root / claims(bucket, "r1")[0]).read_text())["released"]


def test_the_memory_of_large_work_is_not_the_workers(bucket, rough):
    """Its process may be ended by the kernel: the worker beside it answers, and goes on."""
    order(bucket, "r1", do="die")
    order(bucket, "r2")
    until(lambda: answer(bucket, "r1") and answer(bucket, "r2"), 60)
    assert answer(bucket, "r1")["data"]["error"]["type"] == "AttemptsExhausted"
    assert answer(bucket, "r2")["code"] == "OK"
    assert rough.poll() is None


def test_a_worker_whose_gpu_broke_ends_and_the_next_answers_its_request_once(bucket, rough):
    order(bucket, "r1", do="raise", once=True, said="CUDA error: an illegal memory access was encountered")
    assert rough.wait(60) == 1
    assert answer(bucket, "r1") is None
    assert json.loads((bucket.root / claims(bucket, "r1")[0]).read_text())["released"]
    with rough_worker(bucket):
        until(lambda: answer(bucket, "r1"), 60)
    assert answer(bucket, "r1")["code"] == "OK"
    assert len(claims(bucket, "r1")) == 2
    assert len([info for info in bucket.list("results/check/r1/") if info.key.endswith(".json")]) == 1


def test_a_running_worker_drops_what_is_gone_from_the_bucket(bucket, rough):
    bucket.put("users/a", b"")
    order(bucket, "r1", keep=["users/a"])
    until(lambda: answer(bucket, "r1"), 60)
    time.sleep(1)
    order(bucket, "r2")
    until(lambda: answer(bucket, "r2"), 30)
    assert answer(bucket, "r2")["data"]["kept"] == ["users/a"]
    bucket.delete("users/a")
    time.sleep(1.5)
    order(bucket, "r3")
    until(lambda: answer(bucket, "r3"), 30)
    assert answer(bucket, "r3")["data"]["kept"] == []


@pytest.mark.parametrize("do", ["work", "hang"])
def test_a_worker_that_is_killed_leaves_no_process_behind_whatever_hangs_in_it(bucket, rough, do):
    order(bucket, "r1", do=do)
    until(lambda: (bucket.root / "progress/check/r1.json").exists(), 60)
    children = {
        one for tasks in Path(f"/proc/{rough.pid}/task").iterdir() for one in (tasks / "children").read_text().split()
    }
    assert children
    rough.kill()
    rough.wait()
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), 20)


def _check_worker(bucket: FolderBucket) -> int | None:
    """The process id of the check worker on this bucket, from the process table."""
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = status.read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"worker" in words and b"check" in words and bucket.address.encode() in words:
            return int(status.parent.name)
    return None
