"""The objects below a folder on a disk, in the order of their keys, however many and deep they are."""

import logging
import os
import stat
from collections.abc import Iterator
from operator import itemgetter

from shared.buckets.base import ObjectInfo, is_usable_key
from shared.buckets.faults import IMPOSSIBLE
from shared.buckets.staging import STAGING
from shared.contract import keys

log = logging.getLogger(__name__)

MOST_TOLD = 1000  # unusable names that one bucket logs


class Walk:
    """A walk through folders that continues past unreadable ones, and records them.

    Args:
        hidden: path of a folder to skip.
        told: names already logged, shared by all walks of a bucket.

    Attributes:
        unreadable: folders that could not be read, as prefixes of keys, with the reason.
    """

    def __init__(self, hidden: str, told: set[str]) -> None:
        self._hidden, self._told = hidden, told
        self.unreadable: dict[str, str] = {}

    def objects(self, path: str, folder: str, prefix: str, after: str) -> Iterator[ObjectInfo]:
        """Yield the files below `path`, whose key is `folder`, with keys that begin with `prefix` and follow `after`.

        Links are not followed, and special files are not objects.
        """
        # a stack instead of recursion: folders can be nested more deeply than Python can recurse
        levels = [iter(self._level(path, folder, prefix, after))]
        while levels:
            for key, entry in levels[-1]:
                if key[-1] == "/":
                    levels.append(iter(self._level(entry.path, key, prefix, after)))
                    break
                info = self._look(key, entry)
                if info is not None:
                    yield info
            else:
                levels.pop()

    def folders(self, path: str, folder: str) -> Iterator[str]:
        """Yield the names of the folders in `path`, sorted."""
        for key, _ in self._level(path, folder, folder, ""):
            if key[-1] == "/":
                yield key[len(folder) : -1]

    def _level(self, path: str, folder: str, prefix: str, after: str) -> "list[tuple[str, os.DirEntry[str]]]":
        """Return one folder's relevant entries; folders' keys end with /, so that the keys below them come in order."""
        found = []
        whole = not after and folder.startswith(prefix)  # everything in it is listed
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    name = entry.name
                    key = folder + name
                    if entry.is_dir(follow_symlinks=False):
                        key += "/"
                        wanted = whole or key > after or after.startswith(key)
                        wanted = wanted and not (name == STAGING and entry.path == self._hidden)
                    else:
                        wanted = (whole or key > after) and entry.is_file(follow_symlinks=False)
                    if wanted and (whole or key.startswith(prefix)) and self._usable(name, key):
                        found.append((key, entry))
        except (FileNotFoundError, NotADirectoryError):
            return []  # gone since it was seen, like an object deleted during a listing
        except OSError as error:
            if error.errno not in IMPOSSIBLE:
                self.unreadable[folder] = error.strerror or str(error)
        found.sort(key=itemgetter(0))
        return found

    def _look(self, key: str, entry: "os.DirEntry[str]") -> ObjectInfo | None:
        try:
            return info(key, entry.stat(follow_symlinks=False))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:  # a folder that may be read but not entered
            self.unreadable["".join(key.rpartition("/")[:2])] = error.strerror or str(error)
            return None

    def _usable(self, name: str, key: str) -> bool:
        if name.isascii() and name.isprintable() and "\\" not in name and len(key) < 500:
            return True
        if is_usable_key(key.rstrip("/")):
            return True
        told_elsewhere = key.startswith(keys.REQUESTS)  # by the search for strays
        if not told_elsewhere and len(self._told) < MOST_TOLD and key not in self._told:
            self._told.add(key)
            log.warning("%r cannot be the key of an object; rename it, or it will not be found", key)
        return False


def info(key: str, status: os.stat_result) -> ObjectInfo:
    """Return an object's description from its file's status."""
    size = status.st_size
    return ObjectInfo(key, size, f"{status.st_ino:x}-{status.st_mtime_ns:x}-{size:x}", status.st_mtime)


def is_object(status: os.stat_result) -> bool:
    """Return whether a bucket may open it: not a folder, nor a special file that could block or never end."""
    return stat.S_ISREG(status.st_mode)
