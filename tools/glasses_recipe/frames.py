"""Glasses of all kinds, painted on a face: rims thick and of wire, halves of rims, none; bridges, pads and temples."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face.landmarks import EYES, JAW, face_width
from shared.imaging.array_types import Mask, Points
from tools.occluder_recipe.brushes import Canvas, Color, any_color, blob, curve, fill, gradient, noise, uniform

ANGLES = 120  # points of a lens's outline
# ranges of a lens's shape: its center outwards and down from the eye's center, half its width, its height above and
# below the center (face widths); squareness (exponent of a superellipse); rise outwards (slope); taper towards the
# bottom at the outer side and at the nose (shares of the width)
LEAST = np.array([0.0, 0.0, 0.12, 0.07, 0.07, 2.0, -0.05, -0.05, -0.1])
MOST = np.array([0.05, 0.06, 0.21, 0.14, 0.18, 5.0, 0.14, 0.45, 0.35])
# frames as they are sold: black, brown, horn, gunmetal, silver, gold, copper
USUAL = [(18, 18, 20), (30, 22, 18), (70, 42, 25), (80, 80, 84), (150, 150, 152), (170, 145, 95), (140, 90, 65)]

Shape = NDArray[np.float64]
"""(9,), within LEAST and MOST."""


@dataclass(frozen=True, eq=False)
class Worn:
    """A face with glasses.

    Attributes:
        canvas: RGB, 0 to 255, (H, W, 3).
        frames: how much of each pixel the frames cover, 0 to 1, (H, W).
        doubtful: where nobody need know whether there is a frame, 0 to 1, (H, W).
    """

    canvas: Canvas
    frames: Mask
    doubtful: Mask


def lens_outline(points: Points, side: int, shape: Shape) -> Points:
    """Return the outline of a lens, (ANGLES, 2): from its outer side over its lower edge, towards the nose, back.

    Args:
        points: landmarks of the face, (68, 2).
        side: 0 for the eye that is left in the picture, 1 for the other.
        shape: its shape; the two lenses of a pair have one shape, mirrored.
    """
    out, down, width, above, below, squareness, rise, outer, inner = shape
    angle = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    cosine, sine = np.cos(angle), np.sin(angle)
    tapered = width * (1 - np.where(cosine > 0, outer, inner) * np.maximum(sine, 0))
    x = np.sign(cosine) * np.abs(cosine) ** (2 / squareness) * tapered + out
    y = np.sign(sine) * np.abs(sine) ** (2 / squareness) * np.where(sine < 0, above, below) + down - rise * x
    middles = [points[eye].mean(axis=0) for eye in EYES]
    along = (middles[1] - middles[0]) / np.linalg.norm(middles[1] - middles[0])
    root = float((points[27:30].mean(axis=0) - middles[0]) @ along)
    apart = float(np.linalg.norm(middles[1] - middles[0]))
    turned = np.clip(2 * np.array([root, apart - root]) / apart, 0.5, 1.5)[side]
    outwards = along * (-1 if side == 0 else 1)
    down_wards = np.array([-along[1], along[0]])
    wide = face_width(points)
    return np.asarray(middles[side] + wide * turned * x[:, None] * outwards + wide * y[:, None] * down_wards)


def put_on_glasses(rng: np.random.Generator, face: Canvas, points: Points) -> Worn:
    """Put random glasses on a face with the given landmarks, (68, 2)."""
    size, width = (face.shape[0], face.shape[1]), face_width(points)
    shape = rng.uniform(LEAST, MOST)
    outlines = [lens_outline(points, side, shape) for side in (0, 1)]
    lenses = np.maximum(*(fill(size, [one]) for one in outlines))
    thick = width * float(np.exp(uniform(rng, np.log(0.007), np.log(0.05))))
    kind = rng.choice(["full", "upper", "rimless"], p=[0.7, 0.16, 0.14])
    frames = np.maximum(
        _draw_rims(rng, size, outlines, thick, kind), _draw_bars(rng, size, points, outlines, thick, shape)
    )
    if kind != "full":  # what is left of the rim may be seen or not
        faint = np.maximum(*(_ring(size, one, np.full(ANGLES, max(1.0, 0.006 * width))) for one in outlines))
    else:
        faint = np.zeros(size, np.float32)
    face, doubtful = _look_through(rng, face, lenses, outlines, width)
    if kind != "full" and rng.random() < 0.8:
        edge = uniform(rng, -70, 70)
        face = face + edge * cv2.GaussianBlur(faint, (0, 0), 0.5)[..., None] * uniform(rng, 0.2, 1)
    doubtful = np.maximum(doubtful, np.clip(cv2.GaussianBlur(faint, (0, 0), 1.5) * 4, 0, 1))
    if rng.random() < 0.6:
        shift = np.array([[1, 0, rng.normal(0, 0.012) * width], [0, 1, uniform(rng, 0, 0.035) * width]])
        cast = cv2.GaussianBlur(cv2.warpAffine(frames, shift, size[::-1]), (0, 0), uniform(rng, 0.003, 0.02) * width)
        face = face * (1 - uniform(rng, 0.1, 0.5) * cast[..., None])
    solid = uniform(rng, 0.5, 0.9) if rng.random() < 0.12 else 1.0
    alpha = cv2.GaussianBlur(frames, (0, 0), uniform(rng, 0.3, 0.9))
    painted = _paint(rng, frames, thick)
    share = (solid * alpha)[..., None]
    canvas = np.asarray(np.clip(face, 0, 255) * (1 - share) + painted * share, np.float32)
    return Worn(canvas, alpha, np.asarray(doubtful * (frames < 0.05), np.float32))


def _draw_rims(
    rng: np.random.Generator, size: tuple[int, int], outlines: list[Points], thick: float, kind: str
) -> Mask:
    """Draw the rims, thicker above and at the sides as frames are; a lower half or all of it may be missing."""
    if kind == "rimless":
        return np.zeros(size, np.float32)
    angle = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    above, outside, inside = uniform(rng, 1, 2.2), uniform(rng, 0.8, 2.0), uniform(rng, 0.8, 1.6)
    if rng.random() < 0.4:
        above = outside = inside = 1.0
    reach = thick * (
        1
        + (above - 1) * np.maximum(-np.sin(angle), 0)
        + (outside - 1) * np.maximum(np.cos(angle), 0) ** 2
        + (inside - 1) * np.maximum(-np.cos(angle), 0) ** 2
    )
    if kind == "upper":
        ends = uniform(rng, -0.2, 0.5)
        reach = reach * np.clip((ends - np.sin(angle)) * 8 + 0.5, 0, 1)
    return np.maximum(*(_ring(size, one, reach) for one in outlines))


def _ring(size: tuple[int, int], outline: Points, reach: NDArray[np.float64]) -> Mask:
    """Fill the ring, (H, W), that reaches so many pixels, (ANGLES,), out of an outline."""
    along = np.roll(outline, -1, axis=0) - np.roll(outline, 1, axis=0)
    normal = np.stack([along[:, 1], -along[:, 0]], axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    if ((outline - outline.mean(axis=0)) * normal).sum() < 0:
        normal = -normal
    ring: Mask = np.clip(fill(size, [outline + normal * reach[:, None]]) - fill(size, [outline]), 0, 1)
    return ring


def _draw_bars(
    rng: np.random.Generator,
    size: tuple[int, int],
    points: Points,
    outlines: list[Points],
    thick: float,
    shape: Shape,
) -> Mask:
    """Draw the bridge, or two, the pads on the nose, and the temples as far as hair lets them be seen."""
    width, drawn = face_width(points), np.zeros(size, np.float32)
    middles = [points[eye].mean(axis=0) for eye in EYES]
    along = (middles[1] - middles[0]) / np.linalg.norm(middles[1] - middles[0])
    down = np.array([-along[1], along[0]])
    bar = max(thick * uniform(rng, 0.8, 2.2), 0.01 * width)
    angles = [int(uniform(rng, 0.5, 0.62) * ANGLES)]
    if rng.random() < 0.12:
        angles.append(int(uniform(rng, 0.64, 0.72) * ANGLES))
    for at in angles:
        ends = [one[at] for one in outlines]
        arch = (ends[0] + ends[1]) / 2 - down * uniform(rng, -0.01, 0.07) * width
        drawn = np.maximum(drawn, _bar(size, curve(ends[0], arch, ends[1]), bar))
    if rng.random() < 0.3:
        for one in outlines:
            start = one[int(uniform(rng, 0.38, 0.5) * ANGLES)]
            nose = points[28] + (start - points[28]) * 0.5 + down * uniform(rng, 0.0, 0.03) * width
            drawn = np.maximum(drawn, _bar(size, curve(start, (start + nose) / 2, nose), max(1.0, 0.008 * width)))
    arm, seen = thick * uniform(rng, 0.7, 2.2), uniform(rng, 0.3, 1.1) if rng.random() < 0.8 else 0.0
    hinge, height = int(uniform(rng, 0.86, 0.97) * ANGLES), uniform(rng, -0.05, 0.05) * width
    for side, one in enumerate(outlines):
        start = one[hinge] + along * thick * (0.5 if side else -0.5)
        jaw = points[JAW][16 if side else 0]
        ear = middles[side] + along * ((jaw - middles[side]) @ along) + down * height
        ear = ear + along * (1 if side else -1) * uniform(rng, -0.02, 0.06) * width
        end = start + (ear - start) * (seen * uniform(rng, 0.6, 1.1))
        drawn = np.maximum(drawn, _bar(size, curve(start, (start + end) / 2, end), max(arm, 0.008 * width)))
        if rng.random() < 0.5:
            drawn = np.maximum(drawn, fill(size, [blob(rng, start, max(thick, 0.012 * width), 0.03)]))
    return drawn


def _bar(size: tuple[int, int], line: Points, thick: float) -> Mask:
    """Fill a bar, (H, W), of so many pixels along a line, (N, 2)."""
    along = np.gradient(line, axis=0)
    normal = np.stack([along[:, 1], -along[:, 0]], axis=1)
    normal *= thick / 2 / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    return fill(size, [np.vstack([line + normal, (line - normal)[::-1]])])


def _look_through(
    rng: np.random.Generator, face: Canvas, lenses: Mask, outlines: list[Points], width: float
) -> tuple[Canvas, Mask]:
    """Return the face as it is seen through the lenses, and where a dark glass hides what else is there, (H, W)."""
    size, inside = lenses.shape, lenses[..., None]
    if rng.random() < 0.35:  # lenses make what is behind them smaller or larger
        power = uniform(rng, 0.92, 1.07)
        for one in outlines:
            x, y = one.mean(axis=0)
            matrix = np.array([[power, 0, (1 - power) * x], [0, power, (1 - power) * y]])
            own = fill((size[0], size[1]), [one])[..., None]
            seen = cv2.warpAffine(face, matrix, size[::-1], borderMode=cv2.BORDER_REPLICATE)
            face = face * (1 - own) + seen * own
    tint = uniform(rng, 0.4, 0.95) if rng.random() < 0.08 else uniform(rng, 0, 0.15)
    face = face * (1 - tint * inside) + any_color(rng) * 0.3 * tint * inside
    if rng.random() < 0.4:
        sheen = noise(rng, (size[0], size[1]), uniform(rng, 0.05, 0.3) * width) > uniform(rng, 0.6, 2.0)
        soft = cv2.GaussianBlur(sheen.astype(np.float32), (0, 0), uniform(rng, 0.5, 3))[..., None]
        face = face + (np.array([255, 255, 255]) - face) * soft * inside * uniform(rng, 0.1, 0.9)
    return np.asarray(face, np.float32), np.asarray(lenses * (tint > 0.5), np.float32)


def _paint(rng: np.random.Generator, frames: Mask, thick: float) -> Canvas:
    """Return the colors of a frame, (H, W, 3): plain, in two halves, horn or metal, with highlights."""
    size = frames.shape[0], frames.shape[1]
    color = _frame_color(rng)
    canvas = np.broadcast_to(color, (*size, 3)).astype(np.float32)
    look = rng.random()
    if look < 0.15:  # horn
        patches = np.clip(noise(rng, size, uniform(rng, 3, 12)) + 0.5, 0, 1)[..., None]
        canvas = canvas * (1 - patches) + _frame_color(rng) * patches
    elif look < 0.4:  # lighter below
        y = np.arange(size[0], dtype=np.float32)[:, None, None]
        rows = np.flatnonzero(frames.max(axis=1) > 0.5)
        border = float(np.quantile(rows, uniform(rng, 0.3, 0.6))) if len(rows) else 0.0
        below = 1 / (1 + np.exp(-np.clip((y - border) / uniform(rng, 0.5, 6), -30, 30)))
        canvas = canvas * (1 - below) + (_frame_color(rng) * 0.5 + np.array([190, 160, 130]) * 0.5) * below
    metal = thick < 3.5 and rng.random() < 0.6
    shine = noise(rng, size, uniform(rng, 4, 30))
    if metal:
        canvas = canvas * np.exp(uniform(rng, 0.2, 0.6) * shine)[..., None]
    inner = cv2.distanceTransform((frames > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    if rng.random() < 0.6:  # light along one edge
        light = np.clip((shine - uniform(rng, 0.2, 1.5)) * 3, 0, 1) * np.exp(-np.square(inner - uniform(rng, 0.5, 2.5)))
        canvas = canvas + (255 - canvas) * (uniform(rng, 0.2, 0.9) * light)[..., None]
    return np.asarray(canvas * gradient(rng, size, rng.normal(0, 0.4))[..., None], np.float32)


def _frame_color(rng: np.random.Generator) -> Color:
    if rng.random() < 0.25:
        return any_color(rng)
    usual = np.array(USUAL[rng.integers(len(USUAL))], np.float32)
    return np.asarray(np.clip(usual * np.exp(rng.normal(0, 0.2)) + rng.normal(0, 5, 3), 0, 255), np.float32)
