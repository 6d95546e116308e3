"""The license of a base model, and whether it allows to sell what the model makes.

| where it is found | what is read |
|---|---|
| `license` in `photog.json` | the license's name |
| `README.md` of a diffusers folder | `license_name` or `license` in the card's front matter, as on the hub |
| the model's name, the transformer's width | published models whose license forbids commercial use, see RESTRICTED |
"""

import json
import re
from pathlib import Path

from safetensors import safe_open

from shared.models.architectures import PREFIX
from shared.models.model_loading import ModelSource
from shared.models.model_name import EMBEDDED

APACHE = "Apache-2.0"
KLEIN = "FLUX Non-Commercial License"
# published base models of the known architectures; FLUX.2 klein 9B and models made from it have the wider transformer
RESTRICTED = ((re.compile(r"klein(-base)?-9b", re.IGNORECASE), KLEIN),)
KLEIN_4B = 3072  # width of FLUX.2 klein 4B's transformer, which is Apache-2.0
KLEIN_TENSOR = re.compile(r"single_stream_modulation\.lin(ear)?\.weight")
FORBIDDING = re.compile(r"non-?commercial|\bnc\b|research", re.IGNORECASE)
FREE = re.compile(r"apache|\bmit\b|bsd|openrail|cc0|cc-by-4", re.IGNORECASE)
FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
LICENSE = re.compile(r"^(license|license_name): *['\"]?([^'\"\n]+?)['\"]? *$", re.MULTILINE)
MOST_CARD = 100_000  # characters of a model card that are read


def find_license(where: ModelSource, kind: str) -> str | None:
    """Return the name of a base model's license, or None if it is not known."""
    if where.name == EMBEDDED:
        return APACHE
    told = _read_card(Path(where.place) / "README.md") if where.kind == "folder" else None
    if told is not None:
        return told
    restricted = next((license for pattern, license in RESTRICTED if pattern.search(where.name)), None)
    if restricted is None and kind == "flux2-klein" and read_klein_width(where) > KLEIN_4B:
        return KLEIN
    return restricted


def describe_license(license: str | None) -> str:
    """Say what a license means for what is made with the model."""
    if license is None:
        return "not known: look it up, and name it as license in the model's photog.json"
    if FORBIDDING.search(license):
        return f"non-commercial: {license}"
    return f"usable commercially: {license}" if FREE.search(license) else f"{license}: look up what it allows"


def warn_of_license(name: str, license: str | None) -> list[str]:
    """Return a warning for an answer if the base model's license forbids commercial use."""
    if license is None or not FORBIDDING.search(license):
        return []
    return [f"the base model {name} is for non-commercial use only ({license}): do not sell what is made with it"]


def _read_card(file: Path) -> str | None:
    if not file.is_file():
        return None
    front = FRONT_MATTER.match(file.read_text(encoding="utf-8", errors="replace")[:MOST_CARD])
    fields = dict(LICENSE.findall(front[1])) if front else {}
    return fields.get("license_name") or fields.get("license")


def read_klein_width(where: ModelSource) -> int:
    """Return the width of a klein's transformer; 0 if only the hub knows it."""
    if where.kind == "folder":
        config = Path(where.place) / "transformer" / "config.json"
        known = json.loads(config.read_text()) if config.is_file() else {}
        return int(known.get("num_attention_heads", 0) * known.get("attention_head_dim", 0))
    if where.kind == "hub":
        return 0
    with safe_open(where.place, "pt") as opened:
        names = [name for name in opened.keys() if KLEIN_TENSOR.fullmatch(name.removeprefix(PREFIX))]  # noqa: SIM118
        return int(opened.get_slice(names[0]).get_shape()[-1]) if names else 0
