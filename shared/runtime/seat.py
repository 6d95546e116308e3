"""A worker's seat: the lock by which a bucket has at most one worker of a function that outlives its command.

`photog portrait` leaves its workers behind for the next call, since loading the models takes longer than a portrait.

| what | who | how |
|---|---|---|
| takes the seat | the worker, first of all | an exclusive lock on the file; who finds it taken ends at once |
| says how far it is | the worker | `state` in the file: loading, ready, ending |
| says that it is needed | any command that waits for an answer | touches the file, every few seconds |
| uses it | any command, until it ends | a shared lock on a second file; alone, to replace the worker |
| ends | the worker | once it had no request, and nobody touched the file, for its idle time |
| is asked to end | a command that is interrupted or has other settings; `photog up` | SIGTERM |

The kernel drops the lock with the process, however it dies, so a seat that is taken has a living worker. The files lie
in a folder of the user's own below the system's temporary folder; one that is left over is used again.
"""

import fcntl
import hashlib
import json
import os
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from shared.contract.hooks import AttemptHook
from shared.errors import ConfigurationError

TRIES, PAUSE_SECONDS = (
    10,
    0.1,
)  # of a worker for its seat: a command that looks whether it is taken holds it for a moment
INHERITED = ("PHOTOG_", "OMP_", "CUDA_", "NVIDIA_", "HF_", "AWS_")  # variables that decide what a worker does
EXTRAS = ("PHOTOG_GENERATE__KEEP_STAGES",)  # a worker that has them serves those who do not ask for them too
MODEL_INDEX = "model_index.json"  # of a base model in a folder; written with every version of it
PACKAGES = ("shared", "functions")
OURS = (".py", ".json", ".onnx", ".safetensors")  # files in them that decide what a worker does


@dataclass(frozen=True)
class Holder:
    """The worker that has a seat.

    Attributes:
        pid: its process id.
        state: loading, ready or ending.
        makeup: of the code and the settings that it runs with, see `makeup`.
        extras: the variables of `EXTRAS` that it was started with.
    """

    pid: int
    state: str
    makeup: str
    extras: tuple[str, ...]

    def suits(self, environment: Mapping[str, str]) -> bool:
        """Return whether it serves on, and a worker that is started with these variables now would do the same."""
        return (
            self.state != "ending"
            and self.makeup == makeup(environment)
            and set(_extras(environment)) <= set(self.extras)
        )


class SeatTaken(ConfigurationError):
    """Another worker has the seat."""


@dataclass(frozen=True)
class Seat:
    """The file of one seat."""

    path: Path

    @property
    def log(self) -> Path:
        """The file for what the worker writes; removed when it ends in peace."""
        return self.path.with_suffix(".log")

    def is_held(self) -> bool:
        """Return whether a living worker has it."""
        with _open(self.path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def holder(self) -> Holder | None:
        """Return the worker that has it; None if none has."""
        while self.is_held():
            with suppress(ValueError):  # it is about to write
                said = json.loads(self.path.read_bytes())
                return Holder(said["pid"], said["state"], said["makeup"], tuple(said["extras"]))
            time.sleep(PAUSE_SECONDS)
        return None

    def use(self, alone: bool = False) -> IO[bytes] | None:
        """Use its worker until the returned file is closed; None while that is barred by another command's use.

        Args:
            alone: without other commands, as whoever replaces the worker must be.
        """
        file = _open(self.path.with_suffix(".use"))
        try:
            fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file

    def need(self) -> None:
        """Say that somebody needs the worker."""
        with suppress(FileNotFoundError):
            os.utime(self.path)

    def idle_seconds(self) -> float:
        """Return the seconds since somebody has said so."""
        return time.time() - self.path.stat().st_mtime

    def signal(self, number: signal.Signals) -> None:
        """Send the worker a signal, if there is one."""
        if (holder := self.holder()) is not None:
            with suppress(ProcessLookupError):
                os.kill(holder.pid, number)

    def retire(self, patience_seconds: float) -> bool:
        """Ask the worker to finish its request and to end, wait, and kill it if it takes longer; True if there was one.

        Args:
            patience_seconds: for the running request.
        """
        if not self.is_held():
            return False
        until = time.monotonic() + patience_seconds
        self.signal(signal.SIGTERM)
        while self.is_held():
            if time.monotonic() > until:
                self.signal(signal.SIGKILL)
            time.sleep(PAUSE_SECONDS)
        return True

    @contextmanager
    def take(self) -> Iterator[Callable[[str], None]]:
        """Have the seat for the block, which gets a function to call with each new state; raises SeatTaken."""
        with _open(self.path) as file:
            _lock(file, self.path)
            told = {"pid": os.getpid(), "makeup": makeup(os.environ), "extras": _extras(os.environ)}

            def tell(state: str) -> None:
                file.seek(0)
                file.truncate()
                file.write(json.dumps(told | {"state": state}).encode())
                file.flush()

            tell("loading")
            yield tell
            tell("ending")
            with suppress(FileNotFoundError):
                self.log.unlink()  # its lines name requests, of people too who may be forgotten


class Vacancy(AttemptHook):
    """The hook that ends an idle worker.

    Args:
        seat: whose file says that it is needed.
        seconds: without a request and without anybody who needs it.
        end: called then, at every look for work from then on.
    """

    def __init__(self, seat: Seat, seconds: float, end: Callable[[], None]) -> None:
        self._seat, self._seconds, self._end = seat, seconds, end

    def after_request(self) -> None:
        self._seat.need()

    def polled(self) -> None:
        if self._seat.idle_seconds() > self._seconds:
            self._end()


def seat_of(function: str, address: str) -> Seat:
    """Return the seat of a bucket's function; raises ConfigurationError if the folder of seats is another user's."""
    folder = Path(tempfile.gettempdir()) / f"photog-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    known = folder.lstat()
    if not stat.S_ISDIR(known.st_mode) or known.st_uid != os.getuid() or known.st_mode & 0o077:
        raise ConfigurationError(f"{folder} must be a folder that only you can open: remove it, or set TMPDIR")
    return Seat(folder / f"{function}-{hashlib.sha256(address.encode()).hexdigest()[:16]}")


def makeup(environment: Mapping[str, str]) -> str:
    """Return what tells workers apart that would do different things: their code, their Python, their settings."""
    settings = {name: value for name, value in environment.items() if name.upper().startswith(INHERITED)}
    for extra in EXTRAS:
        settings.pop(extra, None)
    relative = str(Path.cwd()) if settings else ""  # a setting may be a path below it
    versions = sorted((name, _version(value)) for name, value in settings.items())
    told = json.dumps([sys.executable, _last_change(), relative, sorted(settings.items()), versions])
    return hashlib.sha256(told.encode()).hexdigest()


def _version(value: str) -> int:
    """Return when the file that a setting names, or the model in the folder, was changed; 0 if it names neither."""
    with suppress(OSError, RuntimeError):  # a text that is too long for a path, or names a home that nobody has
        path = Path(value).expanduser()
        for one in (path, path / MODEL_INDEX):
            if one.is_file():
                return one.stat().st_mtime_ns
    return 0


def _last_change() -> int:
    """Return when our code or weights were changed last, in nanoseconds: an upgrade, or a line in a checkout."""
    root = Path(__file__).parents[2]
    files = (one for package in PACKAGES for one in (root / package).rglob("*") if one.suffix in OURS)
    return max(one.stat().st_mtime_ns for one in files)


def share(use: IO[bytes]) -> None:
    """Let other commands use the worker too, after a use alone."""
    fcntl.flock(use, fcntl.LOCK_SH)


def _open(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "r+b")


def _extras(environment: Mapping[str, str]) -> list[str]:
    return [f"{name}={environment[name]}" for name in EXTRAS if name in environment]


def _lock(file: IO[bytes], path: Path) -> None:
    for _ in range(TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(PAUSE_SECONDS)
        else:
            os.utime(path)
            return
    raise SeatTaken(f"another worker has {path}")
