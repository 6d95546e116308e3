"""Answers as they appear: each is whole at first sight, and neither changes nor goes."""

import json
import re
from pathlib import Path

from tests.scenario.chaos.labour import NAME

RESULT = re.compile(r"/results/[^/]+/([^/]+)/result\.json$")


class FolderWatch:
    """Looks at a folder's answers; `look` costs a few milliseconds."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "results" / NAME
        self._seen: dict[Path, tuple[int, int, int]] = {}
        self.wrongs: list[str] = []

    def look(self) -> int:
        """How many answers there are."""
        found = {path: path.stat() for path in self._folder.glob("*/result.json")}
        for path in self._seen.keys() - found.keys():
            self.wrongs.append(f"the answer of {path.parent.name} has gone")
        for path, status in found.items():
            mark = (status.st_ino, status.st_mtime_ns, status.st_size)
            if path not in self._seen:
                self._read(path)
            elif self._seen[path] != mark:
                self.wrongs.append(f"the answer of {path.parent.name} has changed")
            self._seen[path] = mark
        return len(found)

    def answered(self) -> set[str]:
        """The ids that have been seen answered."""
        return {path.parent.name for path in self._seen}

    def _read(self, path: Path) -> None:
        try:
            json.loads(path.read_bytes())
        except ValueError as error:
            self.wrongs.append(f"the answer of {path.parent.name} is not whole: {error}")


class ProxyWatch:
    """Told by the proxy of every write that the store has done."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self.wrongs: list[str] = []

    def written(self, method: str, path: str) -> None:
        """A PUT or DELETE that succeeded."""
        found = RESULT.search(path)
        if found is None:
            return
        key = f"{path.split('/')[-3]}/{found.group(1)}"
        if method == "DELETE" or key in self._seen:
            self.wrongs.append(f"the answer of {key} is written by a {method} after it was there")
        self._seen.add(key)

    def look(self) -> int:
        """How many answers there are."""
        return len(self._seen)

    def answered(self) -> set[str]:
        """The ids that have been seen answered, of all functions."""
        return {key.rpartition("/")[2] for key in self._seen}
