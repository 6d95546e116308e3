"""Brushes for painting objects before faces: colors, shapes, textures, shading, cast shadows and blurred edges."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.imaging.array_types import Image, Mask, Points

Canvas = NDArray[np.float32]
"""RGB, 0 to 255, (H, W, 3)."""
Color = NDArray[np.float32]
"""RGB, 0 to 255, (3,)."""

FRACTION_BITS = 4  # of cv2's polygon coordinates


@dataclass(frozen=True, eq=False)
class Cutout:
    """An object before a face.

    Attributes:
        pixels: its colors, (H, W, 3).
        alpha: how much of each pixel it covers, 0 to 1, (H, W).
    """

    pixels: Canvas
    alpha: Mask


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a random number between two."""
    return float(rng.uniform(low, high))


def any_color(rng: np.random.Generator) -> Color:
    """Return a color as objects have it: often gray, white or black, else of any hue."""
    value = uniform(rng, 15, 245)
    if rng.random() < 0.4:
        return np.clip(value + rng.normal(0, 6, 3), 0, 255).astype(np.float32)
    hsv = np.array([[[uniform(rng, 0, 360), uniform(rng, 0.2, 1.0), value]]], np.float32)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0], np.float32)


def fill(shape: tuple[int, int], outlines: list[Points]) -> Mask:
    """Return the mask, (H, W), of polygons, each (N, 2), with smooth borders."""
    canvas = np.zeros(shape, np.uint8)
    for outline in outlines:
        placed = np.round(outline * (1 << FRACTION_BITS)).astype(np.int32)
        cv2.fillPoly(canvas, [placed], 255, cv2.LINE_AA, FRACTION_BITS)
    return _to_shares(canvas)


def stroke(shape: tuple[int, int], line: Points, width: float) -> Mask:
    """Return the mask, (H, W), of a line through points, (N, 2), of `width` pixels, with round ends."""
    canvas = np.zeros(shape, np.uint8)
    placed = np.round(line * (1 << FRACTION_BITS)).astype(np.int32)
    cv2.polylines(canvas, [placed], False, 255, max(1, round(width)), cv2.LINE_AA, FRACTION_BITS)
    return _to_shares(canvas)


def _to_shares(canvas: Image) -> Mask:
    shares: Mask = np.multiply(canvas, 1 / 255, dtype=np.float32)
    return shares


def draw_strand(canvas: Image, line: Points, width: int, color: list[float]) -> None:
    """Draw a line through points, (N, 2), onto a canvas, uint8, (H, W) or (H, W, 3)."""
    placed = np.round(line * (1 << FRACTION_BITS)).astype(np.int32)
    cv2.polylines(canvas, [placed], False, color, width, cv2.LINE_AA, FRACTION_BITS)


def curve(start: Points, bend: Points, end: Points, count: int = 12) -> Points:
    """Return points on a quadratic Bezier curve, (count, 2)."""
    t = np.linspace(0, 1, count)[:, None]
    return np.asarray((1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t * t * end)


def blob(rng: np.random.Generator, center: Points, radius: float, roughness: float) -> Points:
    """Return the outline of a random blob, (40, 2)."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    reach = np.ones(40)
    for wave in range(1, 6):
        reach += roughness / wave * rng.normal() * np.cos(wave * angles + uniform(rng, 0, 2 * np.pi))
    reach = np.clip(reach, 0.3, 2.0) * radius
    stretch, turn = uniform(rng, 0.5, 1.0), uniform(rng, 0, np.pi)
    x, y = reach * np.cos(angles), reach * stretch * np.sin(angles)
    turned = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=1)
    return np.asarray(center + turned)


def noise(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Mask:
    """Return smooth noise with mean 0 and deviation 1, (H, W), whose waves are about `scale` pixels long."""
    height, width = (max(2, int(np.ceil(side / scale)) + 2) for side in shape)
    coarse = rng.normal(0, 1, (height, width)).astype(np.float32)
    smooth = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth / max(float(smooth.std()), 1e-3), np.float32)


def gradient(rng: np.random.Generator, shape: tuple[int, int], strength: float) -> Mask:
    """Return a factor, (H, W), of light that falls from one side."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    angle = uniform(rng, 0, 2 * np.pi)
    along = (x / shape[1] - 0.5) * np.cos(angle) + (y / shape[0] - 0.5) * np.sin(angle)
    return np.asarray(np.exp(strength * along), np.float32)


def shade(rng: np.random.Generator, alpha: Mask, color: Color, depth: float = 0.5) -> Canvas:
    """Return a canvas, (H, W, 3), of a color that is shade as a round body with the outline of `alpha`."""
    inside = cv2.distanceTransform((alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    roundness = np.sqrt(np.clip(inside / max(float(inside.max()), 1.0), 0, 1))
    light = (1 - depth * (1 - roundness)) * gradient(rng, alpha.shape, rng.normal(0, 0.5))
    return np.asarray(color * light[..., None], np.float32)


def add_texture(rng: np.random.Generator, canvas: Canvas, textures: list[Image]) -> Canvas:
    """Return the canvas with a random texture: a piece of a picture, stripes, dots, noise or none."""
    shape = canvas.shape[:2]
    kind = rng.random()
    if kind < 0.35 and textures:
        return piece(rng, textures, shape)
    if kind < 0.5:
        y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
        angle, period = uniform(rng, 0, np.pi), uniform(rng, 4, 30)
        wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period)
        mixed = (wave > uniform(rng, -0.7, 0.7)).astype(np.float32)[..., None]
        return np.asarray(canvas * (1 - mixed) + mixed * any_color(rng), np.float32)
    if kind < 0.7:
        grain = noise(rng, (shape[0], shape[1]), uniform(rng, 1, 12))[..., None]
        return np.asarray(canvas * np.exp(uniform(rng, 0.03, 0.25) * grain), np.float32)
    return canvas


def piece(rng: np.random.Generator, textures: list[Image], shape: tuple[int, ...]) -> Canvas:
    """Return a random piece of a random picture, turned and scaled at random, in random light."""
    source = textures[rng.integers(len(textures))]
    scale = uniform(rng, 0.4, 2.0) * max(shape[:2]) / min(source.shape[:2])
    matrix = cv2.getRotationMatrix2D((source.shape[1] / 2, source.shape[0] / 2), uniform(rng, 0, 360), scale)
    matrix[:, 2] += rng.uniform(-0.3, 0.3, 2) * shape[1::-1] + np.array(shape[1::-1]) / 2
    matrix[:, 2] -= np.array(source.shape[1::-1]) / 2
    part = cv2.warpAffine(source, matrix, shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    tint = np.exp(rng.normal(0, 0.15, 3) + rng.normal(0, 0.3)).astype(np.float32)
    return np.asarray(part * tint, np.float32)


def put(canvas: Canvas, cutout: Cutout) -> Canvas:
    """Return the canvas with an object before it."""
    alpha = cutout.alpha[..., None]
    return np.asarray(canvas * (1 - alpha) + np.clip(cutout.pixels, 0, 255) * alpha, np.float32)


def cast_shadow(rng: np.random.Generator, canvas: Canvas, alpha: Mask) -> Canvas:
    """Return the canvas with the soft shadow of an object that will be put onto it."""
    dx, dy = rng.uniform(-0.07, 0.07, 2) * canvas.shape[1]
    moved = cv2.warpAffine(alpha, np.array([[1, 0, dx], [0, 1, dy]]), canvas.shape[1::-1])
    soft = cv2.GaussianBlur(moved, (0, 0), uniform(rng, 0.8, 9))
    return np.asarray(canvas * (1 - uniform(rng, 0.15, 0.7) * soft[..., None]), np.float32)
