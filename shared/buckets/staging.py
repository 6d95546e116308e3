"""Staging of a folder bucket: where objects are written before they are moved, and how orphans are found and removed.

    <bucket>/.photog/<kernel>-<random>      one file per write, locked (flock) by its writer from creation to end

| state of a staged file | how it is recognized | who moves it | to |
|---|---|---|---|
| being written | it is locked; the lock ends with its process | its writer | placed, or removed |
| orphan of this kernel | it is not locked | writers and listers, every COLLECT_SECONDS | removed |
| orphan of another kernel | not locked, and unchanged for ORPHAN_SECONDS | writers and listers | removed |
| either orphan | not locked | erasure, at once | removed |

Locks are reliable within one kernel; over a network some filesystems do not share them, hence the wait. A file taken
for an orphan too early only costs its writer another try. Files with other names are left alone, except by erasure: a
picture may have any name.
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
from typing import NamedTuple

from shared.buckets.base import BucketError

STAGING = ".photog"
COLLECT_SECONDS = 10.0  # between two searches of one process for orphans; searching an empty folder takes 20 us
ORPHAN_SECONDS = 900.0  # no write of one object takes this long
OURS = re.compile(r"(?:[0-9a-f]{8}-)?[0-9a-f]{32}")
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
TRIES = 10


class StagedFile(NamedTuple):
    """A file with an object's bytes that has no key yet."""

    path: str
    descriptor: int

    def sync(self) -> None:
        """Write its bytes to the disk."""
        os.fsync(self.descriptor)


class Staging:
    """The staged files of one bucket; their folder is made by the first write, and again if only it is gone."""

    def __init__(self, root: Path) -> None:
        self.path = root / STAGING
        self._looked = -COLLECT_SECONDS
        self._lock = threading.Lock()

    @contextmanager
    def holding(self, data: bytes) -> Iterator[StagedFile]:
        """Yield a file with `data`, not synced yet, and locked for the duration of the context.

        The file may be moved or linked meanwhile; what is left of it is removed, also if the disk was full. Raises
        OSError and BucketError.
        """
        self.look()
        path, descriptor = self._create()
        try:
            _fill(descriptor, data)
            yield StagedFile(path, descriptor)
        finally:
            _discard(path, descriptor)

    def collect(self, patience: float = 0.0, any_name: bool = True) -> list[str]:
        """Remove orphans and return their names.

        Args:
            patience: seconds for which an orphan of another kernel must be unchanged.
            any_name: also remove files whose names are not photog's.

        Raises BucketError with the names of those that could not be removed.
        """
        try:
            folder = os.open(self.path, FOLDER)
        except (FileNotFoundError, NotADirectoryError):
            return []  # also for a link, which might lead anywhere
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
        """Remove certain orphans, if the last search was some time ago; never raises."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked < COLLECT_SECONDS:
                return
            self._looked = now
        with suppress(BucketError, OSError):  # others' leftovers must not prevent a write
            self.collect(ORPHAN_SECONDS, any_name=False)

    def _create(self) -> tuple[str, int]:
        """Create a file and lock it; retried if another process removed it before it was locked."""
        for _ in range(TRIES):
            self._make_folder()
            path = str(self.path / f"{_kernel()}-{uuid.uuid4().hex}")
            try:
                descriptor = os.open(path, NEW, 0o666)
            except FileNotFoundError:
                continue  # the folder was removed between the two calls
            try:
                with suppress(OSError):  # a filesystem without locks: then orphans are recognized by age
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.fstat(descriptor).st_nlink:
                    return path, descriptor
            except BaseException:
                _discard(path, descriptor)
                raise
            os.close(descriptor)
        raise BucketError(f"{self.path} is removed again whenever it is made")

    def _make_folder(self) -> None:
        try:
            mode = os.lstat(self.path).st_mode
        except FileNotFoundError:
            with suppress(FileExistsError):
                os.mkdir(self.path)  # FileNotFoundError if the bucket itself is gone
            mode = os.lstat(self.path).st_mode
        if not stat.S_ISDIR(mode):
            raise BucketError(f"{self.path} is not a folder, but photog needs a folder there; move it away")


def _discard(path: str, descriptor: int) -> None:
    with suppress(OSError):  # gone, or the disk is gone: a later search finds it
        os.unlink(path)
    os.close(descriptor)


def _fill(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _remove_orphan(folder: int, name: str, patience: float) -> bool:
    """Remove a file if its writer is dead; returns whether it was removed."""
    try:
        if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return False
        descriptor = os.open(name, FILE, dir_fd=folder)
    except FileNotFoundError:
        return False
    try:
        if not _is_orphan(descriptor, name, patience):
            return False
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    finally:
        os.close(descriptor)
    return True


def _is_orphan(descriptor: int, name: str, patience: float) -> bool:
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
    """Return an id of this boot of this kernel: between its processes, in any container, locks can be trusted."""
    try:
        identity = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        identity = platform.node()
    return hashlib.sha256(identity.encode()).hexdigest()[:8]
