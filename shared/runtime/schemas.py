"""The JSON Schemas of what crosses the wire, made from the models that requests and answers are checked by.

| name | of |
|---|---|
| `<function>.request` | a manifest |
| `<function>.answer` | its answer, whatever the code |
| `progress` | the progress of a running request |
| `event` | the completion event that webhooks and topics get |
| `errors` | not a schema: the table of all error types |
"""

from typing import Any

from pydantic import TypeAdapter

from shared.contract.answers import ANSWERS, CompletionEvent, ErrorAnswer, ProgressEnvelope
from shared.contract.error_types import error_types
from shared.contract.function import NAMES
from shared.contract.manifests import CONTRACT, Json
from shared.runtime.request_models import request_model

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def all_schemas() -> dict[str, Json]:
    """Return all schemas and the table of errors by name, without requests of functions that are not installed."""
    found: dict[str, Json] = {}
    for function in NAMES:
        model = request_model(function)
        if model is not None:
            found[f"{function}.request"] = _schema(f"{function}.request", model)
        found[f"{function}.answer"] = _schema(f"{function}.answer", ANSWERS[function] | ErrorAnswer)
    found["progress"] = _schema("progress", ProgressEnvelope)
    found["event"] = _schema("event", CompletionEvent)
    found["errors"] = {
        "contract": CONTRACT,
        "errors": [one.model_dump(mode="json") for one in error_types()],
    }
    return found


def _schema(name: str, kind: Any) -> Json:
    made: Json = TypeAdapter(kind).json_schema(mode="validation", ref_template="#/$defs/{model}")
    return {"$schema": DIALECT, "$id": f"urn:photog:{CONTRACT}:{name}", **made}
