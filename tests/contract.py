"""What crosses the wire, held against the published schemas."""

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from tests.deployment import ROOT

SCHEMAS = ROOT / "schemas"


@cache
def validator(name: str) -> Draft202012Validator:
    """Return the validator of a published schema, as `check.answer`."""
    return Draft202012Validator(json.loads((SCHEMAS / f"{name}.json").read_text()))


def require_contract(name: str, value: Any) -> None:
    """Fail unless a request, an answer, a progress or an event is as its published schema says."""
    faults = sorted(validator(name).iter_errors(value), key=lambda error: error.path)
    assert not faults, "\n".join(f"{name}: {error.json_path}: {error.message[:300]}" for error in faults[:5])
