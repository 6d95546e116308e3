"""Objects put before a face: pieces of real pictures, as a photo with the object would show them."""

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from functions.generate.face.landmarks import face_width
from shared.imaging.array_types import Image, Mask, Points

COVERING = ("cup", "mask", "microphone", "page", "hand")
Pixels = NDArray[np.float32]
BLUE = (30, 70, 190)  # a color that no face has
MASK_GREEN = (96, 160, 140)


def cover(kind: str, image: Image, points: Points) -> tuple[Image, Mask]:
    """Return the picture with an object before the face at `points`, and the object's share of each pixel."""
    pixels, outline = {"cup": _cup, "mask": _mask, "microphone": _microphone, "page": _page, "hand": _hand}[kind](
        image.shape, points, face_width(points)
    )
    alpha = np.zeros(image.shape[:2], np.uint8)
    for line in outline:
        cv2.fillPoly(alpha, [np.round(line * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    share = np.asarray(alpha / 255, np.float32)
    mixed = image * (1 - share[..., None]) + pixels * share[..., None]
    return np.round(mixed).astype(np.uint8), share


def _cup(shape: tuple[int, ...], points: Points, width: float) -> tuple[Pixels, list[Points]]:
    """A blue cup before the mouth, round, with a darker inside."""
    middle, half = points[57], 0.2 * width
    x = (np.arange(shape[1], dtype=np.float32) - middle[0]) / half
    pixels = np.broadcast_to(np.array(BLUE, np.float32) * (1 - 0.5 * x**2).clip(0.3, 1)[:, None], shape).copy()
    angles = np.linspace(0, 2 * np.pi, 40)
    rim = middle - [0, 0.05 * width] + np.stack([half * np.cos(angles), 0.06 * width * np.sin(angles)], axis=1)
    inner = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(inner, [np.round(rim).astype(np.int32)], 1)
    pixels[inner > 0] *= 0.4
    top, bottom = middle[1] - 0.05 * width, middle[1] + 0.5 * width
    sides = np.array([[-half, top], [half, top], [0.8 * half, bottom], [-0.8 * half, bottom]])
    wall = sides + np.array([middle[0], 0])
    return pixels, [wall, rim]


def _mask(shape: tuple[int, ...], points: Points, width: float) -> tuple[Pixels, list[Points]]:
    """A green mask over nose and mouth, with folds."""
    rows = np.arange(shape[0], dtype=np.float32)[:, None, None]
    folds = 1 - 0.25 * (np.sin(rows / (0.02 * width)) > 0.9)
    pixels = np.broadcast_to(np.array(MASK_GREEN, np.float32) * folds, shape)
    jaw = points[2:15] + (points[2:15] - points[30]) * 0.03
    return pixels, [np.vstack([jaw, points[28]])]


def _microphone(shape: tuple[int, ...], points: Points, width: float) -> tuple[Pixels, list[Points]]:
    """A ball of foam with the texture of gravel, and its handle down to the border."""
    foam = np.dstack([skimage.data.gravel()] * 3).astype(np.float32) * 0.5
    foam = cv2.resize(foam, (max(8, int(width)), max(8, int(width))), interpolation=cv2.INTER_AREA)
    tiled = np.tile(foam, (shape[0] // len(foam) + 1, shape[1] // len(foam) + 1, 1))[: shape[0], : shape[1]]
    angles = np.linspace(0, 2 * np.pi, 40)
    center = points[57] + [0, 0.1 * width]
    ball = center + 0.15 * width * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    handle = center + np.array([[-0.07, 0], [0.07, 0], [0.06, 2], [-0.06, 2]]) * width
    return tiled, [ball, handle]


def _page(shape: tuple[int, ...], points: Points, width: float) -> tuple[Pixels, list[Points]]:
    """A page of a book before the chin."""
    page = np.dstack([skimage.data.page()] * 3)
    pixels = cv2.resize(page, shape[1::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    chin = points[8]
    corners = np.array([[-0.35, -0.3], [0.4, -0.22], [0.36, 0.5], [-0.4, 0.45]]) * width
    return pixels, [chin + corners]


def _hand(shape: tuple[int, ...], points: Points, width: float) -> tuple[Pixels, list[Points]]:
    """Four fingers of a darker skin across the cheek, with light along each."""
    tip, back = points[31] + [-0.03 * width, 0.08 * width], np.array([-0.8, 0.6])
    across = np.array([-back[1], back[0]])
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    pixels, outlines = np.zeros(shape, np.float32), []
    for number in range(4):
        start = tip + across * (number - 1.5) * 0.115 * width + back * abs(number - 1.2) * 0.04 * width
        end, half = start + back * 1.2 * width, across * 0.055 * width
        away = ((x - start[0]) * across[0] + (y - start[1]) * across[1]) / (0.06 * width)
        light = (1 - 0.55 * np.minimum(np.abs(away), 1) ** 2)[..., None]
        pixels = np.where((np.abs(away) < 1)[..., None], np.array([150, 102, 80], np.float32) * light, pixels)
        angles = np.linspace(0, 2 * np.pi, 24)
        outlines += [np.stack([start + half, end + half, end - half, start - half])]
        outlines += [start + 0.055 * width * np.stack([np.cos(angles), np.sin(angles)], axis=1)]
    return pixels, outlines
