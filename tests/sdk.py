"""The hosted product's SDK from PyPI in an environment of its own, and a server process for it to call."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import zygotes

ROOT = Path(__file__).parents[1]
SDK = "eas_prediction==0.36"
READY = re.compile(r"running on http://([\d.]+:\d+)")
QUICK = {"PHOTOG_TOKEN": "secret", "PHOTOG_SCAN__SECONDS": "0.3", "OMP_NUM_THREADS": "1"}
IN_MEMORY = Path("/dev/shm")  # a file system that needs no disk: killing a process loses nothing of it


def installed(folder: Path) -> Path:
    """The python of an environment that has the SDK; skips the test where no registry can be reached."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    # our pip installs into it: bringing one of its own takes longer than the SDK and all that it needs
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile", SDK]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    if done.returncode != 0:
        pytest.skip(f"{SDK} cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
    return python


@contextmanager
def quick_folder(fallback: Path) -> Iterator[Path]:
    """A folder in memory where the system has one."""
    if not os.access(IN_MEMORY, os.W_OK):
        yield fallback
        return
    with tempfile.TemporaryDirectory(dir=IN_MEMORY, prefix="photog-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


class Server:
    """`photog serve` as a process; `port` stays the same over its lives.

    Args:
        sync_milliseconds: how long every sync to the disk takes at least; 0 leaves the disk as it is.
        options: further options of the command.
    """

    def __init__(self, folder: Path, sync_milliseconds: float = 0, options: tuple[str, ...] = ()) -> None:
        self.bucket, self._folder, self._port = folder / "bucket", folder, "0"
        self._options = options
        self._module = ["tests.slow_disk", str(sync_milliseconds)] if sync_milliseconds else ["shared.cli"]
        self.endpoint = ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> None:
        """Start it and wait until it listens."""
        log = self._folder / "serve.log"
        command = [sys.executable, "-m", *self._module, "serve", str(self.bucket), "--port", self._port]
        command += ["--state", str(self._folder / "state"), *self._options]
        with log.open("w") as written:
            process = zygotes.start(
                command, zygotes.SERVING, cwd=ROOT, env=os.environ | QUICK | environment, stderr=written
            )
        self._process = process
        while not (found := READY.search(log.read_text())):
            assert process.poll() is None, log.read_text()
        self.endpoint = found[1]
        self._port = self.endpoint.rpartition(":")[2]

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)


@contextmanager
def workers(bucket: Path, count: int, module: str = "tests.echo_worker", function: str = "check") -> Iterator[None]:
    """Worker processes on a bucket."""
    command = [sys.executable, "-m", *module.split(), function, str(bucket)]
    running = [zygotes.start(command, zygotes.SERVING, cwd=ROOT, env=os.environ | QUICK) for _ in range(count)]
    try:
        yield
    finally:
        for one in running:
            one.send_signal(signal.SIGTERM)
        for one in running:
            one.wait(60)
