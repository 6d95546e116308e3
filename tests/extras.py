"""An environment of some extras and nothing else, made in a moment: links to what installed distributions brought.

photog itself is in it as its wheel unpacks, built from the checkout: nothing of the checkout can be imported by chance.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from tests.dependencies import OURS, closure, declared
from tests.deployment import ROOT

SITE = Path(sysconfig.get_path("purelib"))

# isolated from this environment (-I) and from all of its packages (-S); what is linked is all there is
START = "import sys; sys.path.append({folder!r}); from shared.cli import app; app()"

# what pip does to build a wheel without isolation, without pip, whose own work takes as long
BUILD = [
    sys.executable,
    "-P",
    "-c",
    "import sys; from setuptools import build_meta as made; made.build_wheel(sys.argv[1])",
]


class Extras:
    """The core with these extras, and what is installed beside them with --no-deps.

    Args:
        folder: an empty one, for the links.
        wheel: photog's, unpacked.
        instead: packages that are installed with theirs in place of the core and the extras, photog with --no-deps.
    """

    def __init__(
        self,
        folder: Path,
        wheel: Path,
        extras: Sequence[str] = (),
        beside: Iterable[str] = (),
        instead: Sequence[str] | None = None,
    ) -> None:
        self._folder = folder
        wanted = declared(extras) if instead is None else [Requirement(one) for one in instead]
        for name in {*closure(wanted), *beside}:
            link_distribution(name, folder)
        for top in wheel.iterdir():
            _link(top, folder)

    def python(self, code: str) -> "subprocess.CompletedProcess[str]":
        """Python code in this environment."""
        words = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(self._folder)!r}); {code}"]
        return subprocess.run(words, cwd=self._folder, capture_output=True, text=True, check=False)

    @property
    def program(self) -> list[str]:
        """The words that start photog in this environment."""
        return [sys.executable, "-I", "-S", "-c", START.format(folder=str(self._folder))]

    def photog(self, *words: object, **settings: str) -> "subprocess.CompletedProcess[str]":
        """The program in this environment."""
        command = [*self.program, *map(str, words)]
        return subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)


def build_wheel(folder: Path) -> Path:
    """Build the wheel of photog from a copy of the packages of the checkout, and return it."""
    source, built = folder / "source", folder / "built"
    names = ["pyproject.toml", "README.md", "LICENSE", *OURS]
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            source.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([*BUILD, built], cwd=source, env=alone, check=True)
    (wheel,) = built.glob("*.whl")
    return wheel


def unpack_wheel(wheel: Path, folder: Path) -> Path:
    """Unpack a wheel as pip does, and return the folder."""
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    return folder


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
