"""What a person is told about a photo: in a few words what is wrong, and what to do about it."""

import re
from dataclasses import dataclass
from typing import Any

from page import texts
from shared.contract.manifests import Json

Sides = tuple[float, float, float, float]  # left, top, right, bottom in pixels
USABLE, NOT_ONE_FACE = 1, 3  # codes of check
GOOD_QUALITY = 0.4
LARGEST = 1e6  # pixels of a side; no picture that photog reads has more
FACES = re.compile(r"(\d+) faces were found")


@dataclass(frozen=True)
class Verdict:
    """A check's verdict on one photo, in plain words.

    Attributes:
        title: the reason in two or three words.
        advice: what to do; empty if there is nothing to do.
        face: left, top, right, bottom in pixels of the upright photo; None if there is no single face.
        faces: all of them, from left to right.
        quality: 0 to 1, the rank of the photo.
    """

    usable: bool
    title: str
    advice: str
    face: Sides | None
    faces: tuple[Sides, ...]
    width: int
    height: int
    quality: float


def read_verdict(result: Json) -> Verdict:
    """Return the verdict in one entry of `check_results`."""
    usable, warnings = result.get("code") == USABLE, [str(one) for one in result.get("warnings") or []]
    quality = _read_number(result.get("quality"))
    title, advice = _describe_good(quality, warnings) if usable else _describe_fault(result.get("code"), warnings)
    width, height = read_size(result)
    face, faces = _box(result.get("face")), tuple(read_faces(result))
    return Verdict(usable, title, advice, face, faces, width, height, quality)


def read_faces(result: Json) -> list[Sides]:
    """Return the boxes of all faces in one entry of `check_results`, from left to right."""
    found = result.get("faces")
    return [box for one in found if (box := _box(one)) is not None] if isinstance(found, list) else []


def read_size(result: Json) -> tuple[int, int]:
    """Return width and height in pixels in one entry of `check_results`; 0 where it tells none."""
    return int(_read_number(result.get("width"))), int(_read_number(result.get("height")))


def _read_number(told: Any) -> float:
    """Return a number of an answer, which anybody may have overwritten; 0 for what is none."""
    known = isinstance(told, int | float) and not isinstance(told, bool) and 0 <= told <= LARGEST
    return float(told) if known else 0.0


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
        return texts.TWO_FACES if found[1] == "2" else texts.several_faces(int(found[1]))
    return texts.NO_FACE


def _box(face: Any) -> Sides | None:
    if isinstance(face, dict):
        face = [face.get(side) for side in ("left", "top", "right", "bottom")]
    if isinstance(face, list) and len(face) == 4 and all(map(_is_place, face)):
        left, top, right, bottom = map(float, face)
        return left, top, right, bottom
    return None


def _is_place(told: Any) -> bool:
    return isinstance(told, int | float) and abs(told) <= LARGEST  # also beside the picture, as of a face cut off


@dataclass(frozen=True)
class Square:
    """How a photo is shown in a square, and where the boxes of its faces lie in that; all in percent.

    Attributes:
        whole: whether the whole photo is shown, with bars beside it, instead of a part that the square cuts out.
        across, down: `object-position` of the part.
        boxes: left, top, width and height each, cut off at the square's border.
    """

    whole: bool
    across: float
    down: float
    boxes: list[dict[str, float]]


def crop_square(verdict: Verdict) -> Square:
    """Return how a photo is shown in a square: around its face, or whole if it does not have exactly one."""
    width, height = max(1, verdict.width), max(1, verdict.height)
    if verdict.face is None:
        side = max(width, height)
        x, y = (width - side) / 2, (height - side) / 2
        return Square(True, 50.0, 50.0, [_place(box, x, y, side) for box in verdict.faces])
    side = min(width, height)
    left, top, right, bottom = verdict.face
    x = min(max((left + right) / 2 - side / 2, 0.0), width - side)
    y = min(max((top + bottom) / 2 - side / 2, 0.0), height - side)
    across = 100 * x / (width - side) if width > side else 50.0
    down = 100 * y / (height - side) if height > side else 50.0
    return Square(False, across, down, [_place(verdict.face, x, y, side)])


def _place(box: Sides, x: float, y: float, side: float) -> dict[str, float]:
    """Return where a box lies in the square with this corner and side."""
    left, top, right, bottom = (
        min(max(100 * (one - corner) / side, 0.0), 100.0) for one, corner in zip(box, (x, y, x, y), strict=True)
    )
    return {"left": left, "top": top, "width": right - left, "height": bottom - top}
