"""Forked programs are processes like those that are started."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import zygotes
from tests.echo import until

MODULES = ("json",)
TELL = (
    "import json, os, signal, sys; "
    "json.dump([os.getppid(), os.getcwd(), dict(os.environ), os.getsid(0) == os.getpid(), "
    "signal.getsignal(signal.SIGINT) is signal.default_int_handler, open('/proc/self/cmdline').read().rstrip('\\0'), "
    "sorted(int(one) for one in os.listdir('/proc/self/fd')), sys.stdin.read()], sys.stdout)"
)
FAILS = "import sys; print('last words', file=sys.stderr); sys.exit(%s)"
STARTS = (
    "import subprocess, sys, time; "
    "one = subprocess.Popen([sys.executable, '-P', '-c', 'import os, time; print(os.getppid()); time.sleep(60)'], "
    "stdout=subprocess.PIPE, text=True); print(one.pid, one.stdout.readline().strip(), flush=True); time.sleep(60)"
)


def forked(code: str, **options: Any) -> "subprocess.Popen[str]":
    return zygotes.start([sys.executable, "-c", code], MODULES, text=True, **options)


def piped(code: str, **options: Any) -> "subprocess.Popen[str]":
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return forked(code, **pipes, **options)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Undo what a test before has done to SIGINT: a program that is really started would ignore it too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_it_is_our_child_with_a_command_line_streams_folder_and_environment_of_its_own(tmp_path):
    reading, writing = os.pipe()
    told = {}
    for one, start in (("forked", piped), ("started", _really)):
        process = start(TELL, cwd=tmp_path, env={"A": "1"}, start_new_session=True, pass_fds=[writing])
        told[one] = json.loads(process.communicate("said")[0])
        assert process.returncode == 0
    for number in (reading, writing):
        os.close(number)
    assert told["forked"][:2] == [os.getpid(), str(tmp_path)]
    assert told["forked"][2].pop("A") == "1"
    assert told["forked"][2].keys() <= {"LC_CTYPE"}, "which the interpreter adds at a real start"
    assert told["forked"][3:] == told["started"][3:]


@pytest.mark.parametrize(("code", "status"), [("7", 7), ("0", 0), ("'words'", 1), ("1 / 0", 1)])
def test_it_ends_as_the_interpreter_ends_it(code, status):
    process = piped(FAILS % code)
    _, said = process.communicate()
    assert process.returncode == status
    assert said.startswith("last words")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_signals_end_it_even_before_it_runs(number):
    process = piped("import time; time.sleep(60)")
    process.send_signal(number)
    assert process.wait(20) == -number


def test_what_it_starts_is_forked_too_as_its_child_and_killing_it_leaves_no_zygote():
    command = [sys.executable, "-m", "timeit", "-n", "1", "-r", "1", STARTS]  # a module that runs what it is given
    process = zygotes.start(command, MODULES, stdout=subprocess.PIPE, text=True)
    child, parent = map(int, process.stdout.readline().split())
    assert parent == process.pid
    assert len(_command_line(child)) == len(_command_line(parent)) > zygotes.LONGEST_COMMAND, "it is forked as well"
    (twin,) = {int(one) for one in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()} - {child}
    process.kill()
    process.wait()
    os.kill(child, signal.SIGKILL)
    until(lambda: not _lives(child) and not _lives(twin))


def _really(code: str, **options: Any) -> "subprocess.Popen[str]":
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([sys.executable, "-c", code], text=True, **pipes, **options)


def _command_line(process: int) -> bytes:
    return Path(f"/proc/{process}/cmdline").read_bytes()


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
