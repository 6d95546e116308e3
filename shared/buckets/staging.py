"""Where the objects of a folder lie until they are whole, and how what dead writers left there is told and removed.

    <bucket>/.photog/<kernel>-<random>      one file per write, locked (flock) by its writer from birth to end

| state of a staged file | how it is told | who moves | to |
|---|---|---|---|
| being written | its lock is held, which ends with its process | its writer | placed, or removed |
| orphan of this kernel | its lock is free | who writes or lists, every COLLECT_SECONDS | removed |
| orphan of another kernel | its lock is free, and untouched for ORPHAN_SECONDS | who writes or lists | removed |
| either orphan | free | who forgets a person, at once | removed |

Locks of one kernel are sure; over a network some filesystems keep them to themselves, hence the wait. A file that is
taken for an orphan too early costs its writer another try and nothing else. Names that are not ours are left alone, but
for forgetting: a picture may lie under any name.
"""

import fcntl
import hashlib
import os
import platform
import re
import stat
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from shared.buckets.base import BucketError

STAGING = ".photog"
COLLECT_SECONDS = 10.0  # between two looks of one process for orphans; a look into an empty folder takes 20 us
ORPHAN_SECONDS = 900.0  # no write of one object takes so long
OURS = re.compile(r"(?:[0-9a-f]{8}-)?[0-9a-f]{32}")
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
TRIES = 10


class Staging:
    """The staged files of one bucket. The folder is made by the first write, and again whenever it alone is gone."""

    def __init__(self, root: Path) -> None:
        self.path = root / STAGING
        self._looked = -COLLECT_SECONDS
        self._lock = threading.Lock()

    @contextmanager
    def holding(self, data: bytes) -> Iterator[str]:
        """The path of a file with `data`, on disk and locked, for as long as the context lasts; OSError, BucketError.

        It may be moved or linked meanwhile; what is left of it is removed, also when the disk was full.
        """
        self.look()
        path, descriptor = self._create()
        try:
            _fill(descriptor, data)
            yield path
        finally:
            _discard(path, descriptor)

    def collect(self, patience: float = 0.0, any_name: bool = True) -> list[str]:
        """Remove orphans: all, or those of other kernels that nobody touched for `patience` seconds.

        Returns their names. BucketError names those that could not be removed.
        """
        try:
            folder = os.open(self.path, FOLDER)
        except (FileNotFoundError, NotADirectoryError):
            return []  # also a link, which might lead anywhere
        removed, stuck = [], []
        try:
            for name in sorted(os.listdir(folder)):
                if any_name or OURS.fullmatch(name):
                    try:
                        if _remove_orphan(folder, name, patience):
                            removed.append(name)
                    except OSError as error:
                        stuck.append(f"{name} ({error.strerror})")
        finally:
            os.close(folder)
        if stuck:
            raise BucketError(f"half-written files in {self.path} cannot be removed: {', '.join(stuck[:5])}")
        return removed

    def look(self) -> None:
        """Remove what is certainly an orphan, if the last look is some time ago; never raises."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked < COLLECT_SECONDS:
                return
            self._looked = now
        with suppress(BucketError, OSError):  # what others left must not keep anybody from writing
            self.collect(ORPHAN_SECONDS, any_name=False)

    def _create(self) -> tuple[str, int]:
        """A new file that nobody has removed before it was locked."""
        for _ in range(TRIES):
            self._make()
            path = str(self.path / f"{_kernel()}-{uuid.uuid4().hex}")
            try:
                descriptor = os.open(path, NEW, 0o666)
            except FileNotFoundError:
                continue  # the folder was removed between the two calls
            try:
                with suppress(OSError):  # a filesystem without locks: then orphans are told by their age
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.fstat(descriptor).st_nlink:
                    return path, descriptor
            except BaseException:
                _discard(path, descriptor)
                raise
            os.close(descriptor)
        raise BucketError(f"{self.path} is removed as fast as it is made")

    def _make(self) -> None:
        try:
            mode = os.lstat(self.path).st_mode
        except FileNotFoundError:
            with suppress(FileExistsError):
                os.mkdir(self.path)  # FileNotFoundError where the bucket itself is gone
            mode = os.lstat(self.path).st_mode
        if not stat.S_ISDIR(mode):
            raise BucketError(f"{self.path} must be a folder of photog's own, and is none; move it away")


def _discard(path: str, descriptor: int) -> None:
    with suppress(OSError):  # gone, or the disk went away: a later look finds it
        os.unlink(path)
    os.close(descriptor)


def _fill(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.fsync(descriptor)


def _remove_orphan(folder: int, name: str, patience: float) -> bool:
    """Remove a file whose writer is dead; whether it was one."""
    try:
        if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return False
        descriptor = os.open(name, FILE, dir_fd=folder)
    except FileNotFoundError:
        return False
    try:
        if not _orphaned(descriptor, name, patience):
            return False
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    finally:
        os.close(descriptor)
    return True


def _orphaned(descriptor: int, name: str, patience: float) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here: the age decides
        trusted = False
    else:
        trusted = name.startswith(_kernel())
    return trusted or time.time() - os.fstat(descriptor).st_mtime >= patience


@cache
def _kernel() -> str:
    """Tells the processes between which locks can be trusted: those of one boot of one kernel, in any container."""
    try:
        identity = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        identity = platform.node()
    return hashlib.sha256(identity.encode()).hexdigest()[:8]
