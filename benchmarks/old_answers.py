"""Measures a worker on a bucket with many old answers: the wait of a new request, the cost of idling, and a burst.

    python -m benchmarks.old_answers --answers 100000 --burst 10000

Old requests, claims and answers are written as a worker leaves them. The worker is `photog worker check`, and the
requests name pictures that do not exist, so that only photog's overhead is measured.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from shared.contract.manifests import canonical_hash

TICKS = os.sysconf("SC_CLK_TCK")
IDLE_SECONDS = 30.0


def main() -> None:
    """Make the old answers, measure a first and a next start and two bursts, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=100_000, help="old requests with answers")
    parser.add_argument("--burst", type=int, default=2000, help="requests dropped at once")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="old-answers-"))
    try:
        for start in ("first start", "next start"):
            if start == "first start":
                make(folder, options.answers)
            measure(folder, start)
        burst(folder / "burst", options.burst // 2)
        burst(folder / "burst", options.burst)
    finally:
        shutil.rmtree(folder)


def make(bucket: Path, number: int) -> None:
    """Write requests that were answered long ago."""
    for index in range(number):
        name = f"old{index}"
        body = {"request_id": name, "images": ["gone.jpg"]}
        claim = {"owner": "w", "attempt": 1, "nonce": "n", "payload_sha256": canonical_hash(body), "started": 0.0}
        answer = {"request_id": name, "code": "OK", "message": "success", "data": {"check_results": []}}
        write(bucket / f"requests/check/{name}.json", body)
        write(bucket / f"claims/check/{name}/000001.json", claim | {"manifest": f"requests/check/{name}.json"})
        write(bucket / f"results/check/{name}/result.json", answer)


def measure(bucket: Path, start: str) -> None:
    """Start a worker, measure its first claim, new requests, idling and memory, and end it."""
    before = f"before-{time.time()}"
    ask(bucket, before)
    begun = time.monotonic()
    worker = run(bucket)
    try:
        say(
            start,
            "first claim",
            f"{wait_for_object(bucket / f'claims/check/{before}/000001.json', begun):.1f} s after the start",
        )
        wait_for_object(bucket / f"results/check/{before}/result.json", begun)
        for number in range(3):
            name = f"new-{number}-{time.time()}"
            ask(bucket, name)
            say(
                start,
                "new request",
                f"{wait_for_object(bucket / f'results/check/{name}/result.json', time.monotonic()):.2f} s",
            )
        cpu, now = seconds(worker.pid), time.monotonic()
        time.sleep(IDLE_SECONDS)
        say(start, "idle", f"{100 * (seconds(worker.pid) - cpu) / (time.monotonic() - now):.2f} % of a core")
        say(start, "memory", f"{memory(worker.pid)} MB, without the process that holds the models")
    finally:
        worker.terminate()
        worker.wait()


def burst(bucket: Path, number: int) -> None:
    """Measure how long a worker takes for many requests at once."""
    shutil.rmtree(bucket, ignore_errors=True)
    worker = run(bucket)
    try:
        until(lambda: (bucket / "requests/check").is_dir())
        begun = time.monotonic()
        for index in range(number):
            ask(bucket, f"b{index}")
        until(lambda: len(list((bucket / "results/check").glob("*/result.json"))) == number)
        took = time.monotonic() - begun
        say("burst", f"{number} requests", f"{took:.1f} s, {1000 * took / number:.1f} ms each")
    finally:
        worker.terminate()
        worker.wait()


def run(bucket: Path) -> "subprocess.Popen[bytes]":
    """Start a worker and discard its log."""
    command = [sys.executable, "-m", "shared.cli", "worker", "check", str(bucket)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ask(bucket: Path, name: str) -> None:
    """Put a request into the bucket."""
    write(bucket / f"requests/check/{name}.json", {"request_id": name, "images": ["gone.jpg"]})


def write(path: Path, value: Mapping[str, object]) -> None:
    """Write an object of the bucket as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def wait_for_object(path: Path, since: float) -> float:
    """Wait for an object, and return the seconds since `since`."""
    until(path.exists)
    return time.monotonic() - since


def until(condition: Callable[[], object], limit: float = 1800.0) -> None:
    """Wait until the condition holds; TimeoutError after `limit` seconds."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"the worker did not get there in {limit:g} s")
        time.sleep(0.02)


def seconds(process: int) -> float:
    """Return the CPU seconds that a process has used so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(process: int) -> int:
    """Return the resident memory of a process in MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) // 1024


def say(when: str, what: str, figure: str) -> None:
    """Print a row of the table."""
    print(f"{when:<12} {what:<16} {figure}", flush=True)


if __name__ == "__main__":
    main()
