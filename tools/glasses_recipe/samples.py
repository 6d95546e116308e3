"""Training samples: a face with painted glasses or without, and which pixels are the frame's."""

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from functions.generate.face import masks
from functions.generate.face.landmarks import BROW_SIDES, EYES, face_width, fit_upright
from functions.generate.glasses.aligned_face import SIZE, align, planes, transform
from shared.faces import FaceEngine
from shared.faces.base import largest
from shared.imaging.array_types import Image, Mask, Points
from tools.glasses_recipe.frames import Worn, put_on_glasses
from tools.occluder_recipe.brushes import Canvas, curve, noise, stroke, uniform
from tools.occluder_recipe.faces import Faces, photograph, vary

PAINTED, PAINTED_WIDTH = 300, 180.0  # side of the canvas on which faces are painted, and the face's width on it
BARE = 0.45  # share of the samples without glasses
EVERY = 3  # one portrait of so many is never trained on


@dataclass(frozen=True, eq=False)
class Sample:
    """One face.

    Attributes:
        planes: the network's input, (5, *SIZE).
        wanted: the frames' share of each pixel, SIZE.
        weight: how much each pixel counts, SIZE.
    """

    planes: NDArray[np.float32]
    wanted: Mask
    weight: Mask


def prepare(folder: Path, labels: Path, engine: FaceEngine) -> tuple[Faces, Faces]:
    """Align the bare faces of labeled portraits; return those to train on, and those that are held out."""
    with labels.open() as file:
        rows = list(csv.DictReader(file))
    parts: tuple[list[tuple[Image, Points]], ...] = ([], [])
    for number, row in enumerate(rows):
        path = folder / f"{row['portrait']}.jpg"
        if row["glasses"] == "1" or not path.exists():
            continue
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        if found := engine.detect(image):
            landmarks = largest(found).landmarks
            matrix = fit_upright(landmarks, PAINTED_WIDTH, (PAINTED / 2, PAINTED / 2))
            matrix[1, 2] += 0.1 * PAINTED_WIDTH
            canvas = cv2.warpAffine(
                image, matrix, (PAINTED, PAINTED), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
            )
            parts[number % EVERY == 0].append((canvas, transform(landmarks, matrix)))
    train, held = (Faces(np.stack([one for one, _ in part]), np.stack([one for _, one in part])) for part in parts)
    return train, held


def make_sample(rng: np.random.Generator, faces: Faces) -> Sample:
    """Return a random face, with random glasses or without."""
    number = int(rng.integers(len(faces.points)))
    face, points = vary(rng, faces.canvases[number], faces.points[number], glasses=False)
    face = _sharpen(rng, face, points)
    none = np.zeros(face.shape[:2], np.float32)
    worn = Worn(face, none, none) if rng.random() < BARE else put_on_glasses(rng, face, points)
    matrix = align(points + rng.normal(0, 0.004, points.shape) * face_width(points))
    matrix = _shake(rng, matrix)
    canvas, frames, doubtful = (
        cv2.warpAffine(np.asarray(one), matrix, SIZE[::-1], flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
        for one in (worn.canvas, worn.frames, worn.doubtful)
    )
    cut = _cut_off(rng)
    placed = transform(points, matrix) + rng.normal(0, 0.7, points.shape)
    picture = photograph(rng, canvas, SIZE)
    picture = _lose_detail(rng, picture)
    picture[cut], frames[cut] = 0, 0
    return Sample(planes(picture, placed), frames, np.asarray(1 - doubtful, np.float32))


def _sharpen(rng: np.random.Generator, face: Canvas, points: Points) -> Canvas:
    """Give a small, soft portrait what a large photo shows: lashes, hairs of brows, pores; and harder edges."""
    size = face.shape[0], face.shape[1]
    if rng.random() < 0.5:
        blurred = cv2.GaussianBlur(face, (0, 0), uniform(rng, 1, 4))
        face = np.asarray(np.clip(face + uniform(rng, 0.3, 2) * (face - blurred), 0, 255), np.float32)
    if rng.random() < 0.4:
        face = face * (1 - _draw_folds(rng, size, points))[..., None]
    if rng.random() < 0.4:
        face = np.asarray(np.clip(face * (1 + _draw_smile(rng, size, points))[..., None], 0, 255), np.float32)
    hairs = np.zeros(size, np.float32)
    if rng.random() < 0.5:
        hairs = np.maximum(hairs, _draw_lashes(rng, size, points))
    if rng.random() < 0.5:
        hairs = np.maximum(hairs, _draw_brows(rng, size, points))
    dark = np.array([uniform(rng, 5, 60)] * 3, np.float32) * np.array([1, 0.85, 0.75], np.float32)
    share = (uniform(rng, 0.3, 1) * cv2.GaussianBlur(hairs, (0, 0), uniform(rng, 0.3, 0.9)))[..., None]
    face = face * (1 - share) + dark * share
    if rng.random() < 0.4:
        grain = noise(rng, size, uniform(rng, 1, 4)) * masks.face(points, size, -0.05, 0.05)
        face = face * np.exp(uniform(rng, 0.01, 0.07) * grain)[..., None]
    return np.asarray(face, np.float32)


def _draw_lashes(rng: np.random.Generator, size: tuple[int, int], points: Points) -> Mask:
    """Return the mask, (H, W), of lashes, and of drawn lids."""
    width, drawn = face_width(points), np.zeros(size, np.float32)
    for eye in EYES:
        for _ in range(int(rng.integers(4, 30))):
            start = points[eye][rng.integers(6)] + rng.normal(0, 0.008, 2) * width
            away = start - points[eye].mean(axis=0)
            away = away / max(float(np.linalg.norm(away)), 1.0) * uniform(rng, 0.01, 0.045) * width
            line = np.stack([start, start + away + rng.normal(0, 0.006, 2) * width])
            drawn = np.maximum(drawn, stroke(size, line, 1))
        if rng.random() < 0.5:
            line = points[eye][[0, 1, 2, 3]] + rng.normal(0, 0.004, (4, 2)) * width
            drawn = np.maximum(drawn, stroke(size, line, uniform(rng, 0.004, 0.02) * width))
    return drawn


def _draw_folds(rng: np.random.Generator, size: tuple[int, int], points: Points) -> Mask:
    """Return how much darker the folds of old lids and bags make the skin around the eyes, 0 to 1, (H, W)."""
    width, dark = face_width(points), np.zeros(size, np.float32)
    for eye in EYES:
        outline = points[eye] - points[eye].mean(axis=0)
        for _ in range(int(rng.integers(1, 5))):
            below = rng.random() < 0.75
            line = outline[[0, 5, 4, 3] if below else [0, 1, 2, 3]] * uniform(rng, 1.0, 1.5)
            line = line + points[eye].mean(axis=0) + rng.normal(0, 0.006, (4, 2)) * width
            line[:, 1] += uniform(rng, 0.01, 0.12) * width * (1 if below else -0.4)
            start = int(rng.integers(2))
            fold = stroke(
                size, curve(line[start], line[start + 1], line[start + 2]), uniform(rng, 0.005, 0.015) * width
            )
            fold = cv2.GaussianBlur(fold, (0, 0), uniform(rng, 0.5, 2.5))
            dark = np.maximum(dark, uniform(rng, 0.1, 0.6) * fold)
    return dark


def _draw_smile(rng: np.random.Generator, size: tuple[int, int], points: Points) -> Mask:
    """Return how much a laugh changes the skin, (H, W): lines beside the eyes and at the root of the nose, shine."""
    width, change = face_width(points), np.zeros(size, np.float32)
    root = points[27:29].mean(axis=0)
    for corner, inner in ((points[36], points[39]), (points[45], points[42])):
        out = (corner - inner) / np.linalg.norm(corner - inner)
        starts = [corner + out * 0.02 * width, root + (inner - root) * uniform(rng, 0, 0.8)]
        for start, count in zip(starts, rng.integers(0, 5, 2), strict=True):
            for _ in range(int(count)):
                tilt = uniform(rng, -0.8, 0.8)
                away = np.array(
                    [out[0] * np.cos(tilt) - out[1] * np.sin(tilt), out[0] * np.sin(tilt) + out[1] * np.cos(tilt)]
                )
                begin = start + rng.normal(0, 0.02, 2) * width
                end = begin + away * uniform(rng, 0.02, 0.13) * width
                bend = (begin + end) / 2 + rng.normal(0, 0.008, 2) * width
                fold = stroke(size, curve(begin, bend, end), uniform(rng, 0.004, 0.014) * width)
                fold = cv2.GaussianBlur(fold, (0, 0), uniform(rng, 0.4, 2))
                change -= uniform(rng, 0.05, 0.5) * fold
    for _ in range(int(rng.integers(0, 3))):
        beside = np.array([0.06 * width, 0])
        across = np.stack([root - beside, root + beside]) + rng.normal(0, 0.015, (2, 2)) * width
        shine = cv2.GaussianBlur(stroke(size, across, uniform(rng, 0.005, 0.03) * width), (0, 0), uniform(rng, 0.8, 4))
        change += uniform(rng, -0.5, 0.7) * shine
    return np.asarray(np.clip(change, -0.7, 0.7), np.float32)


def _draw_brows(rng: np.random.Generator, size: tuple[int, int], points: Points) -> Mask:
    """Return the mask, (H, W), of single hairs of the brows."""
    width, drawn, tilt = face_width(points), np.zeros(size, np.float32), uniform(rng, -0.5, 0.5)
    for brow in BROW_SIDES:
        for _ in range(int(rng.integers(10, 80))):
            at = int(rng.integers(4))
            start = points[brow][at] + (points[brow][at + 1] - points[brow][at]) * rng.random()
            start = start + rng.normal(0, 0.012, 2) * width
            away = np.array([tilt, -1]) * uniform(rng, 0.005, 0.035) * width
            drawn = np.maximum(drawn, stroke(size, np.stack([start, start + away]), 1))
    return drawn


def _shake(rng: np.random.Generator, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn, scale and shift the canvas by as much as landmarks of other faces would."""
    middle = SIZE[1] / 2, SIZE[0] / 2
    shaken = cv2.getRotationMatrix2D(middle, rng.normal(0, 4), float(np.exp(rng.normal(0, 0.08))))
    shaken[:, 2] += rng.normal(0, 2.5, 2)
    whole = np.vstack([shaken, [0, 0, 1]]) @ np.vstack([matrix, [0, 0, 1]])
    return np.asarray(whole[:2])


def _cut_off(rng: np.random.Generator) -> tuple[slice, slice]:
    """Return the part of the canvas, mostly none, that lies outside of the picture."""
    if rng.random() < 0.85:
        return slice(0, 0), slice(0, 0)
    depth = int(rng.integers(1, SIZE[1] // 3))
    if rng.random() < 0.3:
        rows = slice(0, depth // 2) if rng.random() < 0.5 else slice(SIZE[0] - depth // 2, None)
        return rows, slice(None)
    return slice(None), slice(0, depth) if rng.random() < 0.5 else slice(SIZE[1] - depth, None)


def _lose_detail(rng: np.random.Generator, picture: Image) -> Image:
    """Show the face as one of fewer pixels, enlarged; with strong grain; or in dots of black and white."""
    kind = rng.random()
    if kind < 0.08:
        grain = rng.normal(0, uniform(rng, 10, 45), picture.shape)
        return np.clip(np.round(picture + grain), 0, 255).astype(np.uint8)
    if kind < 0.14:
        factor = uniform(rng, 0.6, 2)
        sized = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
        dots = np.asarray(Pillow.fromarray(sized).convert("1").convert("RGB"))
        return np.asarray(cv2.resize(dots, SIZE[::-1], interpolation=cv2.INTER_AREA if factor > 1 else cv2.INTER_CUBIC))
    if kind < 0.5:
        return picture
    factor = float(np.exp(uniform(rng, np.log(0.3), 0)))
    small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, SIZE[::-1], interpolation=cv2.INTER_CUBIC))
