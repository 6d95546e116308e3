"""People, templates and measures for benchmarks of portraits.

Photos are labeled by their path as in `verification.py`; photos that check refuses are left out.
"""

import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from functions.generate.face import masks
from functions.generate.face.landmarks import face_width
from functions.generate.fusion.warp import REACH
from shared.faces import Face, FaceEngine, FaceError
from shared.faces.base import largest
from shared.imaging.array_types import Embedding, Image, Mask, Points
from shared.photos.assessment import inspect_photo
from shared.settings import Limits
from tests import pictures

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
PEOPLE = ("obama", "biden", "families")  # folders with photos of known people
TEMPLATES = "groups"
ENLARGED = 1.25  # of the portraits that serve as templates: as large as their photos they would need no detail
MISSING = 9.0  # stands for the distance of a face that was not found


class Recognizer(Protocol):
    """What tells how far apart two faces are; every face engine does.

    Attributes:
        same_person: distance below which two faces are taken for one person.
    """

    same_person: float

    def embed(self, image: Image, face: Face) -> Embedding:
        """Return the face's vector; FaceError if it has none."""

    def distance(self, one: Embedding, other: Embedding, /) -> float:
        """Return the distance of two vectors."""


@dataclass(frozen=True, eq=False)
class Someone:
    """A person with their usable photos, and the mean of their face vectors."""

    name: str
    photos: list[Image]
    embedding: Embedding


@dataclass(frozen=True, eq=False)
class Place:
    """A template with its faces, of which the one at `index`, the largest, is to be replaced."""

    name: str
    picture: Image
    faces: list[Face]
    index: int

    @property
    def face(self) -> Face:
        return self.faces[self.index]

    @property
    def key(self) -> str:
        return f"templates/{self.name}.png"


@dataclass(frozen=True)
class Figures:
    """The measurements of one portrait.

    Attributes:
        distance: from the person; MISSING if no face was found.
        sharpness: variance of the Laplacian on the face over that of the template, after Pech-Pacheco et al. (2000).
        grain: the same for bare skin, but as a ratio of medians, on which glasses and lashes have no effect.
        found: whether a face was detected where the template has one.
        identical: whether all pixels out of the fusion's reach, and all pixels of other faces, equal the template's.
    """

    distance: float
    sharpness: float
    grain: float
    found: bool
    identical: bool


def people(folder: Path, engine: FaceEngine) -> list[Someone]:
    """Return the people in the labeled folders, and the one in a picture that a package ships."""
    shown: dict[str, list[tuple[Image, Embedding]]] = {}
    for name in PEOPLE:
        for path in sorted(path for path in (folder / name).rglob("*") if path.suffix.lower() in SUFFIXES):
            verdict = inspect_photo(path.read_bytes(), engine, Limits())
            if verdict.embedding is not None:
                label = re.sub(r"\d+$", "", path.stem) or path.parent.name
                shown.setdefault(label, []).append((read(path), verdict.embedding))
    astronaut = pictures.astronaut()
    shown["collins"] = [(astronaut, engine.embed(astronaut, largest(engine.detect(astronaut))))]
    return [
        Someone(label, [photo for photo, _ in some], np.mean([vector for _, vector in some], axis=0))
        for label, some in shown.items()
    ]


def places(folder: Path, engine: FaceEngine) -> list[Place]:
    """Return the templates in the folder, and those among the pictures that packages ship."""
    found = {path.stem: read(path) for path in sorted((folder / TEMPLATES).iterdir()) if path.suffix in SUFFIXES}
    found |= {"collins": pictures.astronaut(), "hopper": pictures.hopper(), "friends": pictures.group()}
    made = []
    for name, picture in found.items():
        faces = engine.detect(picture)
        made.append(Place(name, picture, faces, faces.index(largest(faces))))
    return made


def draw_pairs(folder: Path, engine: FaceEngine, count: int, seed: int) -> list[tuple[Someone, Place]]:
    """Draw pairs of a person and a template from a folder that has one portrait of each person, the same for one seed.

    The template is another person's portrait, ENLARGED; both show one face.
    """
    drawing, paths = random.Random(seed), sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    drawn: list[tuple[Someone, Place]] = []
    while len(drawn) < count and len(paths) > 1:
        one, other = drawing.sample(paths, 2)
        photo = read(one)
        picture = cv2.resize(read(other), None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)
        faces, there = engine.detect(photo), engine.detect(picture)
        if len(faces) == 1 and len(there) == 1:
            who = Someone(one.stem, [photo], engine.embed(photo, faces[0]))
            drawn.append((who, Place(f"{other.stem}-template", np.ascontiguousarray(picture), there, 0)))
    return drawn


def distance(engine: Recognizer, image: Image, face: Face | None, who: Embedding) -> float:
    """Return the distance of a face to a person; MISSING if there is no face, or it cannot be embedded."""
    try:
        return MISSING if face is None else engine.distance(engine.embed(image, face), who)
    except FaceError:
        return MISSING


def measure_portrait(engine: FaceEngine, place: Place, portrait: Image, who: Someone) -> Figures:
    """Measure a portrait, which must have the template's size."""
    face = there(engine.detect(portrait), place.face)
    points = place.face.landmarks if face is None else face.landmarks
    size = portrait.shape[:2]
    grains = [_grain(place.picture, place.face.landmarks), _grain(portrait, points)]
    sharp = [_sharpness(place.picture, place.face.landmarks), _sharpness(portrait, points)]
    differs = np.any(portrait != place.picture, axis=-1)
    return Figures(
        distance(engine, portrait, face, who.embedding),
        sharp[1] / sharp[0],
        grains[1] / grains[0],
        face is not None,
        not differs[untouchable(place, points, size)].any(),
    )


def there(faces: list[Face], known: Face) -> Face | None:
    """Return the face that contains the center of a known face and is nearest to it in size; None if there is none."""
    x, y = known.box.center
    inside = [one for one in faces if one.box.left <= x <= one.box.right and one.box.top <= y <= one.box.bottom]
    return min(inside, key=lambda one: abs(one.box.area - known.box.area), default=None)


def untouchable(place: Place, points: Points, size: tuple[int, int]) -> Mask:
    """Return the pixels that may not change: those out of the fusion's reach, and those of the other faces."""
    y, x = np.mgrid[: size[0], : size[1]]
    center = place.face.landmarks.mean(axis=0)
    slack = float(np.linalg.norm(points.mean(axis=0) - center)) + 0.1 * face_width(points)
    away = np.hypot(x - center[0], y - center[1]) > REACH * face_width(place.face.landmarks) + slack
    for index, other in enumerate(place.faces):
        if index != place.index:
            away |= masks.face(other.landmarks, size) > 0.99
    return away


def read(path: Path) -> Image:
    """Read a picture as RGB, upright."""
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def _edges(image: Image) -> Mask:
    edges: Mask = cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), cv2.CV_32F)
    return edges


def _sharpness(image: Image, points: Points) -> float:
    return float(_edges(image)[masks.face(points, image.shape[:2]) > 0.5].var())


def _grain(image: Image, points: Points) -> float:
    return float(np.median(np.abs(_edges(image)[masks.bare(points, image.shape[:2]) > 0.5])))
