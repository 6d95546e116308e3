"""Whom most photos show, from nothing but the distances between their faces."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Distances = NDArray[np.float64]
"""(N, N), symmetric: how far apart the faces of each two photos are."""

SAME_PHOTO = 1e-4  # the same file twice is 0 apart, up to rounding; another photo of the person 0.1 and more

Group = frozenset[int]
"""Photos of one person, as rows of the distances."""


@dataclass(frozen=True)
class Majority:
    """The largest group of photos that show one person.

    Attributes:
        members: rows of the distances.
        tied: another group is as large.
    """

    members: Group
    tied: bool


def find_majority(apart: Distances, limit: float) -> Majority:
    """The largest group when photos are grouped by person; ValueError when there is no photo.

    The two groups whose photos are nearest to each other in the mean are joined again and again, until the nearest are
    `limit` apart or more (average linkage, Sokal & Michener 1958). No photo's distance to itself takes part, so that
    none vouches for itself, and relatives who are near to one photo of a person but not to the others stay apart.

    `scipy.cluster.hierarchy` does the same, but scipy would add 140 MB to check's image for these few lines.
    """
    groups = [frozenset([row]) for row in range(len(apart))]
    while len(groups) > 1:
        near, far = min(combinations(groups, 2), key=lambda pair: _between(apart, *pair))
        if _between(apart, near, far) >= limit:
            break
        groups = [group for group in groups if group not in (near, far)] + [near | far]
    members = max(groups, key=len)
    return Majority(members, sum(len(group) == len(members) for group in groups) > 1)


def find_first_photos(apart: Distances) -> list[int]:
    """For each photo the first one that is the very same; itself where there is none before it."""
    return [int(np.argmax(row < SAME_PHOTO)) for row in apart]


def distances_to_others(apart: Distances, row: int, group: Group) -> float:
    """Mean distance of a photo to the group's photos other than itself; 0 where there are none."""
    others = group - {row}
    return _between(apart, frozenset([row]), others) if others else 0.0


def _between(apart: Distances, one: Group, other: Group) -> float:
    return float(apart[np.ix_(sorted(one), sorted(other))].mean())
