"""An image without Docker: the build stage of a Dockerfile, run in a folder that stands for the image's file system."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deployment import DOCKERFILES, ROOT, command, environment, instructions

REGISTRY_SECONDS = 60  # for one small package, before it is said that there is no registry
PROBE = "idna"  # pure Python, and one of ours


class Image:
    """What a Dockerfile's build stage makes, with the command that its last stage starts.

    Args:
        function: whose Dockerfile.
        folder: an empty one; /opt/photog and the working directory of the build lie in it.
        linked: `pip install` links to what is installed here, see linked_pip.py.
    """

    def __init__(self, function: str, folder: Path, linked: bool = True) -> None:
        self._linked = linked
        self.function, self._folder, self._home = function, folder, folder / "home"
        # what is not imported need not be compiled, and what is, once (_inside)
        self._source, self._environment = folder / "src", _clean_environment() | {"PIP_NO_COMPILE": "1"}
        self._home.mkdir()

    def build(self) -> None:
        """Do what the first stage says; the shell's own words are run as they are."""
        self._source.mkdir()
        if self._linked:
            self._replace_pip()
        for name, rest in build_stage(self.function):
            if name in ("ENV", "ARG"):
                words = shlex.split(self._placed(rest))  # an ARG without a value stays unset
                self._environment |= dict(word.split("=", 1) for word in words if "=" in word)
            elif name == "COPY":
                *sources, target = rest.split()
                for source in sources:
                    self._copy(ROOT / source, self._source / target)
            elif name == "RUN":
                self._shell(self._placed(rest))
        shutil.rmtree(self._source)  # nothing of it is in the image

    def as_image_of(self, function: str) -> "Image":
        """Another image that has the same build stage, out of what this one built."""
        assert build_stage(function) == build_stage(self.function)
        other = object.__new__(Image)
        other.__dict__ |= self.__dict__ | {"function": function}
        return other

    def run(self, *words: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """A command in the image."""
        return subprocess.run(
            words, cwd=self._home, env=self._inside() | settings, capture_output=True, text=True, check=False
        )

    @contextmanager
    def run_worker(self, bucket: str, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
        """The image's own command on this bucket, until it is drained as containers are."""
        with self.run_command(command(DOCKERFILES[self.function]), bucket, **settings) as process:
            yield process

    @contextmanager
    def run_command(self, words: list[str], bucket: str, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A command in the image, with this bucket in the place of the mounted one, until SIGTERM."""
        words = [bucket if word == "/bucket" else word for word in words]
        process = subprocess.Popen(words, cwd=self._home, env=self._inside() | settings)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(150) == 0

    def _inside(self) -> dict[str, str]:
        """The environment of the image's own stage."""
        path = f"{self._folder}/opt/bin:/usr/bin:/bin"
        alive = {"PHOTOG_HEALTH__FILE": str(self._folder / f"{self.function}.alive")}
        writable = {"PYTHONDONTWRITEBYTECODE": "", "PATH": path}  # unlike an image, this one was not compiled
        return _clean_environment() | environment(DOCKERFILES[self.function]) | alive | writable

    def _placed(self, text: str) -> str:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return text.replace("/opt/photog", f"{self._folder}/opt").replace("$PATH", path)

    def _copy(self, source: Path, target: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "Dockerfile"))
        else:
            shutil.copy(source, target)

    def _replace_pip(self) -> None:
        site = self._folder / f"opt/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
        program = self._folder / "linked/pip"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m tests.linked_pip {site} "$@"\n')
        program.chmod(0o755)
        # an environment of its own pip, unpacked out of Python in three seconds, would be one that nobody asks
        python = program.with_name("python")
        python.write_text(
            "#!/bin/sh\n"
            "PATH=${PATH#*:}\n"  # the Python that is found without this one
            '[ "$1 $2" = "-m venv" ] && shift 2 && set -- -m venv --without-pip "$@"\n'
            'exec python "$@"\n'
        )
        python.chmod(0o755)
        # the build argument for an image without CUDA: its onnxruntime is the one that is here
        self._environment |= {"PIP_EXTRA_INDEX_URL": "https://download.pytorch.org/whl/cpu"}

    def _shell(self, text: str) -> None:
        # nothing lies there unless pip is replaced
        path = {"PATH": f"{self._folder}/linked:{self._environment['PATH']}"}
        done = subprocess.run(
            ["/bin/sh", "-ec", text],
            cwd=self._source,
            env=self._environment | path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout[-4000:]}"


def build_stage(function: str) -> list[tuple[str, str]]:
    """The instructions between the first FROM and the next."""
    stages: list[list[tuple[str, str]]] = []
    for name, rest in instructions(DOCKERFILES[function]):
        if name == "FROM":
            stages.append([])
        elif stages:
            stages[-1].append((name, rest))
    return stages[0]


def need_registry(folder: Path) -> None:
    """Skip the test where pip reaches no registry."""
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PROBE]
    try:
        reached = subprocess.run(words, capture_output=True, timeout=REGISTRY_SECONDS, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        reached = False
    if not reached:
        pytest.skip("pip reaches no registry")


def _clean_environment() -> dict[str, str]:
    """This machine's, without what would let an image find our own packages or settings."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PHOTOG", "VIRTUAL_ENV"))}
    return kept | {"OMP_NUM_THREADS": "1"}
