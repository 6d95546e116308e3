"""A campaign: many seeds of one kind, several side by side, and what came of them."""

import argparse
import json
import logging
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.cloud import CREDENTIALS
from tests.scenario.chaos.crew import ROOT, Zygote
from tests.scenario.chaos.disk import own_mounts
from tests.scenario.chaos.run import Verdict, run
from tests.scenario.chaos.schedule import KINDS, make
from tests.scenario.chaos.sites import Far

MODULE = "tests.scenario.chaos"


def main() -> int:
    """The number of seeds that failed, 1 at most."""
    words = _words()
    seeds = list(_numbers(words.seeds))
    if words.describe:
        for seed in seeds:
            sys.stdout.write(f"{make(words.kind, seed, words.requests)}\n")
        return 0
    began = time.monotonic()
    verdicts = list[Verdict]()
    jobs = min(words.jobs, len(seeds))
    if jobs == 1:
        verdicts = _serve((words.kind, seeds, words))
    else:
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            for share in pool.map(_serve, [(words.kind, seeds[job::jobs], words) for job in range(jobs)]):
                verdicts += share
    failed = [verdict for verdict in verdicts if verdict.breaches]
    sys.stdout.write(_tally(words.kind, verdicts, time.monotonic() - began))
    return 1 if failed else 0


def _serve(share: tuple[str, list[int], argparse.Namespace]) -> list[Verdict]:
    """In a process that does nothing else: the seeds one after another, with one zygote and one moto."""
    kind, seeds, words = share
    os.environ.update(CREDENTIALS, OMP_NUM_THREADS="1")
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)  # moto lists while others write: then it says 500
    sys.setswitchinterval(0.0005)  # moto, the proxy and the driver are threads of this process
    mounts = kind == "folder" and own_mounts()
    with Zygote() as zygote:
        if kind == "folder":
            return [_verdict(kind, seed, zygote, None, words, mounts) for seed in seeds]
        with Far() as far:
            return [_verdict(kind, seed, zygote, far, words, mounts) for seed in seeds]


def _verdict(kind: str, seed: int, zygote: Zygote, far: Far | None, words: argparse.Namespace, mounts: bool) -> Verdict:
    try:
        verdict = run(kind, seed, zygote, far, words.keep, mounts, words.requests, words.verbose)
    except Exception as error:  # noqa: BLE001 - a fault of the harness is a failed seed, and the others go on
        trace = traceback.format_exc()
        verdict = Verdict(kind, seed, [f"harness: {type(error).__name__} {error}\n{trace}"], 0.0, 0.0)
    sys.stdout.write(_told(verdict, words))
    sys.stdout.flush()
    return verdict


def _told(verdict: Verdict, words: argparse.Namespace) -> str:
    answers = sum(verdict.answers.values())
    line = (
        f"{verdict.kind} {verdict.seed}: {answers} answers in {verdict.seconds:.1f} s, settled {verdict.settled:.1f} s"
    )
    if not verdict.breaches:
        return f"{line}, all holds\n" if words.verbose else ""
    again = f"python -m {MODULE} --kind {verdict.kind} --seeds {verdict.seed}"
    again += f" --requests {words.requests}" if words.requests else ""
    place = words.keep / f"{verdict.kind}-{verdict.seed}"
    shown = "".join(f"    {breach}\n" for breach in verdict.breaches[:12])
    return f"{line}, BROKEN {len(verdict.breaches)}\n{shown}    again: {again}    trace, logs, bucket: {place}\n"


def _tally(kind: str, verdicts: list[Verdict], seconds: float) -> str:
    failed = sorted(verdict.seed for verdict in verdicts if verdict.breaches)
    answers, counts, broken = Counter[str](), Counter[str](), Counter[str]()
    for verdict in verdicts:
        answers.update(verdict.answers)
        counts.update(verdict.counts)
        broken.update({breach.split(":")[0] for breach in verdict.breaches})
    lines = [
        f"{kind}: {len(verdicts)} schedules in {seconds:.0f} s, {len(failed)} failed: {failed}",
        f"  answers {sum(answers.values())}: {json.dumps(answers, sort_keys=True)}",
        f"  counts: {json.dumps(counts, sort_keys=True)}",
        f"  broken: {json.dumps(broken, sort_keys=True)}",
    ]
    return "\n".join(lines) + "\n"


def _numbers(text: str) -> Iterator[int]:
    """`3`, `1-200`, or both with commas."""
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--seeds", default="1-200", help="such as 7, 1-200, 3,9,20-30")
    parser.add_argument("--jobs", type=int, default=2, help="schedules side by side; they mostly wait")
    parser.add_argument("--requests", type=int, help="ids of each schedule instead of the kind's own number")
    parser.add_argument(
        "--keep", type=Path, default=ROOT / "out" / "chaos", help="where failed seeds leave their traces"
    )
    parser.add_argument("--verbose", action="store_true", help="tell of the seeds that hold, and keep their logs")
    parser.add_argument("--describe", action="store_true", help="print what the seeds mean, run nothing")
    return parser.parse_args()
