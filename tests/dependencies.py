"""What pyproject.toml declares, what installed distributions bring, and what the source imports."""

import ast
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deployment import DOCKERFILES, ROOT, instructions

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
OURS = ("shared", "functions", "serve", "page", "photog")


def declared(extras: Sequence[str]) -> list[Requirement]:
    """What photog itself asks for here, with these extras."""
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    wanted = [Requirement(line) for line in lines]
    return [one for one in wanted if one.marker is None or one.marker.evaluate()]


def extras_of(function: str) -> list[str]:
    """The extras that an image is built with unless somebody asks for others."""
    (default,) = (rest for name, rest in instructions(DOCKERFILES[function]) if rest.startswith("EXTRAS="))
    return default.removeprefix("EXTRAS=").strip('"').split()


def closure(requirements: Sequence[Requirement]) -> set[str]:
    """The names of all distributions that pip would bring for these, read from those that are installed."""
    found: dict[str, set[str]] = {}
    waiting = list(requirements)
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        if name in found and one.extras <= found[name]:
            continue
        found.setdefault(name, set()).update(one.extras)
        for line in _requires(name):
            asked = Requirement(line)
            marker = asked.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *found[name])):
                waiting.append(asked)
    return set(found)


def _requires(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []


@cache
def providers() -> dict[str, str]:
    """Which distribution brings a top-level module, by the files that each has installed."""
    found: dict[str, str] = {}
    for one in metadata.distributions():
        name = canonicalize_name(one.metadata["Name"])
        for line in (one.read_text("RECORD") or "").splitlines():
            file = line.partition(",")[0]
            top = file.partition("/")[0].removesuffix(".py")
            if file.endswith((".py", ".so")) and top.isidentifier():
                found.setdefault(top, name)
    return found


@cache
def imports(path: Path, lazy: bool) -> tuple[str, ...]:
    """The modules that a file names: those that it loads when it is loaded itself, or those inside of its functions."""
    names: list[str] = []
    for node in _imports(ast.parse(path.read_text()), lazy):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(names)


def _imports(tree: ast.AST, lazy: bool, inside: bool = False) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom) and lazy == inside:
            yield node
        yield from _imports(node, lazy, inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def foreign(names: Iterable[str]) -> set[str]:
    """The top-level modules among these that neither Python nor photog brings."""
    return {name.split(".")[0] for name in names} - set(OURS) - sys.stdlib_module_names


def loaded(roots: Sequence[str]) -> set[Path]:
    """Our files that are loaded with these modules, one importing the other."""
    found: set[Path] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        for path in _files(name):
            if path not in found:
                found.add(path)
                waiting += [one for one in imports(path, lazy=False) if one.split(".")[0] in OURS]
    return found


def _files(name: str) -> Iterator[Path]:
    """The files of a module and of the packages around it; a name within a module is none."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        place = ROOT.joinpath(*parts[:length])
        yield from (path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file())
