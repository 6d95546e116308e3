"""What the pages say about settings is true of the settings."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from page.settings import PageSettings
from serve.settings import ServeSettings
from shared.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("events/*.md")])
UNITS = {"KB": 1024, "KiB": 1024, "MiB": 2**20, "million": 10**6}
NUMBER = re.compile(rf"([0-9][0-9,]*(?:\.[0-9]+)?)(?: ({'|'.join(UNITS)}))?")
PLAIN = re.compile(r"`[^`<]*`|[0-9][^,]*|true|false|none")  # else it is said in words what None means
# None leaves the plan's, which is the same for all base models
OF_PLANS = {"TRAIN__ACCUMULATION": "1", "TRAIN__PATIENCE": "3"}


def defaults(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Return each setting's default by its name in the environment, without the prefix."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        value = field.get_default(call_default_factory=True)
        told = f"{prefix}{name}".upper()
        if isinstance(value, BaseModel):
            found |= defaults(type(value), f"{told}__")
        else:
            found[told] = value
    return found


DEFAULTS = defaults(Settings) | defaults(ServeSettings, "SERVE__") | defaults(PageSettings, "PAGE__") | {"TOKEN": None}
OF_COMPOSE = {
    "PHOTOS",
    "MODELS",
    "MODEL",
    "TRAIN_CARD",
    "GENERATE_CARD",
}  # variables of compose.yaml, of no process of ours


def rows(column: str) -> list[tuple[str, str, str]]:
    """Return page, setting and the second column's text, from all tables whose second column has this name."""
    found = []
    for page in PAGES:
        heading = ""
        for line in page.read_text().splitlines():
            cells = [cell.strip() for cell in line.strip("| ").split(" | ")] if line.startswith("|") else []
            heading = heading or (cells[1] if len(cells) > 1 else "") if cells else ""
            if cells and heading == column and (names := names_in(cells[0])):
                values = cells[1].split(", ") if len(names) > 1 else [cells[1]]
                values = values if len(values) == len(names) else values * len(names)
                found += [
                    (page.relative_to(ROOT).as_posix(), name, value) for name, value in zip(names, values, strict=True)
                ]
    return found


def names_in(text: str) -> list[str]:
    """Return the settings that a text names, also where `__THIS` follows another of its group."""
    found: list[str] = []
    for quoted in re.findall(r"`(PHOTOG_[A-Z0-9_]*[A-Z0-9]|__[A-Z0-9_]+)\b", text):
        group = found[-1].rpartition("__")[0] if found else ""
        found.append(quoted.removeprefix("PHOTOG_") if quoted.startswith("PHOTOG_") else group + quoted)
    return found


def number(text: str) -> float | None:
    """Return the number at the beginning of a text, times its unit."""
    told = NUMBER.match(text)
    return float(told[1].replace(",", "")) * UNITS.get(told[2], 1) if told else None


def says(text: str, value: Any) -> bool:
    """Return whether a page's text means this value."""
    if not PLAIN.fullmatch(text):
        return value is None
    if text == "none" or value is None:
        return text == "none" and not value
    if isinstance(value, bool):
        return text == str(value).lower()
    if isinstance(value, int | float):
        return number(text) == value
    return text.strip("`").replace("'", '"') == (value if isinstance(value, str) else str(value).replace("'", '"'))


@pytest.mark.parametrize("row", rows("default"), ids=lambda row: f"{row[0]}-{row[1]}")
def test_a_documented_default_is_the_default(row):
    _, name, text = row
    expected = OF_PLANS.get(name)
    assert text == expected if expected else says(text, DEFAULTS[name]), DEFAULTS[name]


@pytest.mark.parametrize("row", rows("at most"), ids=lambda row: f"{row[0]}-{row[1]}")
def test_a_documented_limit_is_the_limit(row):
    _, name, text = row
    assert number(text) in (DEFAULTS[name], None), DEFAULTS[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_page_names_a_setting_that_is_none_or_another_default_in_brackets(page):
    text = page.read_text()
    groups = {name.rpartition("__")[0] for name in DEFAULTS}
    named = set(re.findall(r"\bPHOTOG_([A-Z0-9_]*[A-Z0-9])\b", text))
    assert named <= DEFAULTS.keys() | OF_COMPOSE | groups
    for name, told in re.findall(r"`PHOTOG_([A-Z0-9_]+)` \(([^)]*)\)", text):
        if (stated := number(told)) is not None:
            assert stated == DEFAULTS[name], name


def test_a_table_that_says_another_default_would_be_found():
    assert len(rows("default")) > 50
    assert len(rows("at most")) > 6
    assert {"docs/settings.md", "docs/cloud.md", "docs/serve.md"} <= {page for page, _, _ in rows("default")}
    assert not says("120", DEFAULTS["SQS__VISIBILITY_SECONDS"])
    assert not says("none", DEFAULTS["FACES__MODEL"])
    assert not says("`json`", DEFAULTS["LOG__FORMAT"])
    assert says("32 MiB", DEFAULTS["S3__PART_BYTES"])
