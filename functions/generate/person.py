"""A person who takes a face: reference photos with landmarks, the mean face vector, and the training if there is one.

| the request has | where the photos come from |
|---|---|
| a user_id | from the bucket: what a training left, or photos that were kept without one |
| references | as they are named: judged now, or for an earlier request with the same files |
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from functions.generate.face.gaze import measure_gaze
from functions.generate.face.landmarks import face_width
from functions.generate.fusion.detail_match import measure_focus
from functions.generate.fusion.landmark_fusion import ReferencePhoto
from functions.generate.glasses.frames import wears_glasses
from functions.generate.models import GenerateModels
from functions.generate.occlusion.network import OccluderNetwork
from functions.generate.occlusion.occluder import find_occluder
from functions.generate.portrayal_cache import KnownPhoto, KnownPhotos, PortrayalCache, identify
from functions.generate.request import FaceAssignment
from shared.contract import keys, user_model
from shared.contract.request import IfAnotherPerson
from shared.contract.user_model import FIELD, unusable_error
from shared.contract.users import ReferenceRecord, UserModel
from shared.contract.workspace import Workspace
from shared.errors import InternalError, NoUsableReference, PhotoError, PhotoUnavailable, UnknownUser
from shared.faces import Box, Face, FaceEngine, FaceError
from shared.imaging.array_types import Embedding, Image, Points
from shared.photos import decode_photo
from shared.photos.known_person import KnownPerson, compare_with_known, judge_references
from shared.photos.person_photos import (
    JudgedPhoto,
    PersonPhotos,
    describe_rejected,
    gather_person_photos,
    judge_reference,
)
from shared.settings import Limits

AT_ONCE = 5  # photo files in memory at a time
REFERENCE_PIXELS = 2048 * 2048  # limit of a reference photo; training saves at most 1024 x 1024
NARROWEST = 4.0  # least width of a face in pixels; training accepts none below 18
FLATTEST = 0.1  # least ratio of the landmarks' two spreads; 0.9 for a frontal face, 0 for points in a line


@dataclass(frozen=True, eq=False)
class Person:
    """A person who takes a face.

    Attributes:
        name: what messages call the person.
        field: the field of the request that names the person, for errors.
        user_id: the user; None for somebody who is known by references alone.
        training: what serves the user and has a LoRA; None for somebody without a training.
        portrayals: the reference photos.
        embedding: the mean embedding of the photos, made by the engine in use.
        gathered: the references of the request with the verdicts on them; None if the photos came from the bucket.
        known: who is known already under the user_id of somebody with references; None for anybody else.
        doubts: warnings about whether the references show that person.
    """

    name: str
    field: str
    user_id: str | None
    training: UserModel | None
    portrayals: list[ReferencePhoto]
    embedding: Embedding
    gathered: PersonPhotos | None = None
    known: KnownPerson | None = None
    doubts: tuple[str, ...] = ()


def load_person(
    user_id: str,
    workspace: Workspace,
    engine: FaceEngine,
    limits: Limits,
    occluders: OccluderNetwork,
    cache: PortrayalCache,
) -> Person:
    """Read a user from the bucket; what `cache` knows of the same photos is not looked for again.

    Raises:
        UnknownUser: nobody is known under this user_id, or what is kept cannot be used.
        InternalError: a photo is in the bucket but could not be read.
    """
    model = user_model.load_user_model(user_id, workspace)
    found = _load_photos(model, workspace, limits, occluders, cache.take(user_id))
    photos = [known.photo for known in found.values()]
    mean = np.mean(_embeddings(model, photos, engine), axis=0)
    if not np.linalg.norm(mean) > 0:
        raise unusable_error(user_id, "has face vectors whose mean is zero or not finite")
    cache.keep(user_id, found)
    training = None if model.lora is None else model
    return Person(user_id, FIELD, user_id, training, [replace(one, identity=mean) for one in photos], mean)


def judge_person(
    wanted: FaceAssignment, place: str, workspace: Workspace, models: GenerateModels, if_another: IfAnotherPerson
) -> Person:
    """Judge the references of a request and return the person whom they show.

    Args:
        wanted: the person's references, and the user_id that they are to be kept under, if any.
        place: the field of the request that has the references.
        workspace: fetches the pictures and receives the progress.
        models: the resident models, with the photos that were judged for earlier requests.
        if_another: what happens if the references show somebody else than the person who is known under the user_id.

    Raises:
        NoUsableReference: no picture can be used; the message says why, for each.
        AnotherPerson: they show somebody else, and `if_another` refuses that.
    """
    engine, settings = models.engine, models.settings
    look = partial(judge_reference, engine=engine, limits=settings.limits, ignored_face=settings.faces.ignored_face)
    answer = keys.result("generate", workspace.request_id)

    def judge(data: bytes | PhotoError) -> JudgedPhoto:
        return look(data) if isinstance(data, PhotoError) else models.reference_cache.judge(data, answer, look)

    found = gather_person_photos(wanted.references, workspace, engine, judge)
    if not found.photos:
        error = NoUsableReference(f"{place}: no picture can be used. {describe_rejected(found.rejected)}", place)
        raise error.retry_in(found.retry_after)
    vectors = [photo.embedding for photo in found.photos]
    known, doubts = None, []
    if wanted.user_id is not None:
        known = compare_with_known(wanted.user_id, vectors, workspace, engine, settings.limits)
        doubts = judge_references(known, if_another, place)
    mean = np.mean(vectors, axis=0)
    photos = [
        _note_occluder(_describe_photo(one.name, one.close_up[0], one.close_up[1]), models.occluders)
        for one in found.photos
    ]
    name = wanted.user_id or f"the person of {place}"
    portrayals = [replace(photo, identity=mean) for photo in photos]
    return Person(name, place, wanted.user_id, None, portrayals, mean, found, known, tuple(doubts))


def _describe_photo(name: str, image: Image, face: Face) -> ReferencePhoto:
    """Return a photo with what is seen in it, whether it came with the request or from the bucket."""
    glasses = wears_glasses(image, face.landmarks)
    return ReferencePhoto(
        image,
        face.landmarks,
        glasses=glasses,
        name=name,
        box_width=face.box.width,
        gaze=measure_gaze(image, face.landmarks),
        blur=measure_focus(image, face.landmarks),
    )


def _embeddings(model: UserModel, photos: Sequence[ReferencePhoto], engine: FaceEngine) -> list[Embedding]:
    """Return each photo's embedding by the engine in use; recompute the stored ones if another engine made them."""
    if model.face_engine == engine.name:
        stored = [np.array(reference.embedding) for reference in model.references]
        if len({len(vector) for vector in stored}) > 1:
            raise unusable_error(model.user_id, "has face vectors of different lengths")
        return stored
    try:
        return [
            engine.embed(photo.image, Face(Box(*reference.box), photo.landmarks, 1.0))
            for photo, reference in zip(photos, model.references, strict=True)
        ]
    except FaceError as error:
        raise unusable_error(model.user_id, f"has a photo whose face {engine.name} cannot embed: {error}") from error


def _load_photos(
    model: UserModel, workspace: Workspace, limits: Limits, occluders: OccluderNetwork, known: KnownPhotos
) -> KnownPhotos:
    """Return the user's photos in the order of the record; those that are known as they are."""
    smaller = limits.model_copy(update={"photo_pixels": min(limits.photo_pixels, REFERENCE_PIXELS)})
    found: KnownPhotos = {}
    for start in range(0, len(model.references), AT_ONCE):
        some = model.references[start : start + AT_ONCE]
        files = workspace.fetch([reference.key for reference in some])
        for index, (reference, file) in enumerate(zip(some, files, strict=True), start):
            digest = identify(file if isinstance(file, bytes) else b"", f"{index} {reference.model_dump_json()}")
            if digest not in known:
                photo = _load_photo(model.user_id, reference, file, workspace, smaller)
                known[digest] = KnownPhoto(_note_occluder(photo, occluders))
            found[digest] = known[digest]
    return found


def _load_photo(
    user_id: str, reference: ReferenceRecord, file: bytes | PhotoError, workspace: Workspace, limits: Limits
) -> ReferencePhoto:
    if isinstance(file, PhotoUnavailable):
        if workspace.etag(reference.key) is None:
            raise UnknownUser(f"a photo of {user_id} is gone from the bucket ({reference.key}); train again", FIELD)
        raise InternalError(f"a photo of {user_id} could not be read: {file.message}")
    try:
        if isinstance(file, PhotoError):
            raise file
        image = decode_photo(file, limits).image
    except PhotoError as error:
        raise UnknownUser(f"a photo of {user_id} cannot be read ({reference.key}); train again", FIELD) from error
    landmarks, box = np.array(reference.landmarks, float), Box(*reference.box)
    if not _is_face(landmarks, box, image):
        raise unusable_error(user_id, f"has landmarks that cannot be a face in the photo {reference.key}")
    return _describe_photo(reference.key, image, Face(box, landmarks, 1.0))


def _note_occluder(photo: ReferencePhoto, network: OccluderNetwork) -> ReferencePhoto:
    """Return the photo with what lies before its face."""
    found = find_occluder(photo.image, photo.landmarks, network, reaching_in=True)
    if found is None:
        return photo
    height, width = photo.image.shape[:2]
    return replace(
        photo, occluder=found.cut(slice(0, height), slice(0, width)), hidden=max(found.hidden, found.covered)
    )


def _is_face(landmarks: Points, box: Box, image: Image) -> bool:
    """Return whether the landmarks and the box can be a face of the picture.

    They must lie near the picture, have a width, and not lie on one line: else the picture cannot be warped by them.
    """
    size = np.array(image.shape[1::-1], float)
    center = landmarks.mean(axis=0)
    about = np.all((landmarks > -size) & (landmarks < 2 * size)) and np.all((center > 0) & (center < size))
    along, across = np.linalg.svd(landmarks - center, compute_uv=False)
    boxed = 0 < box.right < 2 * size[0] and 0 < box.bottom < 2 * size[1] and min(box.width, box.height) >= NARROWEST
    return bool(about and boxed and face_width(landmarks) >= NARROWEST and across >= FLATTEST * along)
