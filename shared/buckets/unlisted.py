"""Entries that a folder bucket skips when it lists, and why: links, special files, names that cannot be keys."""

import os
from collections.abc import Iterator
from pathlib import Path

from shared.buckets.base import is_usable_key
from shared.buckets.faults import IMPOSSIBLE
from shared.buckets.misnamed import NO_KEY
from shared.buckets.staging import STAGING

PLAIN_LENGTH = 500  # characters of a key whose bytes need not be counted


def find_unlisted(root: Path, folder: str, deep: bool) -> Iterator[tuple[str, str]]:
    """Yield the keys of links, special files and unusable names in a folder of the bucket, sorted within each folder.

    Args:
        root: the bucket's root, without links in its own path.
        folder: prefix that ends with /, or empty.
        deep: also in the folders below; links are not followed.

    Unreadable folders are not reported here, because listing the bucket reports them.
    """
    top = os.path.realpath(root / folder)
    staging = str(root / STAGING)
    todo = [(top, folder)] if _is_within(top, root) else []
    while todo:
        path, prefix = todo.pop()
        for entry in _entries(path):
            name = entry.name
            key = prefix + name
            plain = name.isascii() and name.isprintable() and "\\" not in name and len(key) < PLAIN_LENGTH
            if not plain and not is_usable_key(key):
                yield key + "/" * entry.is_dir(follow_symlinks=False), NO_KEY
            elif entry.is_dir(follow_symlinks=False):
                if deep and entry.path != staging:
                    todo.append((entry.path, f"{key}/"))
            elif entry.is_symlink():
                yield key, _why(entry.path, root)
            elif not entry.is_file(follow_symlinks=False):
                yield key, "it is not a regular file"


def _entries(path: str) -> "list[os.DirEntry[str]]":
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    except OSError as error:
        if error.errno in IMPOSSIBLE:
            return []
        raise


def _why(path: str, root: Path) -> str:
    target = os.path.realpath(path)
    if not os.path.exists(target):
        return "it is a broken link"
    if not _is_within(target, root):
        return "it is a link out of the bucket, and such links are never followed"
    if os.path.isdir(target):
        return "it is a link to a folder, and such links are not followed; put the folder itself there"
    return "it is a link; put the file itself there"


def _is_within(path: str, root: Path) -> bool:
    inside = f"{path}/".startswith(f"{str(root).rstrip('/')}/")
    return inside and not f"{path}/".startswith(f"{root / STAGING}/")
