"""What can go wrong with a checkpoint that looks like the person: it copies a photo, or it knows one picture only."""

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np

from shared.imaging.array_types import Image


def measure_copying(trained: Sequence[float], held_out: Sequence[float]) -> float | None:
    """How much nearer a portrait is to the nearest photo of the training than to the nearest one held out.

    Of many photos one is nearer by chance than of few: the training's side is the expected maximum of as many photos
    as were held out, drawn from it without replacement. About 0 for a portrait of the person, above for a copy.

    Args:
        trained, held_out: similarities of the portrait to photos; None where either is empty.
    """
    if not trained or not held_out:
        return None
    count = min(len(held_out), len(trained))
    return expected_best_similarity(trained, count) - expected_best_similarity(held_out, count)


def expected_best_similarity(scores: Sequence[float], drawn: int) -> float:
    """The mean of the highest of `drawn` scores over all ways to draw them."""
    ways = comb(len(scores), drawn)
    return float(sum(score * comb(rank, drawn - 1) for rank, score in enumerate(sorted(scores))) / ways)


def measure_diversity(pictures: Sequence[Image]) -> float | None:
    """Mean absolute difference between every two pictures in levels of 255; None for fewer than two."""
    if len(pictures) < 2:
        return None
    pairs = combinations([picture.astype(np.int16) for picture in pictures], 2)
    return float(np.mean([np.abs(one - other).mean() for one, other in pairs]))
