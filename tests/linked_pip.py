"""Stands in for an image's pip: links to what is installed here instead of downloading, unpacking and compiling it.

    python -m tests.linked_pip SITE install [--constraint FILE] [--no-deps] [--requirement FILE] [NAME...]

An environment that it fills has what pip would bring, in the pinned versions, and nothing else; `make extras` asks pip.
"""

import os
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.dependencies import closure
from tests.extras import BUILD, find_distribution, link_distribution


def main(site: Path, words: list[str]) -> None:
    parser = ArgumentParser()
    parser.add_argument("verb", choices=["install"])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--constraint", type=Path)
    parser.add_argument("--requirement", type=Path)
    parser.add_argument("--no-deps", action="store_true")
    asked = parser.parse_intermixed_args(words)
    if asked.names == ["."]:
        install_source(site)
        return
    lines = [*asked.names, *(asked.requirement.read_text().splitlines() if asked.requirement else [])]
    wanted = [one for one in map(Requirement, lines) if one.marker is None or one.marker.evaluate()]
    pins: dict[str, Requirement] = {}
    for one in map(Requirement, read_lines(asked.constraint)):
        pins[canonicalize_name(one.name)] = one
    for name in {canonicalize_name(one.name) for one in wanted} if asked.no_deps else closure(wanted):
        version = Version(find_distribution(name).version).public
        if name in pins and version not in pins[name].specifier:
            sys.exit(f"{name} {version} is installed here, but {pins[name]} is pinned: make setup")
        link_distribution(name, site)


def read_lines(constraints: Path | None) -> list[str]:
    """The pins of a file of constraints."""
    lines = constraints.read_text().splitlines() if constraints else []
    return [line for line in lines if line and not line.startswith("#")]


def install_source(site: Path) -> None:
    """Build the package in the working directory, and install it without what it needs."""
    python = str(site.parents[2] / "bin/python")
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", python]
    # a checkout may have metadata of its editable install, for which pip would take the package to be installed
    alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*BUILD, folder], check=True, env=alone)
        (wheel,) = Path(folder).glob("*.whl")
        into = [*pip, "install", "--no-deps", "--no-index", "--no-compile", str(wheel)]
        subprocess.run(into, check=True, env=alone)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
