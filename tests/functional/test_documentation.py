"""Every command, setting, module, target and file that the pages name exists, and what can be run is run."""

import importlib.util
import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from typer.main import get_group
from typer.testing import CliRunner

from page.settings import PageSettings
from serve.settings import ServeSettings
from shared.buckets import FolderBucket, open_bucket
from shared.buckets.base import Bucket
from shared.cli import app
from shared.contract import keys
from shared.contract.function import Answer
from shared.contract.manifests import Json
from shared.contract.workspace import Workspace
from shared.lifecycle.invocation import Invocation
from shared.lifecycle.shutdown import Shutdown
from shared.settings import Scan, Settings
from shared.triggers.scan import ScanTrigger
from tests import pictures
from tests.dependencies import EXTRAS
from tests.deployment import FUNCTIONS, ROOT, is_setting, understood
from tests.documentation import (
    CONSOLE,
    OTHER,
    PAGES,
    Command,
    anchors,
    commands,
    filled,
    headings,
    languages,
    links,
    python_blocks,
    spans,
    variants,
)

pytestmark = pytest.mark.timeout(60)
COMMANDS = [command for page in PAGES for command in commands(page)]
GROUP = get_group(app)
CONTEXT = GROUP.make_context("photog", ["doctor"])
COMPOSE = "".join((ROOT / name).read_text() for name in ("compose.yaml", "deploy/compose.gpu.yaml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
# of others: their words are not checked, the files that they name are
FOREIGN = {".", "aws", "cp", "curl", "docker", "export", "kubectl", "rm", "s", "sam"}
OF_OTHERS = {"build"}  # modules of packages that `make setup` does not install
# verbs that end by themselves and load no model; of the others it is held that their words are understood
RUN = {"check", "train", "generate", "submit", "status", "forget", "sweep", "redrive", "usage"}


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def source(module: str) -> str:
    """Return the text of a module that `python -m` runs."""
    found = importlib.util.find_spec(module)
    assert found is not None, f"there is no module {module}"
    if found.submodule_search_locations:
        assert importlib.util.find_spec(f"{module}.__main__"), f"{module} cannot be run with -m"
        return "".join(path.read_text() for path in Path(found.submodule_search_locations[0]).glob("*.py"))
    assert found.origin is not None
    return Path(found.origin).read_text()


def run_by_module(words: list[str]) -> None:
    """Fail unless `python -m WORDS` names one of our modules that has these options, or tests that exist."""
    module, *rest = words
    if module in OF_OTHERS:
        return
    if module == "pytest":
        for word in rest:
            assert not word.startswith("tests/") or (ROOT / word).exists(), word
        for option, value in pairwise(rest):
            assert option != "-k" or value in (ROOT / rest[0]).read_text(), f"no test of {rest[0]} is called {value}"
        return
    for word in rest:
        if word.startswith("--") and word != "--help":
            assert f'"{word}"' in source(module), f"{module} has no option {word}"
    source(module)


def setting(variable: str, value: str | None) -> None:
    """Fail unless this variable is read by the settings, by those of an extension's verb, or by a Compose file."""
    if variable == "PHOTOG_TOKEN" or f"${{{variable}:-" in COMPOSE:
        return
    for prefix, settings in (("PHOTOG_SERVE__", ServeSettings), ("PHOTOG_PAGE__", PageSettings)):
        if variable.startswith(prefix):
            assert variable.removeprefix(prefix).lower() in settings.model_fields, variable
            return
    is_setting(variable, value)


def exists(words: list[str]) -> None:
    """Fail if a word begins like a path of the repository and there is no such file."""
    for word in words:
        if word.partition("/")[0] in TOPS and "/" in word:
            path, *tests = word.split("::")
            assert (ROOT / path).exists(), f"{path} is not there"
            for test in tests:
                assert re.search(rf"(def|class) {test}\b", (ROOT / path).read_text()), f"{path} has no {test}"


VERBS = {
    name: {word for option in verb.params for word in (*option.opts, *option.secondary_opts)}
    for name in GROUP.list_commands(CONTEXT)
    if (verb := GROUP.get_command(CONTEXT, name)) is not None
}
OPTIONS = {
    "--help",
    "--install-completion",
    *(word for option in GROUP.params for word in option.opts),
}  # of photog itself
TOPS = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")} - {"build", "out"}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_block_says_what_it_is(page):
    assert languages(page) <= {CONSOLE} | OTHER


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_python_that_is_shown_is_python(page):
    for block in python_blocks(page):
        compile(block, named(page), "exec")


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_that_is_shown_can_be_typed(command, tmp_path):
    for name, value in command.environment:
        if name.startswith("PHOTOG_"):
            setting(name, None if "$" in value else value)
    if not command.words:
        return
    program, *rest = command.words
    if program == "photog":
        for words in variants(tuple(rest)):
            understood([filled(word, tmp_path) for word in words])
    elif program == "make":
        assert set(rest) <= TARGETS
    elif program.endswith("python"):
        assert rest[0] == "-m"
        run_by_module(rest[1:])
    elif program.rpartition("/")[2] == "pip":
        extras = [extra for word in rest if word.startswith(".[") for extra in word[2:-1].split(",")]
        assert set(extras) <= set(EXTRAS)
    else:
        assert program in FOREIGN, f"nothing here knows {program}"
        exists(rest)
        if command.words[:3] == ("docker", "compose", "run"):
            understood(rest[rest.index("--rm") + 2 :])


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_what_is_named_in_the_text_is_there(page):
    before = ""
    for span in spans(page):
        if span.startswith("__"):  # `PHOTOG_LEASE__SECONDS`, `__ATTEMPTS`
            span = before.rpartition("__")[0] + span
        words = span.split()
        if found := re.match(r"(PHOTOG_\w*[A-Z])(?:=|$)", span):
            before = found[1]
            setting(before, None)
        elif words[0] == "make" and len(words) > 1:
            assert words[1] in TARGETS, span
        elif words[:2] == ["python", "-m"]:
            run_by_module(words[2:])
        elif words[0] == "photog" and len(words) > 1:
            assert words[1] in VERBS or words[1] in OPTIONS, span
            assert {word for word in words if word.startswith("--")} <= {*VERBS.get(words[1], ()), *OPTIONS}, span
        elif len(words) == 1 and not re.search(r"[<*{]|\.\.\.", span):
            exists(words)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_to_files(page):
    assert [str(path) for path in links(page) if not path.exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_into_a_page_lead_to_a_heading(page):
    assert [f"{path.name}#{anchor}" for path, anchor in anchors(page) if anchor not in headings(path)] == []


class Answering:
    """A function that answers at once in the form of a real one."""

    def __init__(self, name: str) -> None:
        self.name = name

    def answer(self, body: Json, workspace: Workspace) -> Answer:
        made = workspace.save("made.png", b"a portrait")
        trained = {"user_id": "ann", "lora": made, "best_step": 1, "steps": 1, "similarity": None}
        trained["images_rejected"] = []
        answers: dict[str, Json] = {"check": {"check_results": []}, "train": trained, "generate": {"image_key": made}}
        return Answer(answers[self.name])

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Do nothing: nothing is kept."""

    def pointers(self, data: Json) -> dict[str, Json]:
        return {}


@contextmanager
def answering(bucket: Bucket) -> Iterator[None]:
    """Run workers of all three functions on this bucket."""
    stop, scan, settings = threading.Event(), Scan(seconds=0.05, settle_seconds=0.1), Settings()
    with ThreadPoolExecutor(len(FUNCTIONS)) as pool:
        for function in FUNCTIONS:
            worker = Invocation(bucket, Answering(function), settings, function, Shutdown(1))
            pool.submit(ScanTrigger(bucket, function, scan).run, worker.receive, stop)
        try:
            yield
        finally:
            stop.set()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with the files that the pages' commands name, and go there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(pictures.jpeg(pictures.astronaut()[:64, :64]))
    body = {"request_id": "r1", "images": ["photos/a.jpg"]}
    (tmp_path / "manifest.json").write_text(json.dumps(body))
    return tmp_path


def run(command: Command, words: list[str]) -> None:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, f"{command}\n{done.output}\n{done.exception!r}"


FOLDERS = {"BUCKET", "RESTORED", "~/.photog/bucket"}  # `filled` has a folder of its own for them
LOCAL = [one for one in COMMANDS if one.words[:1] == ("photog",) and one.words[1] in RUN and FOLDERS & {*one.words}]
AWAY = [one for one in COMMANDS if one.words[:1] == ("photog",) and one.words[1] in RUN and one not in LOCAL]


@pytest.mark.parametrize("command", LOCAL, ids=str)
def test_a_command_that_is_shown_does_it_on_a_folder(command, files):
    bucket = FolderBucket(files / "bucket")
    bucket.put("requests/check/r1.json", (files / "manifest.json").read_bytes())
    with answering(bucket):
        for words in variants(command.words[1:]):
            for known in ("photos/a.jpg", keys.model("ann"), keys.model("bob")):
                bucket.put(known, b"{}")  # again, as one of them removes it
            run(command, [filled(word, files) for word in words])


@pytest.mark.parametrize("command", AWAY, ids=str)
def test_a_command_that_is_shown_does_it_on_a_store(command, files, cloud, monkeypatch):
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    store, queues = cloud.bucket(), {name: cloud.queue() for name in ("URL", "DLQ_URL", "QUEUE_URL")}
    monkeypatch.setenv("PHOTOG_SQS__ENDPOINT", cloud.endpoint)
    words = [queues.get(word, filled(word, files)).replace("s3://portraits", f"s3://{store}") for word in command.words]
    place = next((word for word in words if word.startswith("s3://")), f"s3://{store}")  # perhaps with a prefix
    with answering(open_bucket(place, Settings().s3)):
        run(command, words[1:])


def test_the_pages_show_enough_to_be_held():
    verbs = {command.words[1] for command in COMMANDS if command.words[:1] == ("photog",)}
    assert {"portrait", "up", "check", "train", "generate", "status", "forget", "sweep", "redrive", "serve"} <= verbs
    assert set(map(named, PAGES)) >= {"README.md", "docs/cloud.md", "docs/deploy.md"}
    assert {command.words[1] for command in LOCAL} >= {"check", "train", "generate", "submit", "status", "forget"}
    assert {command.words[1] for command in AWAY} >= {"check", "sweep", "redrive"}
