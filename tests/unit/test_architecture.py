"""The arrows of the house run one way; read from the imports of the source."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FUNCTIONS = ("check", "train", "generate")
PICTURES = (
    "shared.photos",
    "shared.faces",
    "shared.models",
    "shared.photos.assessment",
    "shared.photos.identity_clustering",
    "shared.imaging.array_types",
)
BUCKETS = (
    "shared.buckets",
    "shared.lifecycle.claims",
    "shared.events",
    "shared.triggers",
    "shared.notify",
    "shared.lifecycle.heartbeat",
)


def sources(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"nothing below {folder}"
    return found


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_imports_shared_and_itself_only(function):
    for path in sources(f"functions/{function}"):
        for name in imports(path):
            if within(name, ("functions",)):
                assert within(name, (f"functions.{function}",)), f"{path} imports {name}"


def test_shared_imports_no_function_and_no_server():
    for path in sources("shared"):
        assert not [name for name in imports(path) if within(name, ("functions", "serve"))], path


def test_the_server_knows_shared_and_no_function_or_picture_code():
    for path in sources("serve"):
        assert not [name for name in imports(path) if within(name, ("functions", *PICTURES))], path


def test_pictures_and_buckets_do_not_know_each_other():
    for path in sources("shared"):
        names = list(imports(path))
        if within(module(path), PICTURES):
            assert not [name for name in names if within(name, BUCKETS)], path
        if within(module(path), BUCKETS):
            allowed = [name for name in names if within(name, PICTURES)]
            assert not allowed, path


def test_check_never_imports_torch():
    code = "import functions.check.handler, sys; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_command_line_starts_without_torch():
    code = "import shared.cli, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_every_file_says_what_it_is_for():
    for folder in ("shared", "functions", "serve", "demo", "tests", "benchmarks"):
        for path in sources(folder):
            text = path.read_text()
            assert not text.strip() or ast.get_docstring(ast.parse(text)), path
