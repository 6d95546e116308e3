"""Whatever a file imports is declared where that file is installed: by the core, or by the extra that it belongs to."""

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.dependencies import EXTRAS, OURS, closure, declared, extras_of, foreign, imports, loaded, providers
from tests.deployment import FUNCTIONS, ROOT

# the extras without which a module is never loaded; all others need none
HOMES = {
    "shared.models": ("diffusion",),
    "shared.models.quantization": ("diffusion", "quantized"),
    "shared.models.portrait_tiny.recipe": ("diffusion", "dlib"),
    "shared.faces.dlib": ("dlib",),
    "shared.faces.dlib_landmarks": ("dlib",),
    "shared.faces.insightface": ("insightface",),
    "shared.faces.networks": ("insightface",),
    "shared.devices.gpu": ("diffusion",),
    "shared.buckets.s3": ("cloud",),
    "shared.runtime.http": ("http",),
    "functions.train": ("diffusion",),
    "functions.generate": ("diffusion",),
    "functions.generate.fusion.onnx_swapper": ("diffusion", "insightface"),
    "serve": ("serve",),
    "page": ("page",),
    "demo": ("dev",),
}
USED_BY = {  # declared for another package, which imports it itself
    "bitsandbytes": "diffusers quantizes with it",
    "torchao": "diffusers quantizes with it",
    "accelerate": "diffusers and transformers load large models through it",
    "httptools": "uvicorn takes it where it is there",
    "uvloop": "uvicorn takes it where it is there",
    "websockets": "uvicorn's WebSockets",
    "torchvision": "spandrel",
    "requests": "insightface",
    "scipy": "insightface",
    "tqdm": "insightface",
}
WITHOUT_DEPENDENCIES = {"insightface"}  # installed with --no-deps, so the extra of that name lists what it needs


def home(path: Path) -> tuple[str, ...]:
    """The extras of the nearest room around a file that has any."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    for length in range(len(parts), 0, -1):
        if (extras := HOMES.get(".".join(parts[:length]))) is not None:
            return extras
    return ()


def names(extras: tuple[str, ...] | list[str]) -> set[str]:
    brought: set[str] = {canonicalize_name(one.name) for one in declared(extras)}
    return brought | WITHOUT_DEPENDENCIES if "insightface" in extras else brought


def undeclared(path: Path, lazy: bool, extras: tuple[str, ...] | list[str]) -> list[str]:
    allowed = names(extras)
    return [
        f"{path.relative_to(ROOT)} imports {module} of {providers().get(module, 'nothing installed')}"
        for module in sorted(foreign(imports(path, lazy)))
        if providers().get(module) not in allowed
    ]


FILES = sorted(path for folder in (*OURS, "demo") for path in (ROOT / folder).rglob("*.py"))
FOR_USERS = [extra for extra in EXTRAS if extra != "dev"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_image_has_whatever_its_worker_imports_at_its_start(function):
    files = loaded(
        ["shared.cli", "shared.cli.__main__", "shared.runtime.work_process", f"functions.{function}.handler"]
    )
    assert len(files) > 50
    assert [line for path in sorted(files) for line in undeclared(path, False, extras_of(function))] == []


def test_every_file_imports_what_the_core_or_its_own_extra_declares():
    assert [line for path in FILES for line in undeclared(path, False, home(path))] == []


def test_what_is_imported_only_when_it_is_needed_is_some_extras():
    assert [line for path in FILES for line in undeclared(path, True, FOR_USERS)] == []


def test_nothing_is_declared_that_nobody_imports():
    imported = {providers().get(module) for path in FILES for lazy in (True, False) for module in _foreign(path, lazy)}
    wanted = {canonicalize_name(one.name) for one in declared(FOR_USERS)}
    assert sorted(wanted - imported - set(USED_BY)) == []


def _foreign(path: Path, lazy: bool) -> set[str]:
    return foreign(imports(path, lazy))


def test_the_insightface_extra_lists_all_that_insightface_asks_for_but_a_second_opencv():
    asked = [Requirement(line) for line in metadata.requires("insightface") or []]
    wanted = {canonicalize_name(one.name) for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})}
    assert wanted - {"opencv-python"} <= names(("insightface",))


@pytest.mark.parametrize("extras", [*([extra] for extra in EXTRAS), *map(extras_of, FUNCTIONS)], ids=" ".join)
def test_whatever_an_installation_brings_is_pinned(extras):
    lines = (ROOT / "constraints.txt").read_text().split()
    pinned = {canonicalize_name(re.split("==", line)[0]) for line in lines}
    assert sorted(closure(declared(extras)) - pinned) == []
