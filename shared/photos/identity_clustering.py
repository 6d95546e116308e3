"""Determines the person whom most photos show, from the distances between the faces alone."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Distances = NDArray[np.float64]
"""(N, N), symmetric: the distance between the faces of each pair of photos."""

SAME_PHOTO = 1e-4  # copies of a file have distance 0 up to rounding, other photos of the person 0.1 and more

Group = frozenset[int]
"""Photos of one person, as row numbers of the distances."""


@dataclass(frozen=True)
class Majority:
    """The largest group of photos that show one person.

    Attributes:
        members: row numbers of the distances.
        tied: whether another group is equally large.
    """

    members: Group
    tied: bool


def find_majority(apart: Distances, limit: float) -> Majority:
    """Group the photos by person and return the largest group; ValueError if there are no photos.

    The two groups with the smallest mean distance between their photos are merged, repeatedly, until the smallest mean
    distance is `limit` or more (average linkage, Sokal & Michener 1958). A photo's distance to itself never counts, so
    a relative who is near to one photo of a person but not to the others stays separate.

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
    """Return for each photo the row number of its first copy, which is its own row number if no copy precedes it."""
    return [int(np.argmax(row < SAME_PHOTO)) for row in apart]


def distances_to_others(apart: Distances, row: int, group: Group) -> float:
    """Return the mean distance of a photo to the group's other photos; 0 if there are no others."""
    others = group - {row}
    return _between(apart, frozenset([row]), others) if others else 0.0


def _between(apart: Distances, one: Group, other: Group) -> float:
    return float(apart[np.ix_(sorted(one), sorted(other))].mean())
