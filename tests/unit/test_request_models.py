"""Which request models there are: those of the functions whose code is installed."""

from importlib.metadata import EntryPoint

import pytest

from functions.check.request import CheckRequest
from shared.runtime import request_models
from shared.runtime.request_models import request_model


@pytest.fixture
def installed(monkeypatch):
    def install(value: str) -> None:
        entry = EntryPoint("check", value, "photog.functions")
        monkeypatch.setattr(request_models, "entry_points", lambda group, name: [entry])

    return install


def test_a_function_that_is_installed_has_its_model():
    assert request_model("check") is CheckRequest
    assert request_model("paint") is None


@pytest.mark.parametrize("value", ["no_such_package.check.handler:load", "functions.no_such_function.handler:load"])
def test_a_function_whose_code_is_not_in_the_image_has_none(installed, value):
    installed(value)
    assert request_model("check") is None


def test_a_model_that_cannot_be_imported_is_an_error(installed, tmp_path, monkeypatch):
    (tmp_path / "broken_function").mkdir()
    (tmp_path / "broken_function" / "request.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(str(tmp_path))
    installed("broken_function.handler:load")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        request_model("check")
