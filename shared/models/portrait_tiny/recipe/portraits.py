"""The training data: portraits' faces on canvases with room for augmentation, and captions from their landmarks."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from shared.faces.base import Face, FaceEngine, largest
from shared.imaging.array_types import Image

SIZE = 96  # working size of the model in pixels: the portraits' resolution, so that it never learns from enlargements
FRAMING = 1.75  # side of the crop over that of dlib's box: from the forehead to below the chin, ears, no shoulders
CANVAS = 132  # pixels kept of each face, so that crops can shift, turn and zoom
HELD_OUT = 40  # portraits that are held out of all training, spread evenly over the sorted names
TURNED = 0.12  # nose offset over eye distance from which the caption says that a face looks to a side
SMILING = 0.09  # gap between the inner lips over the mouth's width from which teeth show

DIRECTIONS = ("looking ahead", "looking left", "looking right")


@dataclass(frozen=True)
class Portraits:
    """Portraits with what their captions say.

    Attributes:
        canvases: RGB, uint8, (N, 132, 132, 3).
        directions: indices into DIRECTIONS, (N,).
        smiles: whether each person smiles, (N,).
        training: number of the first rows that are for training; the others are held out.
    """

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
    """Find the face of every portrait in `folder`; portraits without a face are left out."""
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
    """Return the face with more room around it than the model sees, reflected beyond the picture's borders."""
    side = face.box.square(FRAMING * CANVAS / SIZE)
    scale = CANVAS / side.width
    matrix = np.array([[scale, 0, -side.left * scale], [0, scale, -side.top * scale]])
    result: Image = cv2.warpAffine(
        image, matrix, (CANVAS, CANVAS), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    return result


def direction(face: Face) -> int:
    """Return the index into DIRECTIONS, by the position of the nose tip between the outer corners of the eyes."""
    points = face.landmarks
    eyes = points[45, 0] - points[36, 0]
    offset = (points[30, 0] - (points[36, 0] + points[45, 0]) / 2) / max(eyes, 1)
    return 0 if abs(offset) < TURNED else (1 if offset < 0 else 2)


def smiles(face: Face) -> bool:
    """Return whether the inner lips are apart, as in a smile that shows teeth."""
    points = face.landmarks
    return bool(np.linalg.norm(points[62] - points[66]) > SMILING * np.linalg.norm(points[48] - points[54]))


def caption(direction_index: int, smiling: bool) -> str:
    """Return the caption of a portrait in training."""
    return f"portrait photo of a person, {DIRECTIONS[direction_index]}, {'smiling' if smiling else 'serious'}"


def augment(portrait: Image, generator: np.random.Generator) -> tuple[Image, bool]:
    """Return a crop of working size with random mild shift, rotation, zoom and light, and whether it is mirrored."""
    angle, zoom = generator.uniform(-6, 6), generator.uniform(0.92, 1.1)
    matrix = cv2.getRotationMatrix2D((CANVAS / 2, CANVAS / 2), angle, zoom)
    matrix[:, 2] += (SIZE - CANVAS) / 2 + generator.uniform(-4, 4, 2)
    crop = cv2.warpAffine(portrait, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    light = crop.astype(np.float32) * generator.uniform(0.85, 1.15) + generator.uniform(-12, 12)
    light *= generator.uniform(0.96, 1.04, 3)
    mirrored = bool(generator.random() < 0.5)
    result: Image = np.clip(light, 0, 255).astype(np.uint8)
    return (result[:, ::-1] if mirrored else result), mirrored


def crop_center(portrait: Image) -> Image:
    """Return the unchanged crop of working size, with which the held-out portraits are measured."""
    start = (CANVAS - SIZE) // 2
    return portrait[start : start + SIZE, start : start + SIZE]


def tensor(images: list[Image]) -> torch.Tensor:
    """Return pictures as one tensor, float32, (N, 3, H, W), in [-1, 1]."""
    stacked = torch.from_numpy(np.ascontiguousarray(np.stack(images)))
    return stacked.permute(0, 3, 1, 2).float() / 127.5 - 1
