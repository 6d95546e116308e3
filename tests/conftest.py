"""Fixtures that several files share."""

import gc
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.cached_engine import CachedEngine
from tests.cloud import Cloud, start
from tests.second_store import start_localstack
from tests.zygotes import fork_test_processes

SCENARIOS = Path(__file__).parent / "scenario"

gc.disable()  # until all is collected: modules and tests stay, and searching them again and again takes time


@pytest.hookimpl(wrapper=True)
def pytest_sessionstart(session: pytest.Session) -> Generator[None, object, object]:
    """Test processes that will run everything are forked, as they import the same."""
    everything = session.config.args_source is pytest.Config.ArgsSource.TESTPATHS
    beside = session.config.pluginmanager.hasplugin("dsession")
    if not (everything and beside and sys.platform == "linux"):
        return (yield)
    with fork_test_processes():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: side by side, no process is left alone with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (SCENARIOS not in item.path.parents, item.path not in slow))


def pytest_collection_finish() -> None:
    """From here on only what tests make is searched for garbage."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    """moto's server, started by the first test that asks."""
    server, made = start()
    yield made
    server.stop()


@pytest.fixture(scope="session")
def second_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """LocalStack, where it is installed."""
    with start_localstack(tmp_path_factory.mktemp("localstack")) as made:
        yield made


@pytest.fixture(scope="session")
def engine() -> CachedEngine:
    """Faces, for tests of everything that begins with them; tests/unit/test_faces_mesh.py is about it itself."""
    return CachedEngine()
