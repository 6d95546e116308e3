"""Measures of what can be wrong with a checkpoint that looks like the person: copied photos, pictures all the same."""

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np

from shared.imaging.array_types import Image


def measure_copying(trained: Sequence[float], held_out: Sequence[float]) -> float | None:
    """Return how much more similar a portrait is to the nearest training photo than to the nearest held-out photo.

    The nearest of many photos is nearer by chance than the nearest of few. So the training photos count with the
    expected maximum over as many of them as were held out, drawn without replacement.

    Args:
        trained: similarities of the portrait to the training photos.
        held_out: similarities of the portrait to the held-out photos.

    Returns:
        About 0 for a portrait of the person, more for a copy of a photo; None if either list is empty.
    """
    if not trained or not held_out:
        return None
    count = min(len(held_out), len(trained))
    return expected_best_similarity(trained, count) - expected_best_similarity(held_out, count)


def expected_best_similarity(scores: Sequence[float], drawn: int) -> float:
    """Return the highest of `drawn` scores, averaged over all ways to draw them from `scores` without replacement."""
    ways = comb(len(scores), drawn)
    return float(sum(score * comb(rank, drawn - 1) for rank, score in enumerate(sorted(scores))) / ways)


def measure_diversity(pictures: Sequence[Image]) -> float | None:
    """Return the mean absolute difference over all pairs of pictures in levels of 255; None for fewer than two."""
    if len(pictures) < 2:
        return None
    pairs = combinations([picture.astype(np.int16) for picture in pictures], 2)
    return float(np.mean([np.abs(one - other).mean() for one, other in pairs]))
