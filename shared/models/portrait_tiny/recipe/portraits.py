"""The data: faces of the portraits on a canvas with room for augmentation, and a caption that their landmarks give."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from shared.faces.base import Face, FaceEngine, largest
from shared.imaging.array_types import Image

SIZE = 96  # working size of the model in pixels: the portraits' own resolution, so that nothing it learns is enlarged
FRAMING = 1.75  # side of the crop over dlib's box: forehead to below the chin, ears, no shoulders
CANVAS = 132  # pixels kept of each face, so that crops can shift, turn and zoom
HELD_OUT = 40  # portraits that no training sees, spread evenly over the sorted names
TURNED = 0.12  # nose offset over eye distance, from where a face is said to look aside
SMILING = 0.09  # gap between the inner lips over the mouth's width, from where teeth show

DIRECTIONS = ("looking ahead", "looking left", "looking right")


@dataclass(frozen=True)
class Portraits:
    """Canvases (N, 132, 132, 3) uint8, one direction and one smile flag each; the first rows are for training."""

    canvases: NDArray[np.uint8]
    directions: NDArray[np.int64]
    smiles: NDArray[np.bool_]
    training: int

    def save(self, path: Path) -> None:
        np.savez(path, canvases=self.canvases, directions=self.directions, smiles=self.smiles, training=self.training)

    @classmethod
    def load(cls, path: Path) -> "Portraits":
        with np.load(path) as stored:
            return cls(stored["canvases"], stored["directions"], stored["smiles"], int(stored["training"]))


def prepare(folder: Path, engine: FaceEngine) -> Portraits:
    """Find the face of every portrait below `folder`; those without one are left out."""
    rows: list[tuple[Image, int, bool]] = []
    held: list[tuple[Image, int, bool]] = []
    paths = sorted(folder.glob("*.jpg"))
    aside = set(range(0, len(paths), len(paths) // HELD_OUT)[:HELD_OUT])
    for index, path in enumerate(paths):
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        faces = engine.detect(image)
        if faces:
            face = largest(faces)
            row = canvas(image, face), direction(face), smiles(face)
            (held if index in aside else rows).append(row)
    canvases, directions, smiling = zip(*rows, *held, strict=True)
    return Portraits(np.stack(canvases), np.array(directions), np.array(smiling), len(rows))


def canvas(image: Image, face: Face) -> Image:
    """The face with more room around it than the model sees, mirrored where the picture ends."""
    side = face.box.square(FRAMING * CANVAS / SIZE)
    scale = CANVAS / side.width
    matrix = np.array([[scale, 0, -side.left * scale], [0, scale, -side.top * scale]])
    result: Image = cv2.warpAffine(
        image, matrix, (CANVAS, CANVAS), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    return result


def direction(face: Face) -> int:
    """Index into DIRECTIONS: where the nose tip lies between the outer eye corners."""
    points = face.landmarks
    eyes = points[45, 0] - points[36, 0]
    offset = (points[30, 0] - (points[36, 0] + points[45, 0]) / 2) / max(eyes, 1)
    return 0 if abs(offset) < TURNED else (1 if offset < 0 else 2)


def smiles(face: Face) -> bool:
    """Whether the inner lips stand apart, as in a smile that shows teeth."""
    points = face.landmarks
    return bool(np.linalg.norm(points[62] - points[66]) > SMILING * np.linalg.norm(points[48] - points[54]))


def caption(direction_index: int, smiling: bool) -> str:
    """The sentence that goes with a portrait in training."""
    return f"portrait photo of a person, {DIRECTIONS[direction_index]}, {'smiling' if smiling else 'serious'}"


def augmented(portrait: Image, generator: np.random.Generator) -> tuple[Image, bool]:
    """A crop of working size with a mild shift, turn, zoom and change of light; and whether it was mirrored."""
    angle, zoom = generator.uniform(-6, 6), generator.uniform(0.92, 1.1)
    matrix = cv2.getRotationMatrix2D((CANVAS / 2, CANVAS / 2), angle, zoom)
    matrix[:, 2] += (SIZE - CANVAS) / 2 + generator.uniform(-4, 4, 2)
    crop = cv2.warpAffine(portrait, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    light = crop.astype(np.float32) * generator.uniform(0.85, 1.15) + generator.uniform(-12, 12)
    light *= generator.uniform(0.96, 1.04, 3)
    mirrored = bool(generator.random() < 0.5)
    result: Image = np.clip(light, 0, 255).astype(np.uint8)
    return (result[:, ::-1] if mirrored else result), mirrored


def centered(portrait: Image) -> Image:
    """The crop of working size with no change, as the held-out figures use it."""
    start = (CANVAS - SIZE) // 2
    return portrait[start : start + SIZE, start : start + SIZE]


def tensor(images: list[Image]) -> torch.Tensor:
    """(N, 3, H, W) float32 in [-1, 1]."""
    stacked = torch.from_numpy(np.ascontiguousarray(np.stack(images)))
    return stacked.permute(0, 3, 1, 2).float() / 127.5 - 1
