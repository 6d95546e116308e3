"""The pictures of a command: as its user names them, and by which key the bucket has them."""

import glob
from collections.abc import Iterable
from pathlib import Path

from shared.buckets import InvalidKey
from shared.buckets.base import LONGEST_KEY
from shared.cli.console import fail
from shared.cli.nearest import did_you_mean
from shared.operations.client import Client

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif"}
"""Of the files that a folder of pictures stands for; a file that is named itself may have any."""


def files_of(given: Iterable[str]) -> list[str]:
    """What is given, with the pictures of a folder instead of it, and what a pattern matches instead of the pattern.

    In the order of their names. A shell has done the latter already, unless the pattern was quoted.
    """
    found: list[str] = []
    for one in given:
        path = Path(one).expanduser() if _may_be_file(one) else None
        if path is not None and path.is_dir():
            found += _in_folder(path)
        elif path is not None and not path.exists() and glob.has_magic(one):
            found += sorted(glob.glob(str(path), recursive=True)) or [one]
        else:
            found.append(one)
    return found


def require_file(given: str | Path) -> Path:
    """The file, or the end of the program, with the name of the file that may be meant."""
    path = Path(given).expanduser()
    if path.is_dir():
        fail(f"{given} is a folder, a picture is needed")
    if not path.is_file():
        fail(f"there is no file {given}{did_you_mean(str(path), _beside(path))}")
    return path


class Pictures:
    """Brings pictures into the bucket, and remembers what their keys are called here."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._names: dict[str, str] = {}

    def reference(self, given: str) -> str:
        """How a manifest names a picture: a file's copy in the bucket, anything else as it is given.

        The end of the program for what is neither a file nor in the bucket.
        """
        key = self._client.reference(given)
        if key != given:
            self._names.setdefault(key, given)
        elif _may_be_file(given):
            self._require_object(given)
        return key

    def name(self, reference: str) -> str:
        """What the user calls the picture of a reference."""
        return self._names.get(reference, reference)

    def named(self, text: str) -> str:
        """A sentence with the user's names instead of keys."""
        for key, name in self._names.items():
            text = text.replace(key, name)
        return text

    def _require_object(self, given: str) -> None:
        try:
            if self._client.bucket.head(given) is not None:
                return
        except InvalidKey:
            pass  # so it can only be meant as a file
        near = did_you_mean(given, _beside(Path(given)))
        fail(f"{given} is neither a file nor an object of {self._client.bucket.address}{near}")


def _beside(path: Path) -> list[str]:
    """The files in the folder where a file was looked for."""
    return [str(path.parent / one.name) for one in path.parent.iterdir()] if path.parent.is_dir() else []


def _may_be_file(given: str) -> bool:
    """Whether it is a path or a key, not a URL or a picture's own bytes."""
    return "://" not in given and not given.startswith("data:") and len(given.encode()) <= LONGEST_KEY


def _in_folder(folder: Path) -> list[str]:
    found = [
        str(path)
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not found:
        fail(f"no picture lies in the folder {folder} ({', '.join(sorted(SUFFIXES))})")
    return found
