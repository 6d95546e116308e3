"""What a worker that starts leaves out, and only as long as it starts."""

import importlib
import sys
from importlib.util import find_spec

import pytest

from shared.runtime import context
from shared.runtime.unused_packages import leave_out
from shared.settings import ModelSettings, Settings


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "spare_parts.py").write_text("SOME = 1")
    monkeypatch.syspath_prepend(tmp_path)
    yield "spare_parts"
    sys.modules.pop("spare_parts", None)


def test_a_package_is_missing_inside_of_the_block_and_back_after_it(package):
    with leave_out([package]):
        assert find_spec(package) is None
        with pytest.raises(ImportError):
            importlib.import_module(package)
    assert importlib.import_module(package).SOME == 1


def test_what_is_imported_already_stays(package):
    imported = importlib.import_module(package)
    with leave_out([package]):
        assert importlib.import_module(package) is imported
    assert importlib.import_module(package) is imported


@pytest.mark.parametrize(("path", "found"), [("portrait-tiny", False), ("/models/another", True)])
def test_a_function_of_the_embedded_model_is_imported_without_them(package, monkeypatch, path, found):
    seen = []

    class Entry:
        name = "check"

        def load(self):
            seen.append(find_spec(package) is not None)
            return lambda settings: find_spec(package) is not None

    monkeypatch.setattr(context, "UNUSED", (package,))
    monkeypatch.setattr(context, "entry_points", lambda **which: [Entry()])
    assert context.load_function("check", Settings(model=ModelSettings(path=path)))
    assert seen == [found]
