"""A sitting: one person for one of the template's faces, from crop to paste."""

from dataclasses import dataclass

import numpy as np

from functions.generate import person
from functions.generate.diffusion.lora_cache import Lora, LoraError
from functions.generate.diffusion.lora_file import MOST_BYTES
from functions.generate.face import masks
from functions.generate.fusion.landmark_fusion import Original, worn_frames
from functions.generate.models import Studio
from functions.generate.person import Person
from functions.generate.request import GenerateConfigure
from functions.generate.stages import FaceJob
from functions.generate.user_model import FIELD, unusable
from shared.contract.workspace import Workspace
from shared.errors import UnknownUser
from shared.faces import Box, Face, FaceEngine, FaceError
from shared.faces.face_crop import closeup
from shared.imaging.array_types import Image, Mask, Points

CROP = 3.0  # side of the portrait area over the face's box, as EasyPhoto crops
LOOK_FACE, LOOK_SIDE = 100, 200  # pixels of the last look; a recogniser's own chips have a face of 100 to 112
OTHERS_MARGIN, OTHERS_SOFTNESS = 0.06, 0.02  # in face widths, around faces that are not this sitting's

Area = tuple[slice, slice]
"""Rows and columns of the picture."""


@dataclass(frozen=True, eq=False)
class Sitting:
    """Who, for which of the template's faces, with which knobs and what noise."""

    person: Person
    faces: list[Face]
    index: int
    knobs: GenerateConfigure
    seed: int

    @property
    def face(self) -> Face:
        return self.faces[self.index]

    def area(self, shape: tuple[int, ...]) -> Area:
        """The portrait area of a picture, or the whole of it without `crop_face_preprocess`."""
        if not self.knobs.crop_face_preprocess:
            return slice(0, shape[0]), slice(0, shape[1])
        left, top, right, bottom = self.face.box.square(CROP).rounded()
        return slice(max(top, 0), min(bottom, shape[0])), slice(max(left, 0), min(right, shape[1]))

    def prepare(self, picture: Image, workspace: Workspace, studio: Studio) -> FaceJob:
        """The job that the stages work on: the portrait area of the picture, and all that they need."""
        rows, columns = self.area(picture.shape)
        crop = np.ascontiguousarray(picture[rows, columns])
        corner = np.array([columns.start, rows.start], float)
        landmarks = self.face.landmarks - corner
        frames = worn_frames(crop, landmarks)
        return FaceJob(
            template=crop,
            template_landmarks=landmarks,
            template_frames=frames,
            image=crop,
            landmarks=landmarks,
            frames=frames,
            photo=person.nearest(self.person.portrayals, landmarks),
            fuser=studio.fuser,
            original=Original.of(crop, landmarks),
            free=self._free(corner, crop.shape[:2]),
            square=self._square(crop.shape, corner, studio.framing),
            words=studio.prompts.of(self.person.model.trigger, self.knobs.additional_prompt),
            user_id=self.person.model.user_id,
            lora=worn(self.person, workspace, studio),
            seed=self.seed,
            configure=self.knobs,
        )

    def _square(self, shape: tuple[int, ...], corner: Points, framing: float) -> Box:
        """What the diffusion sees: the face as the base model likes it framed, or the whole picture."""
        if not self.knobs.crop_face_preprocess:
            return Box(0, 0, shape[1], shape[0]).square(1.0)
        square = self.face.box.square(framing)
        x, y = corner
        return Box(square.left - x, square.top - y, square.right - x, square.bottom - y)

    def _free(self, corner: Points, size: tuple[int, int]) -> Mask:
        """1 where this sitting may change the picture, 0 on all other faces.

        Where the surroundings of faces overlap each has its share, so that what their sittings change there adds up
        to no more than one change.
        """
        others = [other.landmarks - corner for index, other in enumerate(self.faces) if index != self.index]
        free = np.ones(size, np.float32)
        for other in others:
            free *= 1 - masks.face(other, size, -OTHERS_MARGIN, OTHERS_SOFTNESS)
        own = masks.whole(self.face.landmarks - corner, size)
        together = own + sum(masks.whole(other, size) for other in others)
        return np.where(together > 1, free * own / np.maximum(together, 1), free)


def worn(who: Person, workspace: Workspace, studio: Studio) -> Lora | None:
    """The person's LoRA; None when it was trained for another base model."""
    user = who.model
    if user.base_model != studio.base_model:
        return None

    def read() -> bytes:
        size = workspace.size(user.lora) or 0
        if size > MOST_BYTES:
            raise LoraError(f"it has {size} bytes, more than the limit of {MOST_BYTES}")
        data = workspace.read(user.lora)
        if data is None:
            raise UnknownUser(f"the LoRA of {user.user_id} is gone from the bucket; train again", FIELD)
        return data

    try:
        return studio.adapters.lora(user.lora, lambda: workspace.etag(user.lora), read)
    except LoraError as error:
        raise UnknownUser(f"the LoRA of {user.user_id} cannot be used: {error}; train again", FIELD) from error


def distance_before(job: FaceJob, who: Person, studio: Studio) -> float | None:
    """From the person to the template's face; None where no vector could be made.

    Raises UnknownUser where the person's vector is none of the engine in use.
    """
    return _distance(job.template, _outlined(job.template_landmarks), who, studio.acquainted)


def distance_after(job: FaceJob, who: Person, studio: Studio) -> float | None:
    """From the person to the portrait's face, as `distance_before`."""
    return _distance(job.image, _seen(job.image, job.landmarks, studio.engine), who, studio.engine)


def _distance(image: Image, face: Face, who: Person, engine: FaceEngine) -> float | None:
    try:
        vector = engine.embed(image, face)
    except FaceError:
        return None
    if vector.shape != who.embedding.shape:
        raise unusable(who.model.user_id, f"has face vectors of {who.embedding.size} numbers, not of {vector.size}")
    return engine.distance(vector, who.embedding)


def _seen(image: Image, landmarks: Points, engine: FaceEngine) -> Face:
    """The face that a fresh look finds where the landmarks are; the landmarks themselves when it finds none there.

    It looks no further than a face's own surroundings: what that costs does not grow with the picture.
    """
    known = _outlined(landmarks)
    view = closeup(image, known.box.square(1.0), LOOK_FACE, LOOK_SIDE)
    expected = view.box_inwards(known.box)
    x, y = expected.centre
    try:
        found = engine.detect(view.image)
    except FaceError:
        return known
    there = [one for one in found if one.box.left <= x <= one.box.right and one.box.top <= y <= one.box.bottom]
    if not there:
        return known
    seen = min(there, key=lambda one: abs(one.box.area - expected.area))
    return Face(view.box_outwards(seen.box), view.outwards(seen.landmarks), seen.score)


def _outlined(landmarks: Points) -> Face:
    return Face(Box(*landmarks.min(axis=0), *landmarks.max(axis=0)), landmarks, 0.0)
