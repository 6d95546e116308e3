"""Candidates for faces by BlazeFace (Bazarevsky et al. 2019), full and short range.

| network | input | finds |
|---|---|---|
| full range, 192 px | the whole picture, and windows of 0.43 of its longer side | faces from 2 % of that side |
| short range, 128 px | the whole picture | faces that fill it |

Each candidate has to be confirmed by a closer look. In an upside-down face both networks see an upright one, with the
eyes at the mouth, at a lower score than in an upright face. So each candidate is searched again in four rotations, and
those with about the best score are returned.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from shared.faces.base import Box
from shared.faces.face_crop import ResizedCrop, crop_face_quickly
from shared.faces.onnx_sessions import open_session
from shared.faces.rotation import measure_eye_tilt, turn_back, turn_upright, wrap_angle
from shared.imaging.array_types import Image, Points
from shared.imaging.reduction import halve
from shared.settings import FaceSettings

SEARCHED_SIDE = 893  # pixels, long side from which the windows are cut, twice as large as the network's input
FULL_SIDE, SHORT_SIDE = 192, 128  # pixels; the networks' inputs
FULL_GRIDS = ((48, 1),)  # cells per side, and candidates per cell
SHORT_GRIDS = ((16, 2), (8, 6))
LIKELY = 0.5  # score of a candidate, MediaPipe's own default
WINDOW = 0.43  # of the long side: six windows cover a picture of 5:4
OVERLAP = 0.12  # of a window, at least; a twentieth of the long side, as larger faces are found in the whole picture
EDGE = 0.01  # of a window: a box this near to an inner border is cut off by it; the next window has it whole
SAME_FACE = 0.3  # overlap (intersection over union) of two boxes from which they mean one face
WITHIN = 0.7  # share of a smaller box that a better one covers, from which it is a part of that face

TURNS = (0.0, 90.0, 180.0, 270.0)  # degrees; rotations in which a candidate is searched again
TURNED_FACE, TURNED_SIDE = 72, 192  # pixels of the candidate and of the square around it that is rotated
TOUCHED = 0.3  # overlap, of the smaller box: on an upside-down face a candidate may be off by half its width
CONFIRMED = 0.7  # score of the second search: faces have 0.79 and more, false candidates 0.65 at most
AS_LIKELY = 0.12  # score below the best rotation's that still counts; of 300 rotated faces the best is right for 92 %
APART = 45.0  # degrees of roll up to which two rotations show the same face
BESIDE = 0.15  # overlap with the candidate below which it is surely not about it: upside-down ones have about 0.3
FAINT = 0.3  # score from which a network's closer look says where the parts of a half hidden face are


MIDDLE = Box(*[(TURNED_SIDE - TURNED_FACE) / 2] * 2, *[(TURNED_SIDE + TURNED_FACE) / 2] * 2)


@dataclass(frozen=True, eq=False)
class Candidate:
    """Where a face may be.

    Attributes:
        box: about from brows to chin, in pixels of the picture.
        eyes: (2, 2), in pixels of the picture; first the one that is on the left if the face is upright.
        score: the detector's confidence in [0, 1].
    """

    box: Box
    eyes: Points
    score: float


@dataclass(frozen=True)
class Window:
    """A square of a picture: its corner, which may lie outside, and its side in pixels."""

    left: int
    top: int
    side: int


class BlazeFace:
    """Both networks, loaded from a folder."""

    def __init__(self, folder: Path, settings: FaceSettings) -> None:
        self._full = _Network(open_session(folder / "blazeface_full.onnx", settings), FULL_SIDE, FULL_GRIDS)
        self._short = _Network(open_session(folder / "blazeface_short.onnx", settings), SHORT_SIDE, SHORT_GRIDS)

    def candidates(self, image: Image) -> list[Candidate]:
        """Return all candidates of an RGB picture, best first; several of one face are merged."""
        small, factor = reduce_for_search(image)
        height, width = small.shape[:2]
        whole = _whole(width, height)
        found = [*self._full.look(small, whole), *self._short.look(small, whole)]
        for window in _windows(width, height):
            found += [one for one in self._full.look(small, window) if not _is_cut_off(one.box, window, width, height)]
        return [Candidate(one.box.scaled(1 / factor), one.eyes / factor, one.score) for one in _merge(found)]

    def detect_rotated(self, image: Image, candidate: Candidate, others: Sequence[Candidate] = ()) -> list[Candidate]:
        """Search a candidate again in four rotations; return it as each likely one shows it, best first, or nothing.

        Args:
            others: the picture's candidates; a face that is one of them is not this one, though it is near.
        """
        view = crop_face_quickly(image, candidate.box, TURNED_FACE, TURNED_SIDE)
        near = _neighbors(candidate, others)
        found = []
        for turn in TURNS:
            seen = self._short.look_at_middle(view, measure_eye_tilt(*candidate.eyes) + turn, CONFIRMED)
            own = _leave_out(seen, near, candidate)
            if own:
                found.append(max(own, key=lambda one: one.score))
        likely: list[Candidate] = []
        for one in sorted(found, key=lambda one: -one.score):
            rolls = [abs(wrap_angle(measure_eye_tilt(*one.eyes) - measure_eye_tilt(*other.eyes))) for other in likely]
            if not likely or (one.score >= likely[0].score - AS_LIKELY and min(rolls) > APART):
                likely.append(one)
        return likely

    def look_closely(
        self, image: Image, candidate: Candidate, turn: float, others: Sequence[Candidate] = ()
    ) -> list[Candidate]:
        """Return what each network sees of a candidate when it is turned by `turn` degrees, even if faintly."""
        view = crop_face_quickly(image, candidate.box, TURNED_FACE, TURNED_SIDE)
        roll = measure_eye_tilt(*candidate.eyes) + turn
        seen = [network.look_at_middle(view, roll, FAINT) for network in (self._full, self._short)]
        near = _neighbors(candidate, others)
        own = [_leave_out(some, near, candidate) for some in seen]
        return [max(some, key=lambda one: one.score) for some in own if some]


class _Network:
    """One of the networks: 16 numbers per candidate (box, six points), relative to the center of its cell."""

    def __init__(self, session: onnxruntime.InferenceSession, side: int, grids: tuple[tuple[int, int], ...]) -> None:
        self._session = session
        self._side = side
        self._input = session.get_inputs()[0].name
        self._cells = np.concatenate([_cells(*grid) for grid in grids])

    def look(self, image: Image, window: Window, least: float = LIKELY) -> list[Candidate]:
        """Return the candidates of a window with at least this score, in pixels of the picture."""
        view = _view(image, window, self._side).astype(np.float32)[None] / 127.5 - 1
        places, scores = sorted(self._session.run(None, {self._input: view}), key=lambda output: -output.shape[-1])
        likely = scores[0, :, 0] >= np.log(least / (1 - least))
        numbers = places[0][likely].astype(float) / self._side
        centers = numbers[:, :2] + self._cells[likely]
        points = numbers[:, 4:].reshape(-1, 6, 2) + self._cells[likely][:, None]
        corner = np.array([window.left, window.top])
        return [
            Candidate(
                Box(*((center - size / 2) * window.side + corner), *((center + size / 2) * window.side + corner)),
                eyes * window.side + corner,
                float(1 / (1 + np.exp(-score))),
            )
            for center, size, eyes, score in zip(
                centers, numbers[:, 2:4], points[:, :2], scores[0][likely, 0].astype(float), strict=True
            )
        ]

    def look_at_middle(self, view: ResizedCrop, roll: float, least: float) -> list[Candidate]:
        """Return the candidates in the middle of a crop that is rotated by `roll`, in pixels of the picture."""
        seen = self.look(turn_upright(view.image, roll), Window(0, 0, TURNED_SIDE), least)
        return [_rotate_back(one, view, roll) for one in seen if _overlap(one.box, MIDDLE)[1] > TOUCHED]


def _rotate_back(found: Candidate, view: ResizedCrop, roll: float) -> Candidate:
    """Convert a candidate of a rotated crop to the picture; its box becomes a square around the same center."""
    center, *eyes = view.outwards(turn_back(np.array([found.box.center, *found.eyes]), view.image, roll))
    half = max(found.box.width, found.box.height) / view.factor / 2
    return Candidate(Box(*(center - half), *(center + half)), np.array(eyes), found.score)


def _neighbors(candidate: Candidate, others: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that reach into the square in which this one is looked at."""
    seen = candidate.box.square(TURNED_SIDE / TURNED_FACE)
    return [one for one in others if one is not candidate and _overlap(one.box, seen)[0] > 0]


def _leave_out(seen: list[Candidate], others: Sequence[Candidate], own: Candidate) -> list[Candidate]:
    """Return those that are none of the other candidates."""
    return [one for one in seen if not any(_is_rather(one, other, own) for other in others)]


def _is_rather(seen: Candidate, other: Candidate, own: Candidate) -> bool:
    """Return whether a face that was seen on or beside a candidate is another candidate.

    A face that is upside down is none of those that lie on it with their eyes at its mouth, however near they are.
    """
    here, there = _overlap(seen.box, own.box)[0], _overlap(seen.box, other.box)[0]
    off = abs(wrap_angle(measure_eye_tilt(*seen.eyes) - measure_eye_tilt(*other.eyes)))
    return there > here and (off <= APART or here < BESIDE)


def _cells(count: int, each: int) -> Points:
    """Return the centers of a grid's cells in [0, 1], row by row, each `each` times."""
    y, x = np.mgrid[:count, :count]
    centers: Points = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) / count
    return np.repeat(centers, each, axis=0)


def reduce_for_search(image: Image) -> tuple[Image, float]:
    """Reduce a picture for the search, and return the factor; halving first is ten times as fast as `resize` alone."""
    factor = 1.0
    while max(image.shape[:2]) >= 2 * SEARCHED_SIDE and min(image.shape[:2]) >= 2:
        image, factor = halve(image), factor / 2
    rest = SEARCHED_SIDE / max(image.shape[:2])
    if rest >= 1:
        return image, factor
    height, width = (max(round(size * rest), 1) for size in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), factor * rest


def _whole(width: int, height: int) -> Window:
    side = max(width, height)
    return Window((width - side) // 2, (height - side) // 2, side)


def _windows(width: int, height: int) -> Iterator[Window]:
    """Yield overlapping squares that cover the picture; none if it is hardly larger than the network's input."""
    side = round(max(width, height) * WINDOW)
    if side <= FULL_SIDE:
        return
    for top in _starts(height, side):
        for left in _starts(width, side):
            yield Window(left, top, side)


def _starts(total: int, side: int) -> list[int]:
    if total <= side:
        return [(total - side) // 2]
    count = int(np.ceil((total - side) / (side * (1 - OVERLAP)))) + 1
    return [round(at) for at in np.linspace(0, total - side, count)]


def _view(image: Image, window: Window, side: int) -> Image:
    """Return the window resized to (side, side, 3); black outside the picture."""
    height, width = image.shape[:2]
    factor = side / window.side
    part = image[
        max(window.top, 0) : min(window.top + window.side, height),
        max(window.left, 0) : min(window.left + window.side, width),
    ]
    size = [min(max(round(length * factor), 1), side) for length in part.shape[1::-1]]
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    x, y = (
        min(round(max(-corner, 0) * factor), side - length)
        for corner, length in zip((window.left, window.top), size, strict=True)
    )
    view = np.zeros((side, side, 3), np.uint8)
    view[y : y + size[1], x : x + size[0]] = small
    return view


def _is_cut_off(box: Box, window: Window, width: int, height: int) -> bool:
    """Return whether a border of the window that is no border of the picture cuts through the box."""
    edge = EDGE * window.side
    right, bottom = window.left + window.side, window.top + window.side
    return (
        (window.left > 0 and box.left < window.left + edge)
        or (window.top > 0 and box.top < window.top + edge)
        or (right < width and box.right > right - edge)
        or (bottom < height and box.bottom > bottom - edge)
    )


def _merge(found: list[Candidate]) -> list[Candidate]:
    """Merge candidates of the same face into their mean, weighted by score; best first."""
    waiting = sorted(found, key=lambda one: -one.score)
    merged = []
    while waiting:
        best = waiting[0]
        overlaps = [_overlap(best.box, one.box) for one in waiting]
        same = [one for one, (union, _) in zip(waiting, overlaps, strict=True) if union > SAME_FACE] or [best]
        merged.append(_mean(same))
        waiting = [
            one
            for one, (union, smaller) in zip(waiting, overlaps, strict=True)
            if one is not best and union <= SAME_FACE and smaller <= WITHIN
        ]
    return merged


def _mean(same: list[Candidate]) -> Candidate:
    weights = np.array([one.score for one in same])
    corners = np.array([(one.box.left, one.box.top, one.box.right, one.box.bottom) for one in same])
    box = Box(*np.average(corners, axis=0, weights=weights).tolist())
    return Candidate(box, np.average([one.eyes for one in same], axis=0, weights=weights), same[0].score)


def _overlap(a: Box, b: Box) -> tuple[float, float]:
    """Return the intersection of two boxes over their union, and over the smaller one."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    common = max(width, 0.0) * max(height, 0.0)
    return common / (a.area + b.area - common), common / min(a.area, b.area)
