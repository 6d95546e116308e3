"""Measures how many check requests of one small photo a second are answered, by one worker and by several.

    python -m benchmarks.throughput [--requests 10000] [--workers 1 2 4] [--kind folder] [--folder DIR]

The workers are `photog worker check`; with `--kind cloud` on moto's S3 and SQS, which itself answers some hundred
calls a second. All requests are there before the workers start; time is taken from the first answer to the last. The
CPU time is that of the workers and of the processes that hold their models, in the same span.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2

from benchmarks.old_answers import seconds
from shared.buckets import Bucket, FolderBucket, open_bucket
from shared.buckets.aws_clients import S3Settings
from tests.cloud import REGION, Cloud, start
from tests.pictures import astronaut

LOOK_SECONDS = 0.05


def main() -> None:
    """Measure each number of workers on a bucket of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--kind", choices=("folder", "cloud"), default="folder")
    parser.add_argument("--folder", type=Path, help="where the folder's bucket is made; a temporary one by default")
    options = parser.parse_args()
    for count in options.workers:
        rate, cpu = (measure_cloud if options.kind == "cloud" else measure_folder)(options, count)
        told = f"{rate:7.1f} answers/s, {rate / count:6.1f} per worker, {1000 * cpu:5.1f} CPU ms an answer"
        print(f"{options.kind}, {count} workers: {told}, load {os.getloadavg()[0]:.1f}", flush=True)


def measure_folder(options: argparse.Namespace, workers: int) -> tuple[float, float]:
    """Return the answers a second on a folder, and the CPU seconds of each."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        bucket = FolderBucket(Path(folder) / "bucket")
        fill(bucket, options.requests)
        return run(bucket, workers, options.requests, os.environ)


def measure_cloud(options: argparse.Namespace, workers: int) -> tuple[float, float]:
    """Return the answers a second on moto's store and queue, and the CPU seconds of each."""
    server, cloud = start()
    try:
        name, queue = cloud.bucket(), cloud.queue()
        bucket = open_bucket(f"s3://{name}", S3Settings(endpoint=cloud.endpoint, region=REGION))
        for key in fill(bucket, options.requests):
            announce(cloud, queue, name, key)
        return run(bucket, workers, options.requests, cloud.environment(queue))
    finally:
        server.stop()


def fill(bucket: Bucket, requests: int) -> list[str]:
    """Put the photo and the requests; return the keys of these."""
    bucket.put("photos/one.jpg", cv2.imencode(".jpg", cv2.resize(astronaut()[..., ::-1], (256, 256)))[1].tobytes())
    keys = [f"requests/check/r{number}.json" for number in range(requests)]
    manifests = {
        key: json.dumps({"request_id": f"r{number}", "images": ["photos/one.jpg"]}).encode()
        for number, key in enumerate(keys)
    }
    for begin in range(0, requests, 100):
        bucket.put_all({key: manifests[key] for key in keys[begin : begin + 100]})
    return keys


def announce(cloud: Cloud, queue: str, bucket: str, key: str) -> None:
    """Send the event of a manifest."""
    place = {"bucket": {"name": bucket}, "object": {"key": key, "size": 1}}
    event = {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": place}]}
    cloud.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(event))


def run(bucket: Bucket, workers: int, requests: int, environment: Mapping[str, str]) -> tuple[float, float]:
    """Run workers until everything is answered; return the answers a second and the CPU seconds of each."""
    command = [sys.executable, "-m", "shared.cli", "worker", "check", bucket.address]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = [subprocess.Popen(command, env=dict(environment), **quiet) for _ in range(workers)]  # type: ignore[call-overload]
    try:
        first = await_answers(bucket, 1, running)
        begun, cpu = time.monotonic(), sum(map(count_seconds, running))
        await_answers(bucket, requests, running)
        answers = requests - first
        return answers / (time.monotonic() - begun), (sum(map(count_seconds, running)) - cpu) / answers
    finally:
        for one in running:
            one.terminate()
        for one in running:
            one.wait()


def count_seconds(worker: "subprocess.Popen[bytes]") -> float:
    """Return the CPU seconds that a worker and its child have used so far."""
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}").parent.glob("*/children")
    return sum(map(seconds, [worker.pid, *(int(one) for path in children for one in path.read_text().split())]))


def await_answers(bucket: Bucket, number: int, running: "Sequence[subprocess.Popen[bytes]]") -> int:
    """Wait until so many requests have a folder of results; return how many have."""
    while (found := sum(1 for _ in bucket.folders("results/check/"))) < number:
        if all(one.poll() is not None for one in running):
            raise SystemExit("all workers have ended")
        time.sleep(LOOK_SECONDS)
    return found


if __name__ == "__main__":
    main()
