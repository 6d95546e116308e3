"""Measures photog's own overhead: the time from the put of a manifest to its claim, and the worker's memory.

    python -m benchmarks.overhead [--counts 1 100 1000] [--places folder s3]

A worker process whose function does nothing serves all manifests, which one client puts as fast as it can; with more
than one manifest the figures therefore include the wait for the others. `folder` is the watched folder; `s3` is moto's
S3, EventBridge and SQS on this machine, and includes the time that moto takes. Memory is the worker's resident set
after its first and after its last request.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.buckets import Bucket, open_bucket
from shared.contract.function import Answer
from shared.contract.manifests import Json
from shared.contract.workspace import Workspace
from shared.lifecycle.claims import ClaimRecord
from shared.runtime.worker import Worker
from shared.settings import Settings

KIBIBYTES_PER_MEBIBYTE = 1024
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 900.0


class Nothing:
    """A function that answers at once without doing anything."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name

    def answer(self, body: Json, workspace: Workspace) -> Answer:
        """Return an empty answer."""
        return Answer({})

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Do nothing: nothing is kept in memory."""

    def pointers(self, data: Json) -> dict[str, Json]:
        """Return no pointers."""
        return {}


@dataclass(frozen=True)
class Place:
    """A bucket to run in, and the worker's environment for it."""

    bucket: Bucket
    environment: dict[str, str]


@dataclass(frozen=True)
class Run:
    """The figures of a run.

    Attributes:
        waits: seconds from put to claim of each request.
        seconds: from the first put to the last answer.
        first, last: the worker's MiB after the first and the last request.
    """

    waits: list[float]
    seconds: float
    first: float
    last: float


def main() -> None:
    """Measure and print a row for each place and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--places", nargs="+", choices=list(PLACES), default=list(PLACES))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        settings = Settings()
        Worker("check", open_bucket(options.worker, settings.s3), settings, Nothing).run()
        return
    print(f"{'place':<8}{'at once':>8}{'p50 s':>9}{'p99 s':>9}{'req/s':>8}{'MiB first':>11}{'MiB last':>10}")
    for name in options.places:
        for count in options.counts:
            with PLACES[name]() as place:
                run = measure(place, count)
            p99 = statistics.quantiles(run.waits, n=100)[98] if count > 1 else run.waits[0]
            figures = f"{statistics.median(run.waits):>9.3f}{p99:>9.3f}{count / run.seconds:>8.1f}"
            print(f"{name:<8}{count:>8}{figures}{run.first:>11.1f}{run.last:>10.1f}", flush=True)


def measure(place: Place, count: int) -> Run:
    """Warm the worker with one request, then put `count` manifests and wait for their answers."""
    command = [sys.executable, "-m", "benchmarks.overhead", "--worker", place.bucket.address]
    worker = subprocess.Popen(command, env=place.environment)
    try:
        put(place.bucket, "warm")
        await_answers(place.bucket, 1)
        first, started = resident(worker.pid), time.time()
        put_at = {name: put(place.bucket, name) for name in (f"r{number}" for number in range(count))}
        await_answers(place.bucket, count + 1)
        seconds, last = time.time() - started, resident(worker.pid)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait()
    return Run([read_claim_time(place.bucket, name) - at for name, at in put_at.items()], seconds, first, last)


def put(bucket: Bucket, name: str) -> float:
    """Put a manifest into the bucket, and return the time of the put."""
    at = time.time()
    bucket.put(f"requests/check/{name}.json", json.dumps({"request_id": name}).encode())
    return at


def await_answers(bucket: Bucket, count: int) -> None:
    """Wait until the bucket has `count` answers."""
    until = time.monotonic() + PATIENCE_SECONDS
    while sum(info.key.endswith("/result.json") for info in bucket.list("results/check/")) < count:
        if time.monotonic() > until:
            raise TimeoutError(f"{count} answers did not come in {PATIENCE_SECONDS:.0f} s")
        time.sleep(max(POLL_SECONDS, count / 1000))  # seldom, since listings take the store's time from the worker


def read_claim_time(bucket: Bucket, name: str) -> float:
    """Return the time at which the worker claimed the request, by this machine's clock."""
    return ClaimRecord.model_validate_json(bucket.get(f"claims/check/{name}/000001.json")).started


def resident(process: int) -> float:
    """Return the resident memory of a process in MiB."""
    line = next(line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / KIBIBYTES_PER_MEBIBYTE


@contextmanager
def folder() -> Iterator[Place]:
    """Provide a bucket in a temporary folder."""
    with tempfile.TemporaryDirectory() as root:
        yield Place(open_bucket(root), dict(os.environ))


@contextmanager
def s3() -> Iterator[Place]:
    """Provide a bucket on moto, whose EventBridge sends the manifests' events to a queue."""
    from shared.buckets.aws_clients import S3Settings
    from tests.cloud import REGION, start

    server, cloud = start()
    try:
        name, queue = cloud.bucket(), cloud.queue()
        cloud.route(name, "check", queue)
        bucket = open_bucket(f"s3://{name}", S3Settings(endpoint=cloud.endpoint, region=REGION))
        yield Place(bucket, dict(cloud.environment(queue)))
    finally:
        server.stop()


PLACES = {"folder": folder, "s3": s3}

if __name__ == "__main__":
    main()
