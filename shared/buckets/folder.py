"""A folder as a bucket: keys are relative paths, and every object is staged first, so that it appears whole.

The staging folder is `.photog` below the root, so on the same filesystem: `os.replace` and `os.link` are atomic there,
and a hard link to an existing name fails, which makes `put_if_absent` exclusive between processes.

| object | synced to the disk | so after a loss of power |
|---|---|---|
| claim, progress, presence | beside the next work, before this process places another | it may be gone or empty |
| any other | file, then folder, before the call returns | it is there, and so is all that was written before it |

A worker's answer is thus never there without its claim, and small requests do not wait for four syncs. A claim that is
lost with the power costs nothing but its count: its worker is gone too.

Only regular files are objects. FIFOs, sockets and devices are never opened, links are followed only if they stay inside
the root, and every error of the operating system becomes a BucketError (`faults.py`).
"""

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from shared.buckets.background_syncs import BackgroundSyncs
from shared.buckets.base import (
    Bucket,
    BucketError,
    InvalidKey,
    MissingObject,
    ObjectInfo,
    StoreAbsent,
    StoreMisconfigured,
    StoreUnavailable,
    UnreadableFolder,
    check_folder,
    check_key,
    check_prefix,
    read_bounded,
)
from shared.buckets.faults import explain_fault
from shared.buckets.misnamed import find_misspelled, is_misspelled
from shared.buckets.staging import STAGING, StagedFile, Staging
from shared.buckets.unlisted import find_unlisted
from shared.buckets.walk import Walk, info, is_object
from shared.contract import keys

PLACING_TRIES = 10
PIECE = 1024 * 1024  # bytes read at a time
READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
ABSENT = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTCONN, errno.ENODEV, errno.ESTALE, errno.EIO}
NO_PLACE = {errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}  # permanent
NO_OBJECT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENXIO}
NOT_SYNCED = {errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP}  # removed since, or a filesystem that cannot sync folders
SYNCED_LATER = (keys.CLAIMS, keys.PROGRESS, keys.WORKERS)
STANDING = ("requests", "claims", "progress", "results", "notifications", "outbox", "queue", "failing")
"""Functions' folders below these stay when they are empty: triggers watch them, and they would soon be made again."""


class FolderBucket(Bucket):
    """Objects as files below `root`, which is made now if it does not exist, and never again later.

    Raises:
        StoreMisconfigured: if `root` can never be a bucket.
        StoreAbsent: if it does not exist and cannot be made.
        StoreUnavailable: if that fails in any other way.
    """

    def __init__(self, root: Path) -> None:
        try:
            self.root = Path(os.path.realpath(root.expanduser()))
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno in ABSENT:
                raise StoreAbsent(
                    f"{root} cannot be a bucket: it does not exist and cannot be made ({error.strerror}); "
                    f"mount its volume, or let user {os.geteuid()} make it"
                ) from error
            kind = StoreMisconfigured if error.errno in NO_PLACE else StoreUnavailable
            raise kind(f"{root} cannot be a bucket: {_reason(error, root)}") from error
        except (ValueError, RuntimeError) as error:  # a NUL, or the home of an unknown user
            raise StoreMisconfigured(f"{root!s:.200} cannot be a bucket: {error}") from error
        self.address = str(self.root)
        self._staging = Staging(self.root)
        self._staged, self._within = str(self._staging.path), f"{self.address.rstrip('/')}/"
        self._told: set[str] = set()
        self._syncs = BackgroundSyncs()

    def path(self, key: str) -> Path:
        """Return the object's path; raises InvalidKey, also if a link leads out of the root."""
        folder, _, name = check_key(key).rpartition("/")
        path = os.path.join(self._resolve(key, folder), name)
        if os.path.islink(path):
            self._resolve(key, key)
        elif path == self._staged:
            raise self._outside(key)
        return Path(path)

    def get(self, key: str, largest: int | None = None) -> bytes:
        with self._open_object(key) as file:
            return read_bounded(key, file.read() if largest is None else file.read(largest + 1), largest)

    def stream(self, key: str) -> Iterator[bytes]:
        with self._open_object(key) as file:
            while piece := file.read(PIECE):
                yield piece

    def put(self, key: str, data: bytes) -> None:
        with self._translate_errors(key):
            self._write(key, data, os.replace)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        with self._translate_errors(key):
            try:
                self._write(key, data, os.link)
            except FileExistsError:
                self._require_object(key)
                return False
            except OSError as error:
                if error.errno in NO_LINKS:
                    raise BucketError(
                        f"{self.address} does not support hard links; put the bucket on another filesystem"
                    ) from error
                raise
            return True

    def put_all(self, objects: Mapping[str, bytes]) -> None:
        self._write_all(objects, os.replace, self.put)

    def put_all_if_absent(self, objects: Mapping[str, bytes]) -> Set[str]:
        return self._write_all(objects, os.link, self.put_if_absent)

    def list(self, prefix: str, after: str = "") -> Iterator[ObjectInfo]:
        folder = "".join(check_prefix(prefix).rpartition("/")[:2])
        self._staging.look()  # a process that only reads must remove a dead writer's leftovers too
        walk = Walk(self._staged, self._told)
        yield from walk.objects(self._resolve(prefix, folder), folder, prefix, after)
        self._require_whole(walk)

    def folders(self, prefix: str) -> Iterator[str]:
        walk = Walk(self._staged, self._told)
        yield from walk.folders(self._resolve(prefix, check_folder(prefix)), prefix)
        self._require_whole(walk)

    def find_unlisted(self, folder: str, deep: bool = True) -> Iterator[tuple[str, str]]:
        yield from find_unlisted(self.root, check_folder(folder), deep)

    def find_misspelled(self, root: str) -> Iterator[str]:
        yield from find_misspelled(self, root)
        below = (key for key, _ in self.find_unlisted("", deep=False))
        yield from (key for key in below if is_misspelled(key, root))

    def delete(self, key: str) -> None:
        with self._translate_errors(key):
            path = self.path(key)
            try:
                path.unlink()
            except OSError as error:
                if error.errno not in NO_OBJECT and not path.is_dir():
                    raise
        with suppress(OSError):  # in use or not ours: an empty folder is not an object
            for folder in path.parents:
                parts = folder.relative_to(self.root).parts
                if len(parts) < 2 or (len(parts) == 2 and parts[0] in STANDING):
                    return
                folder.rmdir()

    def head(self, key: str) -> ObjectInfo | None:
        with self._translate_errors(key):
            status = self._status(self._resolve(key, check_key(key)))
            return info(key, status) if status else None

    def collect(self, prefixes: Sequence[str] = ()) -> Sequence[str]:
        with self._translate_errors(STAGING):
            return [f"{STAGING}/{name}" for name in self._staging.collect()]

    def _resolve(self, key: str, below: str) -> str:
        """Return the real path of `below`; raises InvalidKey if links lead out of the root or into staging."""
        path = os.path.realpath(f"{self.address}/{below}")
        within = f"{path}/"
        if not within.startswith(self._within) or within.startswith(f"{self._staged}/"):
            raise self._outside(key)
        return path

    def _outside(self, key: str) -> InvalidKey:
        return InvalidKey(f"{key} is outside the bucket {self.address}")

    @contextmanager
    def _translate_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise explain_fault(error, key, self.address) from error

    def _status(self, path: str) -> os.stat_result | None:
        """Return an object's status; None if there is none. Done before opening, which would wake special files."""
        try:
            status = os.stat(path, follow_symlinks=False)
        except OSError as error:
            if error.errno not in NO_OBJECT:
                raise
            return None
        return status if is_object(status) else None

    @contextmanager
    def _open_object(self, key: str) -> Iterator[BinaryIO]:
        """Open the object's file for the duration of the context."""
        with self._translate_errors(key):
            path = self._resolve(key, check_key(key))
            if self._status(path) is None:
                raise self._missing(key)
            try:
                descriptor = os.open(path, READ)
            except FileNotFoundError:
                raise self._missing(key) from None
            if not is_object(os.fstat(descriptor)):  # replaced between the two calls
                os.close(descriptor)
                raise self._missing(key)
            with open(descriptor, "rb", buffering=0) as file:
                yield file

    def _missing(self, key: str) -> MissingObject:
        return MissingObject(f"no object {key} in {self.address}")

    def _require_object(self, key: str) -> None:
        """Raise InvalidKey if something other than an object occupies the object's place."""
        path = self.path(key)
        if os.path.lexists(path) and self._status(os.path.realpath(path)) is None and os.path.lexists(path):
            raise InvalidKey(
                f"{key} cannot be a key of {self.address}: a folder, a broken link or a special file has its name"
            )

    def _require_whole(self, walk: Walk) -> None:
        if walk.unreadable:
            some = ", ".join(f"{folder or self.address} ({why})" for folder, why in list(walk.unreadable.items())[:5])
            raise UnreadableFolder(
                f"{len(walk.unreadable)} folders in {self.address} cannot be read: {some}; let user "
                f"{os.geteuid()} read and enter them (chown, chmod)",
                tuple(walk.unreadable),
            )

    def _write(self, key: str, data: bytes, move: Callable[[str, Path], None]) -> None:
        later = key.startswith(SYNCED_LATER)
        for _ in range(PLACING_TRIES):
            self._require_root()
            try:
                with self._staging.holding(data) as staged:
                    if not later:
                        staged.sync()
                        self._syncs.wait()
                    if (place := self._place(key, staged, move)) is not None:
                        self._sync_placed(staged, place.parent, later)
                        return
            except FileNotFoundError:  # the bucket may have been removed meanwhile
                self._require_root()
                raise
        raise BucketError(f"the folder of {key} in {self.address} is removed again whenever it is made")

    def _write_all(
        self,
        objects: Mapping[str, bytes],
        move: Callable[[str, Path], None],
        write_one: Callable[[str, bytes], bool | None],
    ) -> Set[str]:
        """Write many objects with the syncs of all at once; returns the keys of those that were written.

        Args:
            write_one: used for each object that cannot simply be moved into place; returns False if it is not written.
        """
        placed: dict[str, Path] = {}
        with self._translate_errors(next(iter(objects), "")), ExitStack() as held:
            self._require_root()
            staged = {key: held.enter_context(self._staging.holding(data)) for key, data in objects.items()}
            self._syncs.run(file.sync for file in staged.values())
            self._syncs.wait()
            for key, file in staged.items():
                with suppress(BucketError, OSError):  # raised again by `write_one`, unless it was for a moment
                    if (place := self._place(key, file, move)) is not None:
                        placed[key] = place.parent
            self._syncs.run(partial(_sync, folder) for folder in set(placed.values()))
        return {key for key, data in objects.items() if key in placed or write_one(key, data) is not False}

    def _sync_placed(self, staged: StagedFile, folder: Path, later: bool) -> None:
        if later:
            self._syncs.begin(os.dup(staged.descriptor), partial(_sync, folder))
        else:
            _sync(folder)

    def _place(self, key: str, staged: StagedFile, move: Callable[[str, Path], None]) -> Path | None:
        """Move the staged file into place and return that.

        None if the file is gone, perhaps because it was taken for an orphan.
        """
        path = self.path(key)
        for _ in range(PLACING_TRIES):
            try:
                self._make_folders(path.parent)
            except FileNotFoundError:  # another process removed one while it was empty, or the whole bucket is gone
                self._require_root()
                continue
            except (FileExistsError, NotADirectoryError):
                # mkdir raises this too if a folder vanishes while mkdir examines it;
                # it must never be mistaken for the object itself existing
                self._require_no_object_above(key, path)
                continue
            try:
                move(staged.path, path)
            except FileNotFoundError:
                if not os.path.lexists(staged.path):
                    return None
                continue  # another process removed the empty folder between the two calls
            except IsADirectoryError:
                raise InvalidKey(f"{key} cannot be a key of {self.address}: a folder has its name") from None
            return path
        raise BucketError(f"the folder of {key} in {self.address} is removed again whenever it is made")

    def _make_folders(self, folder: Path) -> None:
        """Make folders like mkdir -p within the bucket; the bucket itself is never made again."""
        if folder.is_dir():
            return
        place = self.root
        for name in folder.relative_to(self.root).parts:
            place /= name
            place.mkdir(exist_ok=True)

    def _require_root(self) -> None:
        """Raise StoreUnavailable if the whole bucket was removed, or its volume is not mounted.

        It is not made again, because whoever removed it may want it gone, or mount something there; its requests are
        lost.
        """
        if not self.root.is_dir():
            raise StoreUnavailable(f"{self.address} does not exist: make it, or mount its volume")

    def _require_no_object_above(self, key: str, path: Path) -> None:
        """Raise InvalidKey if an object is in the place of a folder of the key."""
        for folder in path.relative_to(self.root).parents:
            above = self.root / folder
            if os.path.lexists(above) and not above.is_dir():
                raise InvalidKey(f"{key} cannot be a key of {self.address}: {folder.as_posix()} is an object")


def _sync(folder: Path) -> None:
    """Make a new name in a folder survive a power loss; does nothing if it was removed since, with its folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in NOT_SYNCED:
            raise


def _reason(error: OSError, root: Path) -> str:
    if os.path.islink(os.path.realpath(root)):
        return "its symbolic links form a loop"
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "it or a folder above it is a file; move that away, or name a folder"
    return error.strerror or str(error)
