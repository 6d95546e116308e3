"""The page at /docs: every call of the server's OpenAPI document, as plain HTML that fetches nothing."""

from html import escape
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1e1e1e }
h2 { margin-top: 2.5rem } h3 { font-weight: normal; margin-bottom: .25rem }
code, .method { font-family: ui-monospace, monospace } .method { font-weight: bold }
table { border-collapse: collapse } td { padding: .15rem 1.5rem .15rem 0; vertical-align: top }
"""


def documentation(openapi: dict[str, Any]) -> str:
    """Return the page: the calls by tag, each with its parameters and answers.

    Args:
        openapi: the document that FastAPI serves at /openapi.json.
    """
    title, description = escape(openapi["info"]["title"]), escape(openapi["info"].get("description", ""))
    tagged: dict[str, list[str]] = {}
    for path, calls in openapi["paths"].items():
        for method, call in calls.items():
            tagged.setdefault((call.get("tags") or ["other"])[0], []).append(_call(path, method, call))
    sections = "".join(f"<h2>{escape(tag)}</h2>{''.join(calls)}" for tag, calls in tagged.items())
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head>"
        f'<body><h1>{title}</h1><p>{description} For programs: <a href="openapi.json">openapi.json</a>.</p>'
        f"{sections}</body></html>"
    )


def _call(path: str, method: str, call: dict[str, Any]) -> str:
    parameters = [(one["name"], one["in"], one.get("description", "")) for one in call.get("parameters", [])]
    body = [("body", kind, "") for kind in call.get("requestBody", {}).get("content", {})]
    answers = [(status, "answer", one.get("description", "")) for status, one in call.get("responses", {}).items()]
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(place)}</td><td>{escape(text)}</td></tr>"
        for name, place, text in (*parameters, *body, *answers)
    )
    head = f'<span class="method">{escape(method.upper())}</span> <code>{escape(path)}</code>'
    return f"<h3>{head} &ndash; {escape(call.get('summary', ''))}</h3><table>{rows}</table>"
