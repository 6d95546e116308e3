"""Whom most photos show, from nothing but the distances between their faces."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Distances = NDArray[np.float64]
"""(N, N), symmetric: how far apart the faces of each two photos are."""


@dataclass(frozen=True)
class Majority:
    """The largest group of photos that show one person.

    Attributes:
        members: rows of the distances.
        tied: another group, without a common photo, is as large.
    """

    members: frozenset[int]
    tied: bool


def majority(apart: Distances, limit: float) -> Majority:
    """The largest group around a medoid: the photo that is nearer than `limit` to most others.

    A photo belongs when its mean distance to the group's other photos is below the limit too. It is left out of that
    mean, so that no photo vouches for itself. ValueError when there is no photo.
    """
    everybody = frozenset(range(len(apart)))
    members = _largest(apart, limit, everybody)
    rest = everybody - members
    return Majority(members, bool(rest) and len(_largest(apart, limit, rest)) == len(members))


def to_others(apart: Distances, row: int, group: frozenset[int]) -> float:
    """Mean distance of a photo to the group's photos other than itself; 0 where there are none."""
    others = [apart[row, other] for other in group if other != row]
    return float(np.mean(others)) if others else 0.0


def _largest(apart: Distances, limit: float, among: frozenset[int]) -> frozenset[int]:
    def around(medoid: int) -> frozenset[int]:
        return frozenset(row for row in among if apart[medoid, row] < limit)

    def rank(medoid: int) -> tuple[int, float]:
        near = around(medoid)
        return len(near), -float(sum(apart[medoid, row] for row in near))

    group = around(max(sorted(among), key=rank))
    return frozenset(row for row in group if to_others(apart, row, group) < limit)
