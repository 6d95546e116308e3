"""Decode the bytes of a manifest: JSON in any Unicode encoding, or the Python literal of the hosted product's samples.

| bytes | are read as |
|---|---|
| with a byte order mark | what it says: UTF-8, UTF-16 or UTF-32 in either byte order |
| without, but with zeros where the first characters have them | UTF-16 or UTF-32 |
| all others | UTF-8 |

Invisible characters at the beginning of a file, such as a second byte order mark, are not part of its text, and neither
is padding at its end, such as NULs up to the end of a block or the end-of-file character of DOS.

Text in another encoding, such as Latin-1, is never guessed. The part that can be decoded may still contain the
request's id, so that its sender gets the answer; `ManifestText.wrong` is that answer.

A manifest is untrusted text. The cost of reading one is bounded before it is read (see the constants), so that 20 MB of
brackets, numbers or Python source take at most a second and a few hundred megabytes.
"""

import ast
import json
import math
import re
import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from shared.contract.names import show_name
from shared.errors import InvalidManifest

DEEPEST = 64  # levels of nested brackets; the contract's deepest field has three
MOST_VALUES = 100_000  # in all; the contract's largest request has a hundred
MOST_DIGITS = 4300  # of a whole number, which is Python's own limit
LONGEST_LITERAL = 64 * 1024  # bytes of Python source: parsing takes 200 bytes of memory for each; samples have hundreds
MOST_TOLD = 20  # repeated members that warnings name
LONGEST_PATH = 100  # characters of a member's full path
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
PADDING = "".join(map(chr, (*range(0x21), *range(0x7F, 0xA1), 0x1680, *range(0x2000, 0x2010), *range(0x2028, 0x2030))))
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"  # before a text: a second byte order mark, what was copied from a page
PADDING += "\u205f\u2060\u3000\ufeff\ufffe\uffff"  # invisible at the end of a text
UNITS = {"utf-16": 2, "utf-32": 4}  # least bytes per character
SPELLED = {"utf-8-sig": "UTF-8"}
KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false", float: "a number with a fraction"}
"""JSON's names for Python's types; see `name_kind`."""


@dataclass(frozen=True)
class ManifestText:
    """The object that was read from a manifest's bytes.

    Attributes:
        warnings: about parts that are read differently from what the sender may mean.
        wrong: what is wrong if the bytes are not text in the encoding they seem to have; else empty.
    """

    body: dict[str, Any]
    warnings: list[str]
    wrong: str


@dataclass
class _Members:
    """Builds objects from their members, and records the objects in which a member appears twice."""

    twice: list[tuple[dict[str, Any], list[str]]] = field(default_factory=list)

    def object(self, members: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(members)
        if len(made) < len(members):
            self.add(made, [name for name, _ in members])
        return made

    def add(self, made: dict[str, Any], names: list[str]) -> None:
        times = Counter(names)
        self.twice.append((made, [name for name in made if times[name] > 1]))


def read_manifest_text(data: bytes) -> ManifestText:
    """Return the object in the bytes; raises InvalidManifest with the reason if there is none."""
    text, undecoded = _decode_text(data)
    text = text.lstrip(INVISIBLE).rstrip(f"{PADDING}\N{REPLACEMENT CHARACTER}" if undecoded else PADDING)
    try:
        body, twice = _parse_object(text)
    except InvalidManifest as error:
        if undecoded:
            raise InvalidManifest(undecoded) from error
        raise
    return ManifestText(body, _warn_of_repeats(body, twice), undecoded)


def name_kind(value: object) -> str:
    """Return what kind of JSON value it is, in the sender's words."""
    return "null" if value is None else KINDS.get(type(value), "a number")


def _decode_text(data: bytes) -> tuple[str, str]:
    """Return the text without what cannot be decoded, and what is wrong with it (empty if nothing is)."""
    encoding = json.detect_encoding(data)
    unit = UNITS.get(encoding[:6], 1)
    whole = data[: len(data) - len(data) % unit]  # half a character at the end is still being written
    try:
        return whole.decode(encoding), ""
    except UnicodeDecodeError as error:
        name = SPELLED.get(encoding, encoding.upper())
        wrong = (
            f"the manifest is not {name} text: {error.reason} at byte {error.start} ({data[error.start]:#04x}); "
            "save it as UTF-8 (in PowerShell: -Encoding utf8), or as UTF-16 or UTF-32 with a byte order mark"
        )
        return whole.decode(encoding, "replace"), wrong


def _parse_object(text: str) -> tuple[dict[str, Any], list[tuple[dict[str, Any], list[str]]]]:
    """Return the object, and the objects in it with repeated members, each with the names of those members."""
    if sum(map(text.count, ",[{")) > MOST_VALUES:
        raise InvalidManifest(f"the manifest has more than {MOST_VALUES} values, counted by commas and brackets")
    members, escaped = _Members(), SURROGATE.search(text) is not None
    try:
        value = json.loads(
            text, object_pairs_hook=members.object, parse_constant=_refuse_constant, parse_int=_parse_whole_number
        )
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as not_json:
        members = _Members()
        value, escaped = _parse_literal(text, not_json, members), True
    if not isinstance(value, dict):
        raise InvalidManifest(f"the manifest must be an object, not {name_kind(value)}")
    _check(value, escaped)
    return value, members.twice


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _parse_whole_number(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise InvalidManifest(f"the manifest has a number of {len(digits)} digits, {MOST_DIGITS} are allowed")
    return int(digits)


def _too_deep() -> InvalidManifest:
    return InvalidManifest(f"the manifest is nested deeper than {DEEPEST} brackets")


def _warn_of_repeats(body: dict[str, Any], twice: list[tuple[dict[str, Any], list[str]]]) -> list[str]:
    """Return a warning for each repeated member, except in values that were themselves overwritten."""
    names = {id(one): repeated for one, repeated in twice}
    level: list[tuple[str, Any]] = [("", body)] if twice else []
    told: list[str] = []
    while level:
        found = [f"{path}{show_name(name)}" for path, one in level for name in names.get(id(one), ())]
        told += [f"{path} appears more than once in the manifest; the last value is used" for path in found]
        level = [
            (f"{path}{name}."[:LONGEST_PATH], value) for path, one in level for name, value in _list_containers(one)
        ]
    more = len(told) - MOST_TOLD
    return [*told[:MOST_TOLD], f"and {more} more like these"] if more > 0 else told


def _list_containers(value: dict[str, Any] | list[Any]) -> list[tuple[str, Any]]:
    """Return the objects and lists in an object or a list, each with its name or index."""
    if isinstance(value, dict):
        return [(show_name(name), one) for name, one in value.items() if isinstance(one, dict | list)]
    return [(str(number), one) for number, one in enumerate(value) if isinstance(one, dict | list)]


def _check(value: dict[str, Any], escaped: bool) -> None:
    """Refuse what could not be answered: deep nesting, infinite numbers, and strings that are not valid Unicode.

    Args:
        escaped: whether the text may contain surrogates at all; looking for them costs as much as parsing did.
    """
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        if not level:
            return
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += one.values()
                if escaped:
                    below += one.keys()
            elif isinstance(one, list):
                below += one
            elif isinstance(one, float) and not math.isfinite(one):
                raise InvalidManifest("the manifest has a number that is too large for a float")
            elif escaped and isinstance(one, str) and not _is_unicode(one):
                raise InvalidManifest("the manifest has half of a surrogate pair in a string, which is invalid Unicode")
        level = below
    if any(isinstance(one, dict | list) for one in level):
        raise _too_deep()


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parse_literal(text: str, not_json: Exception, members: _Members) -> object:
    """Return the value of a Python literal; only what JSON can express is accepted, so that the answer can echo it."""
    reason = f"the manifest is not JSON: {not_json}"
    source = text.strip()
    if len(source) > LONGEST_LITERAL:
        raise InvalidManifest(f"{reason}; a Python literal may have at most {LONGEST_LITERAL} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes: they would print the sender's text into our log
            tree = ast.parse(source, mode="eval")
            value = ast.literal_eval(tree)
        if isinstance(value, dict) and json.loads(json.dumps(value, allow_nan=False)) == value:
            _find_repeats(tree.body, value, members)
            return value
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise InvalidManifest(reason) from error
    raise InvalidManifest(reason)


def _find_repeats(tree: ast.expr, value: Any, members: _Members) -> None:
    """Record the members that appear twice in the source of a literal."""
    todo: list[tuple[ast.expr, Any]] = [(tree, value)]
    while todo:
        node, made = todo.pop()
        if isinstance(node, ast.Dict):
            names = [str(key.value) for key in node.keys if isinstance(key, ast.Constant)]
            if len(made) < len(names):
                members.add(made, names)
            todo += [(one, made[name]) for name, one in dict(zip(names, node.values, strict=True)).items()]
        elif isinstance(node, ast.List):
            todo += zip(node.elts, made, strict=True)
