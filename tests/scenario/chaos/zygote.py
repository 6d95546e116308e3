"""A process without threads that has imported all that a worker needs, and forks workers on demand.

A forked worker is a process like any other: it can be killed, frozen and terminated, and costs 20 ms instead of two
seconds. Commands and replies are lines of JSON over the socket whose descriptor is the only argument.
"""

import ctypes
import gc
import json
import logging
import os
import random
import signal
import socket
import sys
import traceback
from typing import Any

from shared.buckets import BucketError, aws_clients, open_bucket, staging
from shared.buckets.aws_clients import ClientUnavailable
from shared.notify import delivery, outbox, sns
from shared.observability import failing_keys
from shared.runtime import eviction
from shared.runtime.worker import Worker
from shared.settings import Settings
from shared.triggers import sqs, sqs_queue
from tests.scenario.chaos.breakpoints import Breakpoint, set_breakpoint, stop_when_ready
from tests.scenario.chaos.clock import step_clock
from tests.scenario.chaos.labour import load, load_apart

START_FAILED = 75  # as the command line ends when the store cannot be used; supervisors restart on it
DIED_BY_ITSELF = 99
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
QUICKER = {  # module, name: seconds instead of the product's, so that a schedule takes seconds
    (sqs, "FAILED_SECONDS"): 0.3,
    (sqs, "UNREADABLE_SECONDS"): 0.3,
    (sqs, "RETRY_SECONDS"): 0.3,
    (sqs, "LONGEST_PAUSE"): 2.0,
    (outbox, "FIRST_PAUSE"): 0.1,
    (outbox, "LONGEST_PAUSE"): 1.0,
    (delivery, "LAST_SECONDS"): 3.0,
    (failing_keys, "LONGEST_SECONDS"): 2.0,
    (staging, "COLLECT_SECONDS"): 1.0,
    (eviction, "EVICT_SECONDS"): 2.0,
    (sqs_queue, "ANSWER_SECONDS"): 1.0,
    (sns, "READ_SECONDS"): 1.0,
}


def main(descriptor: int) -> None:
    """Serve commands until the other side closes."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    for (module, name), seconds in QUICKER.items():
        assert hasattr(module, name), f"{module.__name__}.{name} is gone"
        setattr(module, name, seconds)
    _warm_up()
    gc.freeze()
    channel = socket.socket(fileno=descriptor)
    commands = channel.makefile("rb")
    for line in commands:
        asked = json.loads(line)
        reply = _fork(asked, channel) if asked["do"] == "start" else _changes()
        channel.sendall(json.dumps(reply).encode() + b"\n")


def _warm_up() -> None:
    """Clients are made of descriptions that botocore reads and parses once in a process."""
    for service in ("s3", "sqs", "sns"):
        aws_clients.client(service, "http://127.0.0.1:9", "eu-central-1", 1, 1.0)


def _fork(spec: dict[str, Any], channel: socket.socket) -> int:
    pid = os.fork()
    if pid:
        return pid
    channel.close()
    code = DIED_BY_ITSELF
    try:
        code = _work(spec)
    except BaseException:  # noqa: BLE001 - the last frame of a process: whatever it is goes to its log
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _work(spec: dict[str, Any]) -> int:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    log = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)d %(levelname)s %(name)s %(message)s", force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    random.seed()
    step_clock(*spec["clock"])
    settings = Settings(**spec["settings"])
    try:
        bucket = open_bucket(spec["bucket"], settings.s3)
        if spec["breakpoint"]:
            set_breakpoint(bucket, Breakpoint(**spec["breakpoint"]))
        if spec["stop_when_ready"]:
            stop_when_ready(spec["stop_when_ready"])
        Worker(spec["function"], bucket, settings, load=load_apart if spec["apart"] else load).run()
    except (BucketError, ClientUnavailable):
        traceback.print_exc()
        return START_FAILED
    return 0


def _changes() -> list[tuple[int, int]]:
    """(pid, wait status) of every child that has ended or stopped since the last question."""
    found: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        found.append((pid, status))


def _prctl(option: int, argument: int) -> None:
    ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
