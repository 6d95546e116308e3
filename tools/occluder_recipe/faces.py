"""The faces that objects are painted before: aligned, in changed light, skin, make-up, beards and shadows.

All that these changes add is the face's own: the network must not take it for an object.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face import masks
from functions.generate.face.landmarks import face_width, mirror
from functions.generate.occlusion.aligned_face import SIDE, align, transform
from shared.faces import FaceEngine
from shared.faces.antialiased_warp import warp_antialiased
from shared.faces.base import largest
from shared.imaging.array_types import Image, Mask, Points
from tools.occluder_recipe.brushes import Canvas, any_color, blob, fill, gradient, noise, stroke, uniform

PAINTED = 160  # side of the canvas on which faces are painted, larger than the network's
HELD_OUT = 8  # every eighth portrait is never trained on


@dataclass(frozen=True, eq=False)
class Faces:
    """Aligned faces.

    Attributes:
        canvases: RGB, uint8, (N, PAINTED, PAINTED, 3).
        points: landmarks on the canvas, (N, 68, 2).
    """

    canvases: NDArray[np.uint8]
    points: NDArray[np.float64]

    def save(self, path: Path) -> None:
        """Write them to an .npz file."""
        np.savez_compressed(path, canvases=self.canvases, points=self.points)

    @classmethod
    def load(cls, path: Path) -> "Faces":
        """Read them from an .npz file."""
        with np.load(path) as stored:
            return cls(stored["canvases"], stored["points"])

    def split(self) -> tuple["Faces", "Faces"]:
        """Return the faces to train on, and those that are held out."""
        held = np.arange(len(self.points)) % HELD_OUT == 0
        return Faces(self.canvases[~held], self.points[~held]), Faces(self.canvases[held], self.points[held])


def prepare(folder: Path, engine: FaceEngine) -> Faces:
    """Align the largest face of each portrait, *.jpg, of a folder."""
    canvases, points = [], []
    for path in sorted(folder.glob("*.jpg")):
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        if found := engine.detect(image):
            landmarks = largest(found).landmarks
            matrix = align(landmarks, PAINTED)
            canvases.append(warp_antialiased(image, matrix, PAINTED))
            points.append(transform(landmarks, matrix))
    return Faces(np.stack(canvases), np.stack(points))


def vary(rng: np.random.Generator, canvas: Image, points: Points, glasses: bool = True) -> tuple[Canvas, Points]:
    """Return a face as another day, another camera or another skin would show it, and its landmarks.

    `glasses` says whether it may wear some.
    """
    if rng.random() < 0.5:
        canvas, points = np.ascontiguousarray(canvas[:, ::-1]), mirror(points, canvas.shape[1])
    canvas, points = _turn(rng, canvas, points) if rng.random() < 0.5 else (canvas, points)
    canvas, points = _move(rng, canvas, points)
    face = canvas.astype(np.float32)
    inside = masks.face(points, canvas.shape[:2], -0.05, 0.03)
    if rng.random() < 0.4:
        face = _change_skin(rng, face)
    if rng.random() < 0.25:
        face = _grow_beard(rng, face, points)
    if rng.random() < 0.25:
        face = _make_up(rng, face, points)
    if rng.random() < 0.2:
        face = _freckle(rng, face, inside)
    if rng.random() < 0.2:
        face = _wrinkle(rng, face, points)
    if rng.random() < 0.15 and glasses:
        face = _put_on_glasses(rng, face, points)
    if rng.random() < 0.45:
        face = _shade(rng, face, points)
    if rng.random() < 0.25:
        face = _shine(rng, face, points)
    return face, points


def unknown(canvas: Canvas, points: Points) -> Mask:
    """Return the mask, (H, W), of what may or may not be an object: own hair on forehead, temples and cheeks."""
    lightness = canvas.mean(axis=2)
    width, size = face_width(points), (canvas.shape[0], canvas.shape[1])
    skin = masks.bare(points, size) > 0.5
    median = float(np.median(lightness[skin])) if skin.any() else 128.0
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    brows, bridge = points[17:27].mean(axis=0), points[27:31].mean(axis=0)
    up = (brows - bridge) / np.linalg.norm(brows - bridge)
    height = ((x - brows[0]) * up[0] + (y - brows[1]) * up[1]) / width
    forehead = np.clip((height - 0.04) / 0.04, 0, 1)
    rim = 1 - masks.face(points, size, 0.06, 0.02)
    other = (np.abs(lightness - median) > 0.22 * median).astype(np.float32)
    other = cv2.dilate(other, np.ones((5, 5), np.uint8))
    # down to the mouth: hair hangs beside cheeks, too; below it is the beard, which is the face's own
    return np.asarray(np.maximum(forehead * other, rim * np.clip((height + 0.65) / 0.1, 0, 1) * other), np.float32)


def photograph(rng: np.random.Generator, canvas: Canvas, size: tuple[int, int] = (SIDE, SIDE)) -> Image:
    """Return the canvas, reduced to a network's height and width, as a camera and a file would leave it."""
    if rng.random() < 0.35:
        canvas = cv2.GaussianBlur(canvas, (0, 0), uniform(rng, 0.4, 1.8))
    small = cv2.resize(canvas, size[::-1], interpolation=cv2.INTER_AREA)
    small = small * gradient(rng, small.shape[:2], rng.normal(0, 0.35))[..., None]
    small = small * np.exp(rng.normal(0, 0.07, 3)) * np.exp(rng.normal(0, 0.2))
    small = 255 * np.power(np.clip(small / 255, 0, 1), np.exp(rng.normal(0, 0.2)))
    if rng.random() < 0.12:  # gray, or toned
        tone = (
            np.array([1.0, uniform(rng, 0.8, 1.0), uniform(rng, 0.6, 1.0)], np.float32) if rng.random() < 0.5 else 1.0
        )
        small = np.repeat(small.mean(axis=2, keepdims=True), 3, axis=2) * tone
    if rng.random() < 0.4:
        small = small + rng.normal(0, uniform(rng, 1, 9), small.shape)
    picture: Image = np.clip(np.round(small), 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        _, file = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])
        picture = cv2.imdecode(file, cv2.IMREAD_COLOR)
    return picture


def _move(rng: np.random.Generator, canvas: Image, points: Points) -> tuple[Image, Points]:
    """Turn, scale and shift by as much as landmarks err beside objects."""
    side = canvas.shape[0]
    scale, degrees = np.exp(rng.normal(0, 0.07)), rng.normal(0, 6)
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), degrees, scale)
    matrix[:, 2] += rng.normal(0, 0.015, 2) * side
    moved = cv2.warpAffine(canvas, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    error = rng.normal(0, 0.006, 2) * side
    return moved, transform(points, matrix) + error


def _turn(rng: np.random.Generator, canvas: Image, points: Points) -> tuple[Image, Points]:
    """Make one half of the face narrower than the other, as a head that is turned to the side is seen."""
    side, middle = canvas.shape[0], float(points[27:31, 0].mean())
    strength = float(np.clip(rng.normal(0, 0.35), -0.7, 0.7)) / side
    # a place x of the turned face shows the place x + strength * (x - middle)^2 of the straight one
    away = np.clip(np.arange(side, dtype=np.float32) - middle, -0.6 * side, 0.6 * side)
    shown = away + strength * np.square(away)
    x = np.broadcast_to(middle + shown, (side, side)).astype(np.float32)
    y = np.broadcast_to(np.arange(side, dtype=np.float32)[:, None], (side, side)).astype(np.float32)
    turned = cv2.remap(canvas, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    placed = points.copy()
    placed[:, 0] = np.interp(points[:, 0], middle + shown, np.arange(side))
    return turned, placed


def _change_skin(rng: np.random.Generator, face: Canvas) -> Canvas:
    """Change lightness and tone of the picture: light skin becomes dark, and the other way round."""
    level = np.clip(face / 255, 0, 1)
    return np.asarray(255 * np.power(level, np.exp(rng.normal(0.15, 0.4))) * np.exp(rng.normal(0, 0.06, 3)), np.float32)


def _grow_beard(rng: np.random.Generator, face: Canvas, points: Points) -> Canvas:
    """A beard, a moustache or stubble: hair by the jaw, around the mouth, rough at its edge."""
    size, width = (face.shape[0], face.shape[1]), face_width(points)
    top = points[33] * uniform(rng, 0.3, 1) + points[51] * 0.5
    top = points[33] * 0.6 + points[51] * 0.4
    cheek = uniform(rng, 0, 1)
    left, right = points[2] * cheek + points[5] * (1 - cheek), points[14] * cheek + points[11] * (1 - cheek)
    jaw = points[4:13] + (points[4:13] - points[30]) * 0.03
    where = fill(size, [np.vstack([jaw, right * 0.5 + points[35] * 0.5, top, left * 0.5 + points[31] * 0.5])])
    if rng.random() < 0.3:
        where = fill(
            size,
            [np.vstack([points[48] * 1.1 - points[57] * 0.1, top, points[54] * 1.1 - points[57] * 0.1, points[8]])],
        )
    if rng.random() < 0.2:
        where = fill(size, [np.vstack([points[48], points[31], points[35], points[54], points[51]])])
    where = where * (1 - masks.lips(points, size, 0.0, 0.01))
    rough = np.clip(cv2.GaussianBlur(where, (0, 0), uniform(rng, 0.01, 0.05) * width) * 1.6 - 0.3, 0, 1)
    hairs = np.clip(0.75 + 0.35 * noise(rng, size, uniform(rng, 1.2, 4)), 0, 1.3)
    colors = [(30, 24, 22), (60, 42, 30), (150, 145, 140), (215, 212, 208), (120, 80, 50)]
    color = np.array(colors[rng.integers(len(colors))], np.float32)
    share = (uniform(rng, 0.2, 0.95) * np.clip(rough * hairs, 0, 1))[..., None]
    return np.asarray(face * (1 - share) + color * np.exp(0.2 * noise(rng, size, 2))[..., None] * share, np.float32)


def _make_up(rng: np.random.Generator, face: Canvas, points: Points) -> Canvas:
    """Lipstick, lids and rouge."""
    size = face.shape[0], face.shape[1]
    reds = np.array([uniform(rng, 90, 220), uniform(rng, 10, 90), uniform(rng, 20, 110)], np.float32)
    color = reds if rng.random() < 0.8 else any_color(rng)
    share = uniform(rng, 0.2, 0.85) * masks.lips(points, size, 0.005, 0.01) * (1 - masks.mouth(points, size))
    face = face * (1 - share[..., None]) + color * share[..., None]
    if rng.random() < 0.6:
        lids = np.clip(masks.eyes(points, size, 0.03, 0.02) - 0.6 * masks.eyes(points, size, 0, 0.01), 0, 1)
        share = uniform(rng, 0.1, 0.6) * lids
        face = face * (1 - share[..., None]) + any_color(rng) * 0.6 * share[..., None]
    if rng.random() < 0.5:
        for cheek in (points[[2, 31, 41]].mean(axis=0), points[[14, 35, 46]].mean(axis=0)):
            share = fill(size, [blob(rng, cheek, 0.1 * face_width(points), 0.05)])
            share = uniform(rng, 0.05, 0.3) * cv2.GaussianBlur(share, (0, 0), 0.04 * face_width(points))
            face = face * (1 - share[..., None]) + np.array([210, 60, 80], np.float32) * share[..., None]
    return np.asarray(face, np.float32)


def _freckle(rng: np.random.Generator, face: Canvas, inside: Mask) -> Canvas:
    spots = np.zeros(face.shape[:2], np.uint8)
    for _ in range(int(rng.integers(3, 150))):
        x, y = rng.integers(0, face.shape[0], 2)
        cv2.circle(spots, (int(x), int(y)), int(rng.integers(0, 3)), 255, -1, cv2.LINE_AA)
    share = uniform(rng, 0.15, 0.6) * inside * cv2.GaussianBlur(spots, (0, 0), 0.7).astype(np.float32) / 255
    return np.asarray(face * (1 - share[..., None] * np.array([0.35, 0.55, 0.65], np.float32)), np.float32)


def _wrinkle(rng: np.random.Generator, face: Canvas, points: Points) -> Canvas:
    """Folds beside the mouth, on the forehead and at the eyes."""
    size, width = (face.shape[0], face.shape[1]), face_width(points)
    lines = []
    for wing, corner, jaw in ((31, 48, 6), (35, 54, 10)):
        lines.append(
            np.stack(
                [points[wing], points[corner] * 1.15 - points[57] * 0.15, points[corner] * 0.5 + points[jaw] * 0.5]
            )
        )
    brows = points[17:27].mean(axis=0)
    up = brows - points[27:31].mean(axis=0)
    for height in rng.uniform(0.3, 1.3, int(rng.integers(0, 4))):
        lines.append(np.stack([points[18] + up * height, brows + up * (height + 0.1), points[25] + up * height]))
    for line in lines:
        fold = cv2.GaussianBlur(
            stroke(size, line, max(1, uniform(rng, 0.005, 0.02) * width)), (0, 0), uniform(rng, 0.6, 2.5)
        )
        face = face * (1 - uniform(rng, 0.1, 0.45) * fold[..., None])
    return np.asarray(face, np.float32)


def _put_on_glasses(rng: np.random.Generator, face: Canvas, points: Points) -> Canvas:
    """Glasses: frames, and lenses that may be tinted."""
    size, width = (face.shape[0], face.shape[1]), face_width(points)
    color, frames, lenses = (
        any_color(rng) * uniform(rng, 0.1, 1),
        np.zeros(size, np.float32),
        np.zeros(size, np.float32),
    )
    wide, high = uniform(rng, 0.14, 0.2) * width, uniform(rng, 0.09, 0.17) * width
    thick = max(1.0, uniform(rng, 0.008, 0.035) * width)
    power = uniform(rng, 2, 5)
    angles = np.linspace(0, 2 * np.pi, 48)
    x, y = np.cos(angles), np.sin(angles)
    ring = np.stack(
        [np.sign(x) * np.abs(x) ** (2 / power) * wide, np.sign(y) * np.abs(y) ** (2 / power) * high], axis=1
    )
    middles = [points[36:42].mean(axis=0), points[42:48].mean(axis=0)]
    for middle in middles:
        lenses = np.maximum(lenses, fill(size, [middle + ring]))
        frames = np.maximum(frames, stroke(size, np.vstack([middle + ring, middle + ring[:1]]), thick))
    along = (middles[1] - middles[0]) / np.linalg.norm(middles[1] - middles[0])
    bars = [
        (middles[0] + along * wide, middles[1] - along * wide),
        (middles[0] - along * wide, points[0]),
        (middles[1] + along * wide, points[16]),
    ]
    for bar in bars:
        frames = np.maximum(frames, stroke(size, np.stack(bar), thick))
    tint = (uniform(rng, 0.5, 0.95) if rng.random() < 0.35 else uniform(rng, 0, 0.15)) * lenses[..., None]
    face = face * (1 - tint) + any_color(rng) * 0.25 * tint
    return np.asarray(face * (1 - frames[..., None]) + color * frames[..., None], np.float32)


def _shade(rng: np.random.Generator, face: Canvas, points: Points) -> Canvas:
    """Light from one side, or the shadow of something that is not in the picture, hard or soft."""
    size, width = (face.shape[0], face.shape[1]), face_width(points)
    depth = uniform(rng, 0.25, 0.85)
    if rng.random() < 0.5:
        y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
        angle = uniform(rng, 0, 2 * np.pi)
        middle = points[30] + rng.normal(0, 0.2, 2) * width
        along = (x - middle[0]) * np.cos(angle) + (y - middle[1]) * np.sin(angle)
        along = along + uniform(rng, 0, 0.06) * width * noise(rng, size, 40)
        where = 1 / (1 + np.exp(-np.clip(along / (uniform(rng, 0.01, 0.2) * width), -30, 30)))
    else:
        outlines = [
            blob(rng, points.mean(axis=0) + rng.normal(0, 0.35, 2) * width, uniform(rng, 0.1, 0.5) * width, 0.2)
        ]
        where = cv2.GaussianBlur(fill(size, outlines), (0, 0), uniform(rng, 0.006, 0.08) * width)
    tint = np.exp(rng.normal(0, 0.06, 3)).astype(np.float32)
    return np.asarray(face * (1 - depth * where[..., None] * tint).clip(0.03, 1), np.float32)


def _shine(rng: np.random.Generator, face: Canvas, points: Points) -> Canvas:
    """A highlight on forehead, nose or cheek, or a lamp of another color from one side."""
    size, width = (face.shape[0], face.shape[1]), face_width(points)
    if rng.random() < 0.3:
        lamp = np.clip(gradient(rng, size, 2.5) - 0.8, 0, 1.5)[..., None] * any_color(rng) * uniform(rng, 0.1, 0.5)
        return np.asarray(face + lamp, np.float32)
    at = points[rng.choice([27, 28, 30, 31, 35, 2, 14, 20, 23])] + rng.normal(0, 0.06, 2) * width
    spot = cv2.GaussianBlur(
        fill(size, [blob(rng, at, uniform(rng, 0.02, 0.14) * width, 0.1)]), (0, 0), uniform(rng, 0.01, 0.05) * width
    )
    share = (uniform(rng, 0.2, 0.8) * spot)[..., None]
    return np.asarray(face * (1 - share) + np.array([255, 250, 242], np.float32) * share, np.float32)
