"""A folder as a bucket: keys are relative paths, every write is staged beside and appears whole.

Staging lies in `.photog` below the root, so on the same filesystem: `os.replace` and `os.link` are atomic there, and a
hard link onto an existing name fails, which is what makes `put_if_absent` exclusive between processes.
"""

import errno
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from shared.buckets.base import BucketError, InvalidKey, MissingObject, ObjectInfo, checked

STAGING = ".photog"
PLACING_TRIES = 10
PIECE = 1024 * 1024  # bytes read at a time
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class FolderBucket:
    """Objects as files below `root`, which is made if it is not there."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()
        self.address = str(self.root)
        self._staging = self.root / STAGING
        try:
            self._staging.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BucketError(f"{root} cannot be a bucket: {error}") from error

    def path(self, key: str) -> Path:
        """Where the object lies; InvalidKey, also where a link would lead out of the root."""
        path = self.root / checked(key)
        if key.split("/", 1)[0] == STAGING or not path.parent.resolve().is_relative_to(self.root):
            raise InvalidKey(f"{key} lies outside of the bucket {self.address}")
        if path.is_symlink() and not path.resolve().is_relative_to(self.root):
            raise InvalidKey(f"{key} is a link out of the bucket {self.address}")
        return path

    def get(self, key: str) -> bytes:
        try:
            return self.path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise MissingObject(f"no object {key} in {self.address}") from None

    def stream(self, key: str) -> Iterator[bytes]:
        try:
            with self.path(key).open("rb") as file:
                while piece := file.read(PIECE):
                    yield piece
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise MissingObject(f"no object {key} in {self.address}") from None

    def put(self, key: str, data: bytes) -> None:
        staged = self._stage(data)
        try:
            self._place(key, staged, os.replace)
        finally:
            staged.unlink(missing_ok=True)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        staged = self._stage(data)
        try:
            self._place(key, staged, os.link)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno in NO_LINKS:
                raise BucketError(f"{self.address} has no hard links; put the bucket on another filesystem") from error
            raise
        finally:
            staged.unlink(missing_ok=True)
        return True

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        folder = prefix.rpartition("/")[0]
        start = self.root / checked(folder) if folder else self.root
        found = (info for info in self._walk(start) if info.key.startswith(prefix))
        yield from sorted(found, key=lambda info: info.key)

    def delete(self, key: str) -> None:
        path = self.path(key)
        try:
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == self.root or len(folder.relative_to(self.root).parts) < 3:
                    return
                folder.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EPERM):
                raise

    def head(self, key: str) -> ObjectInfo | None:
        try:
            path = self.path(key)
            return _info(key, path.stat()) if path.is_file() else None
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _stage(self, data: bytes) -> Path:
        staged = self._staging / uuid.uuid4().hex
        with staged.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return staged

    def _place(self, key: str, staged: Path, move: Callable[[Path, Path], None]) -> None:
        path = self.path(key)
        for _ in range(PLACING_TRIES):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                # mkdir says so too of a folder that is gone again when it looks what stands in its way;
                # never to be mistaken for the object itself being there
                self._nothing_above(key, path)
                continue
            try:
                move(staged, path)
            except FileNotFoundError:
                continue  # another process removed the folder, empty until now, between the two calls
            _sync(path.parent)
            return
        raise BucketError(f"the folder of {key} in {self.address} is removed as fast as it is made")

    def _nothing_above(self, key: str, path: Path) -> None:
        """Raises InvalidKey when an object stands where a folder of the key would have to be."""
        for folder in path.relative_to(self.root).parents:
            if (self.root / folder).is_file():
                raise InvalidKey(f"{key} cannot be a key of {self.address}: {folder.as_posix()} is an object")

    def _walk(self, folder: Path) -> Iterator[ObjectInfo]:
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                if path != self._staging:
                    yield from self._walk(path)
            elif entry.is_file(follow_symlinks=False):
                try:
                    yield _info(path.relative_to(self.root).as_posix(), entry.stat(follow_symlinks=False))
                except FileNotFoundError:
                    continue  # gone since the folder was read, as a key of a store may be


def _sync(folder: Path) -> None:
    """Make a new name in a folder survive a loss of power; nothing where it was removed since, with its folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    etag = f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
    return ObjectInfo(key, status.st_size, etag, status.st_mtime)
