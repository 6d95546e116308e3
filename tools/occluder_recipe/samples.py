"""Training samples: a face with painted objects before it, and which pixels are the objects'."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face import masks
from functions.generate.occlusion.aligned_face import SIDE, planes
from shared.imaging.array_types import Image, Mask
from tools.occluder_recipe.brushes import cast_shadow, put, uniform
from tools.occluder_recipe.faces import PAINTED, Faces, photograph, unknown, vary
from tools.occluder_recipe.objects import Scene, paint_object

BARE = 0.27  # share of the samples with no object
BESIDE = 0.12  # face widths around the outline in which objects are looked for, too


@dataclass(frozen=True, eq=False)
class Sample:
    """One face.

    Attributes:
        picture: RGB, uint8, (SIDE, SIDE, 3).
        planes: the network's input, (5, SIDE, SIDE).
        wanted: the objects' share of each pixel, (SIDE, SIDE).
        weight: how much each pixel counts, (SIDE, SIDE).
    """

    picture: Image
    planes: NDArray[np.float32]
    wanted: Mask
    weight: Mask


def make_sample(rng: np.random.Generator, faces: Faces, textures: list[Image]) -> Sample:
    """Return a random face with random objects; one in four has none."""
    canvas, points = vary(rng, *_pick(rng, faces))
    people = [_pick(rng, faces)[0] for _ in range(2)]
    other = _pick(rng, faces)[0]
    around = [*textures, other]
    doubtful = unknown(canvas, points)
    alpha = np.zeros((PAINTED, PAINTED), np.float32)
    count = 0 if rng.random() < BARE else 1 + (rng.random() < 0.2)
    for _ in range(count):
        cutout = paint_object(Scene(rng, canvas, points, around, people))
        if rng.random() < 0.6:
            canvas = cast_shadow(rng, canvas, cutout.alpha)
        edge = uniform(rng, 0.3, 1.1)
        soft = cv2.GaussianBlur(cutout.alpha, (0, 0), edge)
        canvas = put(canvas, type(cutout)(cutout.pixels, soft))
        alpha = np.maximum(alpha, soft)
    picture = photograph(rng, canvas)
    small = (points + 0.5) * (SIDE / PAINTED) - 0.5
    wanted = cv2.resize(alpha, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    doubt = cv2.resize(doubtful, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    inside = masks.face(small, (SIDE, SIDE), 0.0, 0.02)
    near = masks.face(small, (SIDE, SIDE), -BESIDE, 0.03)
    weight = np.maximum(inside, near * (0.1 + 0.5 * wanted)) * (1 - doubt * (1 - wanted))
    return Sample(picture, planes(picture, small), wanted, weight.astype(np.float32))


def _pick(rng: np.random.Generator, faces: Faces) -> tuple[Image, NDArray[np.float64]]:
    number = int(rng.integers(len(faces.points)))
    return faces.canvases[number], faces.points[number]
