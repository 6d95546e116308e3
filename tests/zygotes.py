"""Processes of the product, forked from one that has imported its modules already.

A worker costs half a second of imports, and the process in which it trains or generates five more; a fork costs some
milliseconds. `start` takes the place of `subprocess.Popen` in tests that need a program running and say nothing about
its start. What is forked is a process like any other: a child of the one that asked, with a process id, a command line
in /proc, standard streams, an environment and a folder of its own, to be signalled, killed and waited for. Its program
is run by name as `python -m` does, and ends as the interpreter ends it.

| process | how it comes to be |
|---|---|
| the zygote, one in a test process for each set of modules | a real start; it has no threads, and forks on demand |
| what a test starts | forked twice, so that the kernel gives it to the test process as a child |
| its twin, whose only work is to fork | forked first of all, as once threads run it is too late for that |
| what it starts by `subprocess.Popen` itself, if it is Python again | forked by its twin in the same way |
| the test processes of pytest-xdist | forked from one zygote, which has imported what most of them need |
| what these start with `HEAVY` modules | forked by the twin of the test process |
"""

import ctypes
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PR_SET_CHILD_SUBREAPER = 36  # of prctl(2): orphans among our descendants become our children
LARGEST_ORDER = 1 << 17  # bytes; mostly of environment
MOST_DESCRIPTORS = 16
ASIDE = 500  # descriptors from this number on are in nobody's way
LONGEST_COMMAND = 8192  # bytes of a command line in /proc
HELD = (signal.SIGINT, signal.SIGTERM)  # a zygote's wait: it ends with its asker, and a fork gets what was sent to it
PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")  # as `subprocess` names them
NEED_A_START = ("preexec_fn", "executable", "gid", "gids", "uid", "umask")  # options that forks do not know
SPARE_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # a pool of threads hinders forks

LIGHT = (  # what a worker of check imports, some of it not before it is needed
    "shared.cli.verbs",
    "shared.buckets.s3",
    "shared.notify.sns",
    "boto3",
    "botocore.config",
    "shared.observability.exposition",
    "shared.runtime.work_process",
    "functions.check.handler",
    "shared.faces.mesh",
)
SERVING = ("shared.cli.verbs", "serve.command", "shared.triggers.folder", "shared.runtime.context")
HEAVY = (
    *LIGHT,
    "functions.train.handler",
    "functions.generate.handler",
    "diffusers.pipelines.onnx_utils",
    "diffusers.guiders",
)
TESTING = (  # what a test process imports beside; nothing that a plugin of pytest is a part of
    *HEAVY,
    "cfnlint.api",
    "moto.server",
    "nicegui",
    "onnx",
    "page.mounting",
    "playwright.sync_api",
    "samtranslator.translator.transform",
    "skimage.data",
    "skimage.metrics",
    "serve.command",
    "torch.distributed.fsdp",
)

twin: "type[_Forked] | None" = None  # of a test process that was forked: starts what needs HEAVY modules


def start(command: Sequence[object], modules: tuple[str, ...] = LIGHT, **options: Any) -> "subprocess.Popen[Any]":
    """Start `python [-P] -m MODULE ...` with the options of `subprocess.Popen`, forked from a zygote with `modules`."""
    forking = twin if twin is not None and modules == HEAVY else _start_zygote(modules)
    return forking(list(map(str, command)), **options)


@contextmanager
def fork_test_processes() -> Iterator[None]:
    """While it is entered, test processes that pytest-xdist starts are forked from one zygote."""
    starts, forking = subprocess.Popen, _start_zygote(TESTING)
    subprocess.Popen = type("Testing", (forking,), {"tests": True})  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        subprocess.Popen = starts  # type: ignore[misc]
        _start_zygote.cache_clear()
        forking.channel.close()
        forking.zygote.wait()


@cache
def _start_zygote(modules: tuple[str, ...]) -> type["_Forked"]:
    """Start a zygote, which ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tests.zygote", str(theirs.fileno()), *modules, "-" * LONGEST_COMMAND]
    zygote = subprocess.Popen(command, cwd=ROOT, env=os.environ | SPARE_THREADS, pass_fds=[theirs.fileno()])
    theirs.close()
    started = make_popen(ours)
    started.zygote = zygote
    return started


def make_popen(channel: socket.socket) -> type["_Forked"]:
    """Return a `subprocess.Popen` that starts Python through the zygote at the other end of `channel`."""
    return type("Forking", (_Forked,), {"channel": channel, "turn": threading.Lock()})


class _Forked(subprocess.Popen):
    zygote: "subprocess.Popen[bytes]"  # of the one that a test process has started
    channel: socket.socket
    turn: "threading.Lock"
    tests = False  # whether the twin of what is started is for `start` alone, which a test process asks

    def _execute_child(self, *given: Any) -> None:
        """Take the place of fork and exec."""
        asked = signature(super()._execute_child).bind(*given).arguments  # type: ignore[misc]
        words = read_program(asked["args"])
        if words is None or any(asked[name] not in (None, -1) for name in NEED_A_START):
            super()._execute_child(*given)  # type: ignore[misc]
            return
        own_ends = (asked["p2cread"], asked["c2pwrite"], asked["errwrite"])
        numbers = {number: own if own >= 0 else number for number, own in enumerate(own_ends)}
        numbers |= {int(number): int(number) for number in asked["pass_fds"]}
        order = {
            "command": words,
            "line": list(asked["args"]),
            "environment": dict(os.environ if asked["env"] is None else asked["env"]),
            "folder": os.fspath(asked["cwd"] or os.getcwd()),
            "session": asked["start_new_session"],
            "tests": self.tests,
            "descriptors": list(numbers),
        }
        with self.turn:
            become_subreaper(True)
            try:
                socket.send_fds(self.channel, [json.dumps(order).encode()], list(numbers.values()))
                self.pid = int(self.channel.recv(32))
            finally:
                become_subreaper(False)
        self._child_created = True
        self._close_pipe_fds(*(asked[name] for name in PIPES))  # type: ignore[attr-defined]


def read_program(command: Any) -> list[str] | None:
    """Return `[-m or -c, module or code, ...]` of a command that starts our Python; None of any other."""
    if not isinstance(command, list) or command[0] != sys.executable:
        return None
    words = command[2:] if command[1] in ("-P", "-u") else command[1:]
    return words if words[0] in ("-m", "-c") else None


def become_subreaper(become: bool) -> None:
    """Let the orphans among our descendants become our children, or no longer."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(become), 0, 0, 0)


def await_order(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork a process for each order; returns the order, and the descriptors that came with it, in those only."""
    while True:
        message, received, _, _ = socket.recv_fds(channel, LARGEST_ORDER, MOST_DESCRIPTORS)
        if not message:
            os._exit(0)  # whoever asks is gone
        assert len(os.listdir("/proc/self/task")) == 1, "a module that is imported starts a thread, so no fork is safe"
        reading, writing = os.pipe()
        between = os.fork()
        if between == 0:
            between = os.getpid()
            forked = os.fork()
            if forked:
                os.write(writing, str(forked).encode())
                os._exit(0)
            for number in (reading, writing, channel.detach()):
                os.close(number)
            while os.getppid() == between:
                time.sleep(0.0005)
            return json.loads(message), received
        os.waitpid(between, 0)
        channel.send(os.read(reading, 32))
        for number in (reading, writing, *received):
            os.close(number)


def take_shape(order: dict[str, Any], received: list[int]) -> None:
    """Become what was ordered, in all but the program."""
    aside = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, ASIDE) for number in received]
    for number in received:
        os.close(number)
    for number, one in zip(order["descriptors"], aside, strict=True):
        os.dup2(one, number, inheritable=True)
        os.close(one)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    _show_command(order["line"])
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    if torch := sys.modules.get("torch"):
        torch.seed()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)


def _show_command(words: Sequence[str]) -> None:
    """Overwrite the command line that /proc shows."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])
    line = "\0".join(words).encode()
    assert len(line) < end - begin, "the command is longer than the zygote's own"
    ctypes.memmove(begin, line.ljust(end - begin, b"\0"), end - begin)
