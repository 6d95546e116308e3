"""Functions are verbs or nouns: a participle as a name says that something was done, and not what the function does."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.contract.hooks import AttemptHook

ROOT = Path(__file__).parents[2]
IRREGULAR = re.compile(
    "begun|bent|bound|bought|bred|broken|brought|built|caught|chosen|done|drawn|driven|fallen|forgotten|found|frozen|"
    "given|gone|grown|heard|held|hidden|kept|known|laid|led|lit|lost|made|met|paid|said|seen|sent|shaken|shown|sought|"
    "spent|spoken|spun|stolen|struck|sunk|swept|taken|taught|thought|thrown|told|torn|understood|woken|won|worn|wound|"
    "woven|written"
)
ADVERB = re.compile("again|apart|as|back|by|down|in|off|out|over|together|up")
VERBS = {"embed", "exceed", "feed", "need", "proceed", "seed"}
COPIES = {"rounded", "scaled"}  # of a value, which itself stays as it is: as `sorted` and `reversed` of Python
STAGES = {name for name in vars(AttemptHook) if not name.startswith("_")}  # of an attempt: each says what has happened


def is_participle(name: str) -> bool:
    first, *rest = name.split("_")
    past = bool(IRREGULAR.fullmatch(first)) or (first.endswith("ed") and first not in VERBS)
    return past and all(ADVERB.fullmatch(word) for word in rest)


def functions(node: ast.AST) -> Iterator[str]:
    """The names of public functions and methods, but not of properties, which are read like attributes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            if not child.name.startswith("_") and not any(
                "property" in ast.unparse(one) for one in child.decorator_list
            ):
                yield child.name
        elif isinstance(child, ast.ClassDef):
            yield from functions(child)


@pytest.mark.parametrize("name", ["worn", "sent_together", "passed_over", "settled", "tinted"])
def test_a_participle_is_recognized(name):
    assert is_participle(name)


@pytest.mark.parametrize("name", ["embed", "guided_filter", "held_out_loss", "read", "send", "named_buckets"])
def test_a_verb_or_a_noun_with_an_adjective_is_no_participle(name):
    assert not is_participle(name)


@pytest.mark.parametrize("room", ["functions", "photog", "shared", "serve", "page", "demo", "benchmarks", "tools"])
def test_no_public_function_is_named_by_a_participle(room):
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / room).rglob("*.py")
        for name in functions(ast.parse(path.read_text()))
        if is_participle(name) and name not in COPIES | STAGES
    }
    assert not found
