"""The pictures of a command: their names on the command line and their keys in the bucket."""

import glob
from collections.abc import Iterable
from pathlib import Path

from shared.buckets import InvalidKey
from shared.buckets.base import LONGEST_KEY
from shared.cli.console import fail
from shared.cli.nearest import did_you_mean_path
from shared.operations.client import Client

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif"}
MOST_SHOWN = 5  # names of pictures that an error lists
SHEET_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")  # formats in which a sheet can be saved
"""Files with these suffixes are taken from a folder; a file that is named itself may have any suffix."""


WORDS = {
    "choose another user_id": "choose another name",
    'send configure.another_person "replace"': "add --replace-person",
    "or send configure.references": "or name photos",
    "configure.references": "--reference",
    "configure.user_id": "--user",
    "the user_id 'none'": "`--user none`",
    "the request has 1 user_id: give one per face": "one person is named: with `photog generate`, give --user once per "
    "face",
    "the request has 1 reference list: give one per face": "--reference is for one face: keep the person by `photog "
    "people add NAME PHOTO...`, then give --user once per face",
    "give one per face from left": "give --user once per face from left",
    "user_ids": "people",
    "user_id": "person",
}
"""Words of a request, which only applications know, with those of the command line; longer ones first."""


def complete_files(incomplete: str) -> list[str]:
    """Return nothing, so that the shell completes file names."""
    return []


def files_of(given: Iterable[str]) -> list[str]:
    """Replace each folder by its pictures, and each pattern by the files that match it, sorted by name.

    A shell has expanded patterns already, unless they were quoted.
    """
    found: list[str] = []
    for one in given:
        path = Path(one).expanduser() if _may_be_file(one) else None
        if path is not None and path.is_dir():
            found += _list_folder(path)
        elif path is not None and not path.exists() and glob.has_magic(one):
            found += sorted(glob.glob(str(path), recursive=True)) or [one]
        else:
            found.append(one)
    return found


def require_file(given: str | Path) -> Path:
    """Return the file's path; exit with the name that may be meant if there is no such file."""
    path = Path(given).expanduser()
    if path.is_dir():
        fail(f"{given} is a folder; name a picture")
    if not path.is_file():
        fail(_explain_pattern(path) or f"there is no file {given}{did_you_mean_path(path, _list_beside(path))}")
    return path


def find_free(path: Path) -> Path:
    """Return the path, with a number if something is there already: what nobody has named is never overwritten."""
    free, number = path, 2
    while free.exists():
        free, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return free


class Pictures:
    """Copies pictures into the bucket, and remembers the user's names for their keys.

    Args:
        client: where they are copied to.
        user_id: the person whose pictures they are; None for nobody known, or for several.
    """

    def __init__(self, client: Client, user_id: str | None = None) -> None:
        self._client, self._user_id = client, user_id
        self._names: dict[str, str] = {}

    def reference(self, given: str) -> str:
        """Return a picture's reference for a manifest: the key of a file's copy in the bucket, or the argument itself.

        Exits if the argument is neither a file nor an object in the bucket.
        """
        key = self._client.reference(given, self._user_id)
        if key != given:
            self._names.setdefault(key, given)
        elif _may_be_file(given):
            self._require_object(given)
        return key

    def name(self, reference: str) -> str:
        """Return the user's name for the picture of a reference."""
        return self._names.get(reference, reference)

    def explain(self, text: str) -> str:
        """Return a sentence of an answer in the words of the command line: with the user's names, and options."""
        for word, option in WORDS.items():
            text = text.replace(word, option)
        return self.replace_keys(text)

    def replace_keys(self, text: str) -> str:
        """Return a sentence with the user's names in place of keys."""
        for key, name in self._names.items():
            text = text.replace(key, name)
        return text

    def _require_object(self, given: str) -> None:
        try:
            if self._client.bucket.head(given) is not None:
                return
        except InvalidKey:
            pass  # so it can only be meant as a file
        near = did_you_mean_path(Path(given), _list_beside(Path(given)))
        if (why := _explain_pattern(Path(given).expanduser())) is not None:
            fail(why)
        fail(f"{given} is neither a file nor an object in {self._client.bucket.address}{near}")


def _explain_pattern(path: Path) -> str | None:
    """Return what there is in place of the files that a pattern should match; None if it is no pattern."""
    if not glob.has_magic(str(path)):
        return None
    folder = next(one for one in path.parents if not glob.has_magic(str(one)))
    if not folder.is_dir():
        return f"no file matches {path}: there is no folder {folder}"
    there = sorted(one.name for one in folder.iterdir() if _is_picture(one))
    some = f"; in {folder} are {', '.join(there[:MOST_SHOWN])}{', ...' if len(there) > MOST_SHOWN else ''}"
    return f"no file matches {path}" + (some if there else f"; {folder} has no picture")


def is_file(given: str) -> bool:
    """Return whether the argument names a file here."""
    return _may_be_file(given) and Path(given).expanduser().is_file()


def _list_beside(path: Path) -> list[str]:
    """Return the names of the files in the folder in which a file was looked for."""
    return [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []


def _may_be_file(given: str) -> bool:
    """Return whether it may be a path or a key rather than a URL or an embedded picture."""
    return "://" not in given and not given.startswith("data:") and len(given.encode()) <= LONGEST_KEY


def _list_folder(folder: Path) -> list[str]:
    found = [str(path) for path in sorted(folder.iterdir()) if _is_picture(path)]
    if not found:
        inner = [str(one) for one in sorted(folder.iterdir()) if one.is_dir() and _has_picture(one)]
        more = ", ..." if len(inner) > MOST_SHOWN else ""
        hint = f"; name a folder in it that has some: {', '.join(inner[:MOST_SHOWN])}{more}" if inner else ""
        fail(f"there is no picture in the folder {folder} ({', '.join(sorted(SUFFIXES))}){hint}")
    return found


def _has_picture(folder: Path) -> bool:
    try:
        return any(_is_picture(path) for path in folder.iterdir())
    except OSError:
        return False


def _is_picture(path: Path) -> bool:
    """Return whether a folder's file is taken for a picture, by its name."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
