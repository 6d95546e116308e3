"""The rooms of the house and the arrows between them, read from the imports of the source."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.contract import hooks, keys

ROOT = Path(__file__).parents[2]
FUNCTIONS = ("check", "train", "generate")
WHOLE = ("shared", "functions", "serve", "page", "photog", "demo", "tests", "benchmarks")

# each room with the rooms that it may import, errors apart, which all may; what is not here is no room
SHARED = {
    "errors": "",
    "imaging": "",
    "contract": "",
    "devices": "contract",
    "buckets": "contract",
    "observability": "buckets contract",
    "settings": "buckets observability",
    "events": "buckets contract",
    "faces": "devices imaging settings",
    "models": "devices faces imaging settings",
    "photos": "contract faces imaging settings",
    "notify": "buckets contract events observability",
    "lifecycle": "buckets contract devices events notify observability photos settings",
    "triggers": "buckets contract events lifecycle observability settings",
    "operations": "buckets contract events lifecycle notify observability settings triggers",
    "runtime": "buckets contract devices events lifecycle notify observability settings triggers",
    "cli": "buckets contract devices events faces lifecycle models notify observability operations photos runtime "
    "settings triggers",
}
GENERATE = {
    "face": "",
    "networks": "",
    "diffusion": "face",
    "glasses": "face",
    "occlusion": "face",
    "fusion": "face glasses",
    "retouching": "face networks",
    "background": "diffusion face networks",
    "": "background diffusion face fusion glasses networks occlusion retouching",
}
PICTURES = ("shared.photos", "shared.faces", "shared.models", "shared.imaging")


def sources(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"nothing below {folder}"
    return found


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def room(name: str, rooms: dict[str, str]) -> str:
    """Of a dotted name below the package that has these rooms."""
    first = name.partition(".")[0]
    return first if first in rooms else ""


def arrows(package: str, rooms: dict[str, str]) -> Iterator[tuple[str, str, Path]]:
    """From which room to which other one, by which file."""
    folder = package.replace(".", "/")
    for path in sources(folder):
        here = room(".".join(path.relative_to(ROOT / folder).with_suffix("").parts), rooms)
        for name in imports(path):
            if name.startswith(package + "."):
                there = room(name.removeprefix(package + "."), rooms)
                if there not in (here, "errors"):
                    yield here, there, path


@pytest.mark.parametrize(("package", "rooms"), [("shared", SHARED), ("functions.generate", GENERATE)])
def test_every_arrow_between_two_rooms_is_allowed(package, rooms):
    found = list(arrows(package, rooms))
    assert len(found) > len(rooms), "there are arrows"
    for here, there, path in found:
        assert there in rooms[here].split(), f"{path}: {here or 'the root'} must not import {there or 'the root'}"


@pytest.mark.parametrize("rooms", [SHARED, GENERATE])
def test_no_arrows_run_in_a_circle(rooms):
    order = list(rooms)
    for name, below in rooms.items():
        for other in below.split():
            assert order.index(other) < order.index(name), f"{name} stands below {other}, which it imports"


def test_shared_has_no_file_outside_of_its_rooms():
    loose = {path.stem for path in (ROOT / "shared").glob("*.py")} - {"__init__"}
    rooms = {path.parent.name for path in (ROOT / "shared").glob("*/__init__.py")}
    assert loose == {"errors", "settings"}
    assert loose | rooms == set(SHARED)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_imports_shared_and_itself_only(function):
    for path in sources(f"functions/{function}"):
        for name in imports(path):
            if within(name, ("functions",)):
                assert within(name, (f"functions.{function}",)), f"{path} imports {name}"


def test_no_function_knows_of_which_family_a_base_model_is():
    """They import the interface, what loads a model, and what every family has; no family's own classes."""
    families = ("unet_model", "unet_objective", "unet_footprint", "cross_attention_cache", "latent_codec", "noise")
    for path in sources("functions"):
        named = [name for name in imports(path) if within(name, tuple(f"shared.models.{one}" for one in families))]
        assert not named, f"{path} imports {named}"
        assert not re.search(r"\bUNet2D\w+|\bisinstance\(\w*model\b|\.architecture ==", path.read_text()), path


def test_shared_imports_no_function_and_no_server():
    for path in sources("shared"):
        assert not [name for name in imports(path) if within(name, ("functions", "serve", "page", "photog"))], path


def test_the_server_knows_shared_and_no_function_or_picture_code():
    for path in sources("serve"):
        assert not [name for name in imports(path) if within(name, ("functions", *PICTURES))], path


def test_the_page_knows_shared_and_itself_and_nobody_knows_the_page():
    """Of picture code it has what decodes files; what mounts it on the server is found by its entry point."""
    for path in sources("page"):
        for name in imports(path):
            assert not within(name, ("functions", "serve", "demo", "shared.faces", "shared.models")), f"{path}: {name}"
    for folder in ("shared", "functions", "serve", "demo"):
        for path in sources(folder):
            assert not [name for name in imports(path) if within(name, ("page", "nicegui"))], path


def test_the_client_knows_shared_without_pictures_and_of_the_functions_only_their_requests():
    for path in sources("photog"):
        requests = tuple(f"functions.{function}.request" for function in FUNCTIONS)
        for name in imports(path):
            assert not within(name, ("serve", *PICTURES)), f"{path} imports {name}"
            assert not within(name, ("functions",)) or within(name, requests), f"{path} imports {name}"


def test_check_never_imports_torch():
    code = "import functions.check.handler, sys; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_command_line_starts_without_what_networks_pictures_and_connections_need():
    heavy = {"torch", "numpy", "cv2", "PIL.Image", "boto3", "httpx"}
    code = f"import shared.cli, sys; sys.exit(not {heavy}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_every_file_says_what_it_is_for():
    for folder in WHOLE:
        for path in sources(folder):
            text = path.read_text()
            assert not text.strip() or ast.get_docstring(ast.parse(text)), path


def test_every_prefix_of_the_bucket_is_spelled_in_one_place():
    """So that nothing can lie where forgetting does not look: no other file spells a key out."""
    spelled = re.compile("^(" + "|".join(re.escape(root) for root in keys.ROOTS) + r")\S*$")
    for folder in ("shared", "serve", "page", "functions", "photog"):
        for path in sources(folder):
            if path.name == "keys.py":
                continue
            tree = ast.parse(path.read_text())
            prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
                    assert not spelled.match(node.value), f"{path}:{node.lineno} spells {node.value!r}"


# --- docs/architecture.md ----------------------------------------------------------------------------------------

PAGE = (ROOT / "docs/architecture.md").read_text()


def drawn(flowchart: str) -> dict[str, set[str]]:
    """What each room of a Mermaid flowchart points to."""
    below: dict[str, set[str]] = {}
    for ends in re.findall(r"^ *([\w &]+) --> ([\w &]+)$", flowchart, re.MULTILINE):
        here, there = (end.split(" & ") for end in ends)
        for name in here:
            below.setdefault(name, set()).update(there)
    return below


def reached(below: dict[str, set[str]], room: str) -> set[str]:
    """The rooms that one leads to, by one arrow or several."""
    return {further for there in below.get(room, set()) for further in {there, *reached(below, there)}}


@pytest.mark.parametrize(("place", "rooms"), [(0, SHARED), (1, GENERATE)])
def test_the_arrows_that_are_drawn_are_those_of_the_code(place, rooms):
    below = drawn(re.findall(r"```mermaid\nflowchart TD\n(.*?)```", PAGE, re.DOTALL)[place])
    everybodys = {"contract", "errors"} if rooms is SHARED else set()  # said in words above the picture
    for name, allowed in rooms.items():
        expected = set(allowed.split()) - everybodys
        assert reached(below, name or "root") >= expected, name
        assert below.get(name or "root", set()) <= expected, name


def test_the_tables_name_every_room_and_every_hook():
    for name in SHARED:
        path = f"shared/{name}" if (ROOT / "shared" / name).is_dir() else f"{name}.py"
        assert f"| `{path}`" in PAGE or f"| `shared/{path}`" in PAGE, f"{name} is in no table"
    found = {
        name
        for path in sources("shared")
        for name in re.findall(r"^class (\w+)\(AttemptHook\)", path.read_text(), re.MULTILINE)
    } - {hooks.Hooks.__name__}
    assert set(re.findall(r"`([A-Z]\w+)`", "".join(re.findall(r"^\| `[A-Z].*?\|", PAGE, re.MULTILINE)))) == found


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([A-Z][a-z]+[A-Z]\w+|plan_\w+)`", PAGE))))
def test_what_the_page_calls_by_name_is_called_so(name):
    spelled = re.compile(rf"^(?:class|def) {name}\b|^ *- ?{name}|^{name} = ", re.MULTILINE)
    folders = ("shared", "functions", "serve", "page")
    assert any(spelled.search(path.read_text()) for folder in folders for path in sources(folder))
