"""Landmarks measured with the face upright and in its place: they turn with the picture, whatever engine finds them.

A landmark model knows faces that are about upright and lie in the box as those of its training did. A detector's box is
neither turned nor that exact. So the points themselves say how to look again:

    close-up turned by the roll -> look -> the roll and the place that the points have -> turned by that roll -> ...

until both are at rest. Then the median of several looks around that place is turned back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from shared.faces.base import Box
from shared.faces.rotation import measure_roll, turn_back, turn_upright, wrap_angle
from shared.imaging.array_types import Image, Points

LEVEL = 3.0  # degrees of tilt at which a face is looked at as it is: turning by less changes the points by noise alone
IN_PLACE = 0.03  # box widths that a box may lie beside its face, and be too large or small
MOST_TURNS = 4  # looks from new sides until the points are taken as they are; a face at 60 degrees needs two or three

Shifts = Sequence[tuple[float, float]]
"""To the right and down, in widths of the box."""


Look = Callable[[Image, Box], Points]
"""A landmark model: the 68 points of the about upright face in a box of an RGB picture, (68, 2) in its pixels."""

Framing = Callable[[Points], Box]
"""The box in which a model expects an upright face that has these points."""


@dataclass(frozen=True, eq=False)
class SettledFace:
    """A face at rest.

    Attributes:
        points: (68, 2) in pixels of the close-up; the median of all looks.
        tilt: degrees by which the close-up was turned in the end.
        unrest: mean distance in pixels between the points of the first look and those of the looks around its place.
    """

    points: Points
    tilt: float
    unrest: float


def settle(
    look: Look, view: Image, place: Box, tilt: float = 0.0, framing: Framing | None = None, shifts: Shifts = ()
) -> SettledFace:
    """Find the landmarks of the face in this place of a close-up, a square RGB picture.

    Args:
        tilt: roll of the face in degrees, positive clockwise, as far as it is known.
        framing: None leaves the box where the detector has it.
        shifts: looks around the place besides the one in it; the points of a steady face hardly change.
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
    """A box as upright as this one, around where its center is when the turn of the view by so much is undone."""
    ((x, y),) = turn_back(np.array([box.center]), view, degrees)
    return Box(x - box.width / 2, y - box.height / 2, x + box.width / 2, y + box.height / 2)


def _beside(box: Box, other: Box) -> float:
    """How far two boxes differ in place or in size, in widths of the first."""
    (x, y), (other_x, other_y) = box.center, other.center
    return max(abs(x - other_x), abs(y - other_y), abs(box.width - other.width)) / box.width


def _shift(box: Box, right: float, down: float) -> Box:
    """The box moved by shares of its width."""
    x, y = right * box.width, down * box.width
    return Box(box.left + x, box.top + y, box.right + x, box.bottom + y)
