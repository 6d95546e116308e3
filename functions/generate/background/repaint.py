"""`background_restore`: repaint everything but the people by diffusion, without a LoRA.

A long picture is repainted in overlapping squares, so that the model gets each at its working size. Their masks fade
into each other and add up to 1.
"""

from collections.abc import Callable, Sequence

import numpy as np

from functions.generate.background import person_segmentation
from functions.generate.diffusion.img2img import Denoising, Diffuser
from functions.generate.diffusion.inpaint_region import InpaintRegion, PromptPair
from functions.generate.face import masks
from functions.generate.face.palette import Palette
from shared.faces import Box, Face
from shared.imaging.array_types import Image, Mask
from shared.models.step_count import StepCount

STEPS, STRENGTH = 30, 0.35  # as in EasyPhoto
OVERLAP = 0.25  # least overlap of two squares, in sides
SEED_OFFSET = 1000  # added to the request's seed, so that the noise differs from that of every face

Span = tuple[int, int]
"""First pixel and the one after the last, along the longer side."""


def plan_denoising(count: StepCount) -> Denoising:
    """Return steps and strength of the background's diffusion; `count` is the base model's rule."""
    return Denoising(STEPS, STRENGTH, "first", count)


def count_evaluations(shape: tuple[int, ...], count: StepCount) -> int:
    """Return the number of network evaluations for the background of a picture of this shape."""
    return len(tile_spans(max(shape[:2]), min(shape[:2]))) * plan_denoising(count).effective


def repaint_background(
    image: Image,
    faces: Sequence[Face],
    owned: Mask,
    diffuser: Diffuser,
    words: PromptPair,
    painting: Denoising,
    seed: int,
    step_done: Callable[[], None],
    palette: Palette | None = None,
) -> None:
    """Repaint the background of a picture in place.

    Args:
        image: RGB, uint8, (H, W, 3); stays bit-identical where `owned` is 1.
        faces: all faces of the picture.
        owned: the people's share of each pixel, from `person_segmentation.segment_people`.
        diffuser: the base model, without an active LoRA.
        words: the encoded prompts of the background.
        painting: steps and strength, from `plan_denoising`.
        seed: the seed of the request.
        step_done: called after each network evaluation.
        palette: the picture's palette, to which the background is limited; None for ordinary colors.
    """
    height, width = image.shape[:2]
    squares = tile_spans(max(height, width), min(height, width))
    landmarks = max(faces, key=lambda face: face.box.area).landmarks
    for index, (first, last) in enumerate(squares):
        rows, columns = (
            (slice(0, height), slice(first, last)) if width >= height else (slice(first, last), slice(0, width))
        )
        free = 1 - person_segmentation.crop_mask(owned, image.shape, rows, columns)
        faded = feather(squares, index)
        free *= faded[None, :] if width >= height else faded[:, None]
        free[free < masks.LEAST] = 0  # pixels that would round to a person's original must be exactly that
        part = np.ascontiguousarray(image[rows, columns])
        corner = np.array([columns.start, rows.start])
        square = Box(0, 0, part.shape[1], part.shape[0]).square(1.0)
        noise = (seed + SEED_OFFSET + index) % 2**32
        canvas = InpaintRegion(part, square, free, landmarks - corner, words, noise)
        painted = diffuser.repaint([canvas], painting, step_done)[0]
        if palette is not None:
            painted = palette.limit_tint(palette.scale_changes(painted, part), part)
        image[rows, columns] = painted


def tile_spans(length: int, side: int) -> list[Span]:
    """Place squares of `side` evenly along a picture of `length`, in pixels; neighbors overlap by at least OVERLAP.

    A picture that is hardly longer than a square is one span.
    """
    if length <= side * (1 + OVERLAP):
        return [(0, length)]
    count = 1 + int(np.ceil((length - side) / (side * (1 - OVERLAP))))
    starts = np.round(np.linspace(0, length - side, count)).astype(int)
    return [(int(start), int(start) + side) for start in starts]


def feather(squares: Sequence[Span], index: int) -> Mask:
    """Return the weight of one square's change along the longer side, (length of the square,).

    It falls to 0 over the overlaps, and the weights of all squares add up to 1 at each pixel.
    """
    first, last = squares[index]
    faded = np.ones(last - first, np.float32)
    middle = np.arange(first, last, dtype=np.float32) + 0.5
    if index > 0:
        before = squares[index - 1][1]
        faded = np.minimum(faded, np.clip((middle - first) / (before - first), 0, 1))
    if index + 1 < len(squares):
        after = squares[index + 1][0]
        faded = np.minimum(faded, np.clip((last - middle) / (last - after), 0, 1))
    return faded.astype(np.float32)
