"""Measures how long a new manifest waits for its claim in a watched folder, one at a time, and what idling costs.

    python -m benchmarks.claim_latency --requests 200 --old 100000

The worker is `photog worker check`; the requests name pictures that do not exist. A manifest counts from its rename
into place until its claim is there, seen by looking every half millisecond.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.old_answers import ask, make, run, seconds, until

LOOK_SECONDS = 0.0005
PAUSE_SECONDS = 0.2  # between two requests, so that the worker idles before each
IDLE_SECONDS = 30.0


def main() -> None:
    """Make the old answers, start a worker, measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--old", type=int, default=0, help="old requests with answers in the same bucket")
    options = parser.parse_args()
    bucket = Path(tempfile.mkdtemp(prefix="claim-latency-"))
    try:
        make(bucket, options.old)
        worker = run(bucket)
        try:
            ask(bucket, "first")
            until((bucket / "results/check/first/result.json").exists)
            waits = sorted(wait_for_claim(bucket, f"n{number}") for number in range(options.requests))
            cpu, begun = seconds(worker.pid), time.monotonic()
            time.sleep(IDLE_SECONDS)
            idle = (seconds(worker.pid) - cpu) / (time.monotonic() - begun)
        finally:
            worker.terminate()
            worker.wait()
    finally:
        shutil.rmtree(bucket)
    print(f"{options.requests} requests, {options.old} old answers, load {os.getloadavg()[0]:.1f}")
    slow = waits[len(waits) * 99 // 100]
    print(f"put to claim     p50 {1000 * statistics.median(waits):.1f} ms, p99 {1000 * slow:.1f} ms")
    print(f"idle             {100 * idle:.2f} % of a core")


def wait_for_claim(bucket: Path, name: str) -> float:
    """Put a request, and return the seconds until it is claimed; returns once it is answered and a pause is over."""
    claim, staged = bucket / f"claims/check/{name}/000001.json", bucket / f"{name}.staged"
    staged.write_text(f'{{"request_id": "{name}", "images": ["gone.jpg"]}}')
    begun = time.perf_counter()
    staged.rename(bucket / f"requests/check/{name}.json")
    while not claim.exists():
        time.sleep(LOOK_SECONDS)
    waited = time.perf_counter() - begun
    until((bucket / f"results/check/{name}/result.json").exists)
    time.sleep(PAUSE_SECONDS)
    return waited


if __name__ == "__main__":
    main()
