"""Landmarks by repeated looks, until roll and box agree with the landmarks themselves.

A landmark model expects an upright face that lies in its box as the faces of its training did. A detector's box is not
rotated and not that exact. So each look's landmarks say how to look again:

    crop rotated by the roll -> landmarks -> their roll and box -> crop rotated by that roll -> ...

until both settle. The result is the median of several looks around that box, rotated back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from shared.faces.base import Box
from shared.faces.rotation import measure_roll, turn_back, turn_upright, wrap_angle
from shared.imaging.array_types import Image, Points

LEVEL = 3.0  # degrees of tilt that are not corrected: a smaller rotation changes the points only by noise
IN_PLACE = 0.03  # box widths: tolerated error of a box's position and size
MOST_TURNS = 4  # further looks after which the points are accepted; a face at 60 degrees needs two or three

Shifts = Sequence[tuple[float, float]]
"""Offsets to the right and down, in widths of the box."""


Look = Callable[[Image, Box], Points]
"""A landmark model: returns the 68 points, (68, 2), of the nearly upright face in a box of an RGB picture."""

Framing = Callable[[Points], Box]
"""Returns the box in which a model expects an upright face with these points."""


@dataclass(frozen=True, eq=False)
class SettledFace:
    """The landmarks after the last look.

    Attributes:
        points: (68, 2) in pixels of the crop; the median of the looks around the last box.
        tilt: degrees by which the crop was rotated in the last look.
        unrest: mean distance in pixels between the points of the last box and those of the shifted boxes.
    """

    points: Points
    tilt: float
    unrest: float


def settle(
    look: Look, view: Image, place: Box, tilt: float = 0.0, framing: Framing | None = None, shifts: Shifts = ()
) -> SettledFace:
    """Find the landmarks of the face in a box of a square RGB crop.

    Args:
        tilt: first guess of the face's roll in degrees, positive clockwise.
        framing: corrects the box; None keeps the detector's.
        shifts: offsets of additional looks; on a face that was found well they hardly change the points.
    """
    turned, here = turn_upright(view, tilt), _move(place, view, -tilt)
    points = look(turned, here)
    for _ in range(MOST_TURNS):
        off, wanted = measure_roll(points), framing(points) if framing else here
        if abs(off) <= LEVEL and _beside(here, wanted) <= IN_PLACE:
            break
        place = _move(wanted, view, tilt)
        tilt = tilt if abs(off) <= LEVEL else wrap_angle(tilt + off)
        turned, here = turn_upright(view, tilt), _move(place, view, -tilt)
        points = look(turned, here)
    looks = np.array([points, *(look(turned, _shift(here, *one)) for one in shifts)])
    unrest = np.linalg.norm(looks[1:] - looks[0], axis=-1).mean() if shifts else 0.0
    return SettledFace(turn_back(np.median(looks, axis=0), view, tilt), tilt, float(unrest))


def _move(box: Box, view: Image, degrees: float) -> Box:
    """Move a box to where its center is after the view's rotation by `degrees` is undone; it stays upright."""
    ((x, y),) = turn_back(np.array([box.center]), view, degrees)
    return Box(x - box.width / 2, y - box.height / 2, x + box.width / 2, y + box.height / 2)


def _beside(box: Box, other: Box) -> float:
    """Return how much two boxes differ in position or size, in widths of the first."""
    (x, y), (other_x, other_y) = box.center, other.center
    return max(abs(x - other_x), abs(y - other_y), abs(box.width - other.width)) / box.width


def _shift(box: Box, right: float, down: float) -> Box:
    """Move a box by shares of its width."""
    x, y = right * box.width, down * box.width
    return Box(box.left + x, box.top + y, box.right + x, box.bottom + y)
