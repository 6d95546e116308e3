"""What a person is told about a photo: in a few words what is wrong, and what to do about it."""

import re
from dataclasses import dataclass
from typing import Any

from page import texts
from shared.contract.manifests import Json

USABLE, NOT_ONE_FACE = 1, 3  # codes of check
GOOD_QUALITY = 0.4
FACES = re.compile(r"(\d+) faces were found")


@dataclass(frozen=True)
class Verdict:
    """A check's verdict on one photo, in plain words.

    Attributes:
        title: the reason in two or three words.
        advice: what to do; empty if there is nothing to do.
        face: left, top, right, bottom in pixels of the upright photo; None if there is no single face.
        quality: 0 to 1, the rank of the photo.
    """

    usable: bool
    title: str
    advice: str
    face: tuple[float, float, float, float] | None
    width: int
    height: int
    quality: float


def read_verdict(result: Json) -> Verdict:
    """Return the verdict in one entry of `check_results`."""
    usable, warnings = result.get("code") == USABLE, [str(one) for one in result.get("warnings") or []]
    quality = float(result.get("quality") or 0.0)
    title, advice = _describe_good(quality, warnings) if usable else _describe_fault(result.get("code"), warnings)
    width, height = int(result.get("width") or 0), int(result.get("height") or 0)
    return Verdict(usable, title, advice, _box(result.get("face")), width, height, quality)


def _describe_good(quality: float, warnings: list[str]) -> tuple[str, str]:
    advice = next((words for part, words in texts.ADVICE.items() if any(part in one for one in warnings)), "")
    return texts.GOOD if quality >= GOOD_QUALITY and not advice else texts.FAIR, advice


def _describe_fault(code: Any, warnings: list[str]) -> tuple[str, str]:
    if code != NOT_ONE_FACE:
        return texts.FAULTS.get(code, (texts.UNUSABLE, " ".join(warnings)))
    together = " ".join(warnings)
    if "upside down" in together or "lies on its side" in together or "rotate" in together:
        return texts.UPSIDE_DOWN
    if "cut off" in together:
        return texts.CUT_FACE
    if (found := FACES.search(together)) is not None:
        return (
            texts.TWO_FACES
            if found[1] == "2"
            else (f"{found[1]} {texts.SEVERAL_FACES[0].split()[1]}", texts.SEVERAL_FACES[1])
        )
    return texts.NO_FACE


def _box(face: Any) -> tuple[float, float, float, float] | None:
    if isinstance(face, dict):
        face = [face.get(side) for side in ("left", "top", "right", "bottom")]
    if isinstance(face, list) and len(face) == 4 and all(isinstance(one, int | float) for one in face):
        left, top, right, bottom = map(float, face)
        return left, top, right, bottom
    return None


def crop_square(verdict: Verdict) -> tuple[float, float, dict[str, float] | None]:
    """Return where a square thumbnail is cut out, and where the face's box lies in it, all in percent.

    Returns:
        `object-position` across and down, and left, top, width and height of the box; None without a face.
    """
    width, height = max(1, verdict.width), max(1, verdict.height)
    side = min(width, height)
    if verdict.face is None:
        return 50.0, 30.0, None
    left, top, right, bottom = verdict.face
    x = min(max((left + right) / 2 - side / 2, 0.0), width - side)
    y = min(max((top + bottom) / 2 - side / 2, 0.0), height - side)
    across = 100 * x / (width - side) if width > side else 50.0
    down = 100 * y / (height - side) if height > side else 50.0
    box = {
        "left": 100 * (left - x) / side,
        "top": 100 * (top - y) / side,
        "width": 100 * (right - left) / side,
        "height": 100 * (bottom - top) / side,
    }
    return across, down, box
