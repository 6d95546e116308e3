"""An environment of some extras and nothing else, made in a moment: links to what installed distributions brought."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

from tests.dependencies import OURS, closure, declared
from tests.deployment import ROOT

SITE = Path(sysconfig.get_path("purelib"))

# isolated from this environment (-I) and from all of its packages (-S); what is linked is all there is
START = "import sys; sys.path.append({folder!r}); from shared.cli import app; app()"


class Extras:
    """The core with these extras, and what is installed beside them with --no-deps.

    Args:
        folder: an empty one, for the links.
    """

    def __init__(self, folder: Path, extras: Sequence[str], beside: Iterable[str] = ()) -> None:
        self._folder = folder
        for name in {*closure(declared(extras)), *beside, "photog"}:
            link_distribution(name, folder)
        for name in OURS:
            _link(ROOT / name, folder)

    def photog(self, *words: object, **settings: str) -> "subprocess.CompletedProcess[str]":
        """The program in this environment."""
        command = [sys.executable, "-I", "-S", "-c", START.format(folder=str(self._folder)), *map(str, words)]
        return subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)


def link_distribution(name: str, folder: Path) -> None:
    """Link what an installed distribution has put into the site-packages."""
    for top in _tops(find_distribution(name)):
        _link(SITE / top, folder)


def _link(target: Path, folder: Path) -> None:
    link = folder / target.name
    if target.exists() and not link.exists():
        link.symlink_to(target)


def find_distribution(name: str) -> metadata.Distribution:
    """The one that pip has installed: setuptools leaves a folder of that name, with no RECORD, beside the sources."""
    found = next(iter(metadata.distributions(name=name, path=[str(SITE)])), None)
    if found is None:
        raise metadata.PackageNotFoundError(name)
    return found


def _tops(distribution: metadata.Distribution) -> set[str]:
    """The names that a distribution has put beside those of others."""
    lines = (distribution.read_text("RECORD") or "").splitlines()
    own = {line.partition(",")[0].partition("/")[0] for line in lines}
    return own - {"..", "__pycache__", ""}
