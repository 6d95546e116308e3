"""Events that mean harm, made of those in `events/`: wrong types anywhere, envelopes in envelopes, odd encodings."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).parents[2] / "events"
SURPRISES: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, "", "x", "\ud800", "\0", "%", "%zz", "+", "a" * 5000, [], [[]], [None], {}, {"a": 1},
    10**400, "{", "[]", "9" * 5000, "٣", "1e9", "-5",
)  # fmt: skip


@dataclass(frozen=True)
class HostileText:
    """The text of one message.

    Attributes:
        name: says what it tries.
        make: the text, `size` characters and more where it grows.
    """

    name: str
    make: Callable[[int], str]


def samples() -> dict[str, Any]:
    """The real events by the names of their files."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(SAMPLES.glob("*.json"))}


def altered(event: Any) -> Iterator[Any]:
    """The event with each of its parts replaced by each surprise, left out, or wrapped, one at a time."""
    for path in list(_paths(event)):
        for surprise in SURPRISES:
            yield _with(event, path, surprise)
        if path:
            yield _without(event, path)
            yield _with(event, path, [_at(event, path)])
            yield _with(event, path, {"Body": _at(event, path)})


def names(event: Any) -> set[str]:
    """All the names that objects in an event have."""
    return {name for path in _paths(event) for name in path if isinstance(name, str)}


def texts() -> list[HostileText]:
    """Messages that are no event, or one that grows."""
    return [HostileText(name, make) for name, make in _TEXTS.items()]


def _nested(size: int) -> str:
    """Messages in messages, doubled backslashes and all, until it has the size."""
    text = json.dumps({"Message": "x"})
    while len(text) < size:
        text = json.dumps({"Message": text})
    return text


def _record(size: int) -> dict[str, Any]:
    stored = {"key": "requests/check/" + "%41" * (size // 3) + ".json", "size": 5}
    return {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": stored}}


_TEXTS: dict[str, Callable[[int], str]] = {
    "nothing": lambda size: "",
    "half a surrogate": lambda size: "\ud800",
    "escaped half": lambda size: (
        '{"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, '
        '"object": {"key": "\\ud800"}}}]}'
    ),
    "lists without end": lambda size: "[" * size,
    "lists that are closed": lambda size: "[" * (size // 2) + "]" * (size // 2),
    "objects without end": lambda size: '{"Body":' * (size // 8),
    "one long number": lambda size: "9" * size,
    "a long number in an event": lambda size: '{"Records": [' + "9" * size + "]}",
    "an infinite number": lambda size: '{"Records": [1e999, NaN, Infinity]}',
    "base64 of a number": lambda size: base64.b64encode(b"9" * size).decode(),
    "base64 of lists": lambda size: base64.b64encode(b"[" * size).decode(),
    "base64 of no text": lambda size: base64.b64encode(b"\xff" * size).decode(),
    "base64 of UTF-16": lambda size: base64.b64encode('{"Records": []}'.encode("utf-16")).decode(),
    "base64 of base64": lambda size: base64.b64encode(base64.b64encode(b"{}")).decode(),
    "no base64": lambda size: "é" * size,
    "keys without end": lambda size: json.dumps({f"k{number}": 1 for number in range(size // 10)}),
    "a long key": lambda size: json.dumps({"k" * size: 1}),
    "a long type": lambda size: json.dumps({"specversion": "1.0", "type": "t" * size, "data": {}}),
    "messages in messages": _nested,
    "records without end": lambda size: json.dumps({"Records": [_record(0)] * (size // 100)}),
    "a long key of an object": lambda size: json.dumps({"Records": [_record(size)]}),
    "a batch in a batch": lambda size: json.dumps([[[[[[[{"Records": []}]]]]]]]),
}


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for name in list(value) if isinstance(value, dict) else range(len(value)):
            yield from _paths(value[name], (*path, name))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for name in path:
        value = value[name]
    return value


def _with(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy in which one part is another."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = _with(copy[path[0]], path[1:], new)
    return copy


def _without(value: Any, path: tuple[Any, ...]) -> Any:
    copy = value.copy()
    if len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = _without(copy[path[0]], path[1:])
    return copy
