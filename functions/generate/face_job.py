"""A face job: one person for one of the template's faces, from crop to paste."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from functions.generate.diffusion.inpaint_region import PromptPair, cut_square
from functions.generate.diffusion.lora_cache import Lora, LoraError
from functions.generate.diffusion.lora_file import MOST_BYTES
from functions.generate.face import masks
from functions.generate.face.crop import FaceCrop
from functions.generate.face.face_view import FaceView
from functions.generate.face.gaze import measure_gaze
from functions.generate.face.strips import list_strips
from functions.generate.fusion.fuser import Fuser, LandmarkFuser
from functions.generate.fusion.landmark_fusion import ReferencePhoto
from functions.generate.glasses.frames import find_frames
from functions.generate.models import GenerateModels
from functions.generate.occlusion.layer import OccluderLayer
from functions.generate.occlusion.occluder import Occluder
from functions.generate.person import Person
from functions.generate.photo_choice import choose_reference
from functions.generate.request import GenerateConfigure
from shared.contract.user_model import FIELD, unusable_error
from shared.contract.workspace import Workspace
from shared.errors import UnknownUser
from shared.faces import Box, Face, FaceEngine, FaceError
from shared.faces.face_crop import crop_face
from shared.imaging.array_types import Image, Mask, Points

CROP = 3.0  # side of the portrait area, in sides of the face's box, as in EasyPhoto
# pixels: width of the face and side of the crop in which the finished face is detected; recognizers use 100 to 112
LOOK_FACE, LOOK_SIDE = 100, 200
CLOSE_FACE, CLOSE_SIDE = 220, 440  # the same for a reference photo: the mesh's network sees faces of 170 pixels
OTHERS_MARGIN, OTHERS_SOFTNESS = 0.06, 0.02  # face widths, around the faces of other jobs

Area = tuple[slice, slice]
"""Rows and columns of the picture."""


@dataclass(eq=False)
class FaceJob:
    """One person for one face of the template, on its way through the stages.

    Attributes:
        person: the person who takes the face.
        index: number of the face in the template, counted from the left, from 0.
        face: the face as it was detected in the picture.
        area: rows and columns of the picture that the crop covers.
        layer: what lies before the face in the crop.
        template, template_landmarks, template_frames: the crop without what lies before the face, RGB, uint8,
            (H, W, 3), the landmarks of its face, (68, 2), and the mask of the frames of that face's glasses, (H, W).
        image, landmarks, frames: the same three as they are now.
        mesh: the points of the face's mesh as they are now, (478, 3); None if the engine gives none.
        photo: the person's reference photo that suits the template's face best.
        fuser: fuses the photo's face with the template's.
        original: the template's face, whose sharpness and colors the result must have.
        editable: mask, (H, W), 0 on the other faces of the picture, where nothing may change.
        square: the square that the diffusion works on, in pixels of the crop.
        words: the encoded prompt and negative prompt.
        lora: the person's LoRA; None if there is none for this base model.
        seed: seed of this face's noise.
        configure: the knobs of the request.
        hair: mask, (H, W), of the template's facial hair, wherever a fusion has moved it; None before the first one.
    """

    person: Person
    index: int
    face: Face
    area: Area
    layer: OccluderLayer
    template: Image
    template_landmarks: Points
    template_frames: Mask
    image: Image
    landmarks: Points
    frames: Mask
    mesh: Points | None
    photo: ReferencePhoto
    fuser: Fuser
    original: FaceCrop
    editable: Mask
    square: Box
    words: PromptPair
    lora: Lora | None
    seed: int
    configure: GenerateConfigure
    hair: Mask | None = None

    @property
    def template_view(self) -> FaceView:
        """The template's face, unchanged."""
        hair = self.original.facial_hair.mask
        return FaceView(self.template, self.template_landmarks, self.template_frames, hair=hair)

    @property
    def finished(self) -> Image:
        """The crop as it is now, RGB, uint8, (H, W, 3), with what lies before the face."""
        return self.layer.put_back(self.image)

    @property
    def draws_photo(self) -> bool:
        """Whether the face is drawn from the photo itself, not painted by a network."""
        return isinstance(self.fuser, LandmarkFuser) and (self.configure.fuses_before or self.configure.fuses_after)

    def cut_photo(self, framing: float, size: int) -> Image:
        """Return the square around the person's face in the reference photo, RGB, uint8, (size, size, 3)."""
        square = _face_of(self.photo.landmarks).box.square(framing)
        cut: Image = cut_square(self.photo.image, square, size)
        return cut

    def paste(self, picture: Image) -> None:
        """Add the crop's changes to its area of the picture, in place.

        Crops overlap: changes that a neighbor's job made before are kept, and pixels that this job did not change are
        not written.
        """
        area, finished, before = picture[self.area], self.finished, self.layer.picture
        for rows in list_strips(before.shape):
            change = cv2.subtract(finished[rows], before[rows], dtype=cv2.CV_16S)
            if change.any():
                area[rows] = cv2.add(np.ascontiguousarray(area[rows]), change, dtype=cv2.CV_8U)


def prepare_face_job(
    who: Person,
    picture: Image,
    faces: Sequence[Face],
    index: int,
    occluder: Occluder | None,
    configure: GenerateConfigure,
    seed: int,
    workspace: Workspace,
    models: GenerateModels,
) -> FaceJob:
    """Prepare the job of a person who takes one face: cut out the portrait area and gather what the stages need.

    Args:
        who: the person.
        picture: the template, RGB, uint8, (H, W, 3).
        faces: all faces of the template, from left to right.
        index: the face that the person takes.
        occluder: what lies before that face; None if nothing does.
        configure: the knobs of the request.
        seed: seed of this face's noise.
        workspace: where the person's LoRA is read from.
        models: the resident models.
    """
    face = faces[index]
    area = _portrait_area(face, picture.shape, configure)
    rows, columns = area
    corner = np.array([columns.start, rows.start], float)
    landmarks = face.landmarks - corner
    layer = lift_occluder(np.ascontiguousarray(picture[area]), landmarks, occluder, area)
    crop = layer.cleared
    mesh = None if face.mesh is None else face.mesh - [*corner, 0]
    frames = find_frames(crop, landmarks)
    photo = choose_reference(who.portrayals, landmarks, measure_gaze(crop, landmarks))
    others = [other.landmarks - corner for number, other in enumerate(faces) if number != index]
    return FaceJob(
        person=who,
        index=index,
        face=face,
        area=area,
        layer=layer,
        template=crop,
        template_landmarks=landmarks,
        template_frames=frames,
        image=crop,
        landmarks=landmarks,
        frames=frames,
        mesh=mesh,
        photo=photo if mesh is None else _look_closely(photo, who, models),
        fuser=models.fuser,
        original=FaceCrop.of(crop, landmarks, mesh=mesh),
        editable=_editable_mask(landmarks, others, crop.shape[:2]) * layer.movable(landmarks),
        square=_diffusion_square(face, crop.shape, corner, configure, models.framing),
        words=models.prompt_cache.of(who.training.trigger if who.training else "", configure.additional_prompt),
        lora=load_lora(who, workspace, models),
        seed=seed,
        configure=configure,
    )


def lift_occluder(crop: Image, landmarks: Points, occluder: Occluder | None, area: Area) -> OccluderLayer:
    """Lift what lies before a face off its crop, the part `area` of the picture; landmarks are in the crop's pixels."""
    if occluder is None:
        return OccluderLayer(crop, np.zeros(crop.shape[:2], np.float32), crop)
    return OccluderLayer.of(crop, landmarks, occluder.cut(*area))


def _look_closely(photo: ReferencePhoto, who: Person, models: GenerateModels) -> ReferencePhoto:
    """Return the photo with the mesh of its face, and the landmarks of that mesh, if the engine gives one.

    A person's record has landmarks only: it may be of another engine.
    """

    def look(photo: ReferencePhoto) -> ReferencePhoto:
        seen = _detect_again(photo.image, photo.landmarks, models.engine, CLOSE_FACE, CLOSE_SIDE)
        return photo if seen.mesh is None else replace(photo, landmarks=seen.landmarks, mesh=seen.mesh)

    return models.portrayal_cache.look_closely(who.user_id if who.gathered is None else None, photo, look)


def _portrait_area(face: Face, shape: tuple[int, ...], configure: GenerateConfigure) -> Area:
    """Return the area that a job works on; without `crop_face_preprocess` it is the whole picture."""
    if not configure.crop_face_preprocess:
        return slice(0, shape[0]), slice(0, shape[1])
    left, top, right, bottom = face.box.square(CROP).rounded()
    return slice(max(top, 0), min(bottom, shape[0])), slice(max(left, 0), min(right, shape[1]))


def _diffusion_square(
    face: Face, shape: tuple[int, ...], corner: Points, configure: GenerateConfigure, framing: float
) -> Box:
    """Return the square that the diffusion works on: the face with the base model's framing, or the whole picture."""
    if not configure.crop_face_preprocess:
        return Box(0, 0, shape[1], shape[0]).square(1.0)
    square = face.box.square(framing)
    x, y = corner
    return Box(square.left - x, square.top - y, square.right - x, square.bottom - y)


def _editable_mask(landmarks: Points, others: Sequence[Points], size: tuple[int, int]) -> Mask:
    """Return a mask, (H, W): 1 where a job may change its crop, 0 on all other faces, whose landmarks are given.

    Where the surroundings of faces overlap, the jobs share the pixels: their masks add up to at most 1, so that
    together they make no more than one full change.
    """
    editable = np.ones(size, np.float32)
    if not others:
        return editable
    for other in others:
        editable *= 1 - masks.face(other, size, -OTHERS_MARGIN, OTHERS_SOFTNESS)
    own = masks.whole(landmarks, size)
    together = own + sum(masks.whole(other, size) for other in others)
    return np.where(together > 1, editable * own / np.maximum(together, 1), editable)


def load_lora(who: Person, workspace: Workspace, models: GenerateModels) -> Lora | None:
    """Load the person's LoRA; return None if there is none, or if it was trained for another base model.

    Raises:
        UnknownUser: the LoRA is missing, too large, or does not fit the base model.
    """
    if who.training is None or who.training.lora is None or who.training.base_model != models.base_model:
        return None
    key = who.training.lora

    def read() -> bytes:
        size = workspace.size(key) or 0
        if size > MOST_BYTES:
            raise LoraError(f"the file has {size} bytes, more than the limit of {MOST_BYTES}")
        data = workspace.read(key)
        if data is None:
            raise UnknownUser(f"the LoRA of {who.name} is gone from the bucket; train again", FIELD)
        return data

    try:
        return models.lora_cache.lora(key, lambda: workspace.etag(key), read)
    except LoraError as error:
        raise UnknownUser(f"the LoRA of {who.name} cannot be used: {error}; train again", FIELD) from error


def measure_distance_before(job: FaceJob, models: GenerateModels) -> float | None:
    """Return the distance between the person and the template's face; None if the face could not be embedded.

    Raises:
        UnknownUser: the person's embedding has another length than those of the engine in use.
    """
    seen = job.layer.picture
    return _measure_distance(seen, _face_of(job.template_landmarks), job.person, models.cached_engine)


def measure_distance_after(job: FaceJob, models: GenerateModels) -> float | None:
    """Return the distance between the person and the portrait's face; see `measure_distance_before`."""
    made = job.finished
    return _measure_distance(made, _detect_again(made, job.landmarks, models.engine), job.person, models.engine)


def _measure_distance(image: Image, face: Face, who: Person, engine: FaceEngine) -> float | None:
    try:
        vector = engine.embed(image, face)
    except FaceError:
        return None
    if vector.shape != who.embedding.shape:
        raise unusable_error(who.name, f"has face vectors of length {who.embedding.size}, not {vector.size}")
    return engine.distance(vector, who.embedding)


def _detect_again(
    image: Image, landmarks: Points, engine: FaceEngine, across: int = LOOK_FACE, side: int = LOOK_SIDE
) -> Face:
    """Detect the face at the landmarks anew; return a face made of the landmarks if none is detected there.

    Only the surroundings of the face are searched, so that the cost does not grow with the picture. There the face is
    `across` pixels wide, in a square of `side` pixels.
    """
    known = _face_of(landmarks)
    view = crop_face(image, known.box.square(1.0), across, side)
    expected = view.box_inwards(known.box)
    x, y = expected.center
    try:
        found = engine.detect(view.image)
    except FaceError:
        return known
    there = [one for one in found if one.box.left <= x <= one.box.right and one.box.top <= y <= one.box.bottom]
    if not there:
        return known
    seen = min(there, key=lambda one: abs(one.box.area - expected.area))
    mesh = (
        None if seen.mesh is None else np.column_stack([view.outwards(seen.mesh[:, :2]), seen.mesh[:, 2] / view.factor])
    )
    return Face(view.box_outwards(seen.box), view.outwards(seen.landmarks), seen.score, mesh)


def _face_of(landmarks: Points) -> Face:
    return Face(Box(*landmarks.min(axis=0), *landmarks.max(axis=0)), landmarks, 0.0)
