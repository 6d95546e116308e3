"""Every extra stands alone on the oldest and on the newest Python that is supported, too.

Here with the extras that install in seconds; the matrix of .github/workflows/test.yml runs everything on each Python.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.deployment import ROOT
from tests.images import need_registry

MATRIX = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]["test"]["strategy"]["matrix"][
    "python"
]
OLDEST, NEWEST = MATRIX[0], MATRIX[-1]
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
HERE = ".".join(map(str, sys.version_info[:2]))
EXTRAS = "cloud,dlib,http,serve,insightface"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def interpreter(version: str) -> str:
    """That Python, or the test is skipped."""
    if version == HERE:
        pytest.skip(f"this is {version}: tests/functional/test_extras.py has looked")
    found = [shutil.which(f"python{version}"), *map(str, PYENV.glob(f"versions/{version}.*/bin/python"))]
    for one in filter(None, found):  # the first may be a shim that refuses
        if subprocess.run([one, "--version"], capture_output=True, check=False).returncode == 0:
            return one
    pytest.skip(f"there is no python{version}")


def test_the_oldest_python_is_the_one_that_the_package_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["requires-python"] == f">={OLDEST}"
    assert project["tool"]["mypy"]["python_version"] == OLDEST
    assert project["tool"]["ruff"]["target-version"] == f"py{OLDEST.replace('.', '')}"


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_light_extra_stands_alone_on(version, tmp_path):
    if not os.environ.get("TEST_PYTHONS"):
        pytest.skip("`make extras` looks: installing takes a minute")
    python = interpreter(version)
    need_registry(tmp_path / "probe")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PHOTOG", "PYTEST"))}
    clean |= {"PIP_NO_COMPILE": "1"}  # what is not imported need not be compiled
    subprocess.run([python, "-m", "venv", tmp_path / "env"], env=clean, check=True)
    inside = tmp_path / "env/bin/python"
    constrained = [inside, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt"]
    tools = ["packaging", "pytest", "pyyaml", "setuptools>=77"]  # what the suite imports, and builds the wheel with
    for words in (["--editable", f".[{EXTRAS}]", *tools], ["--no-deps", "insightface"]):
        done = subprocess.run([*constrained, *words], cwd=ROOT, env=clean, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    suite = [inside, "-m", "pytest", "-q", "--noconftest", "-o", "addopts=", "-p", "no:cacheprovider"]
    suite += ["-m", "not slow"]  # with torch, which takes minutes to install
    suite.append(Path("tests/functional/test_extras.py"))
    done = subprocess.run(suite, cwd=ROOT, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 4, done.stdout
    assert "failed" not in done.stdout
