"""Portraits: a template and its people in, the template with their faces out."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from functions.generate import finishing, output, person, template
from functions.generate.face_job import Sitting, distance_after, distance_before
from functions.generate.finishing import Finish, Scene
from functions.generate.models import Studio
from functions.generate.person import Person
from functions.generate.progress import Progress
from functions.generate.provenance import Provenance
from functions.generate.request import NOBODY, GenerateConfigure, GenerateRequest
from functions.generate.stages import FaceJob, Stage, planned
from shared.contract.function import Answer
from shared.contract.manifests import Json
from shared.contract.validation import validate
from shared.contract.workspace import Workspace
from shared.imaging.array_types import Image

SEEDS = 2**32
SEEDS_PER_FACE = 2  # one for each diffusion


@dataclass(eq=False)
class Portrait:
    """The picture on its way, and what there is to say of it."""

    image: Image
    faces: list[Json] = field(default_factory=list)
    stages: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Way:
    """What every step of a portrait needs: where things are kept, the models, whom to tell how far it is."""

    workspace: Workspace
    studio: Studio
    progress: Progress


def run(body: Json, workspace: Workspace, studio: Studio) -> Answer:
    """Answer one generate request.

    Raises:
        InvalidField, PhotoError, NoFaceInTemplate, UnsuitableFace, FaceCountMismatch, UnknownUser: each naming it.
    """
    started = time.monotonic()
    request, warnings = validate(GenerateRequest, body)
    knobs, limits = request.configure, studio.settings.limits
    decoded = template.fetch(request.template_image, workspace, limits)
    warnings += [f"template_image: {warning}" for warning in decoded.warnings]
    finishing.check(knobs, decoded.image.shape, limits)
    people = load_people(knobs, workspace, studio)
    warnings += foreign(people, studio) + finishing.warnings(knobs, studio)
    faces = template.faces(decoded.image, request.template_image, len(knobs.user_id), studio.acquainted)
    template.check(faces, knobs.user_id, request.template_image, studio.settings.generate)
    seed = secrets.randbelow(SEEDS) if knobs.seed is None else knobs.seed
    sittings = [
        Sitting(people[user_id], faces, index, knobs, (seed + SEEDS_PER_FACE * index) % SEEDS)
        for index, user_id in enumerate(knobs.user_id)
        if user_id != NOBODY
    ]
    portrait = Portrait(decoded.image.copy())
    stages = planned(knobs, studio.most_steps) if sittings else []
    finishes = finishing.planned(knobs, portrait.image.shape, studio)
    afterwards = sum(1 + finish.evaluations for finish in finishes)
    way = Way(workspace, studio, Progress(workspace, stages, len(sittings), afterwards))
    described = portray(sittings, stages, portrait, way)
    for index, face in enumerate(faces):
        nobody = output.described(NOBODY, face.box, None, None, studio.engine)
        portrait.faces.append(described.get(index, nobody))
    finish(Scene(portrait.image, faces, knobs, seed), finishes, len(stages), portrait, way)
    by = enhanced_by(knobs, bool(sittings), studio)
    made = Provenance.of(knobs, seed, studio.base_model, bool(sittings) or bool(finishes), by)
    data = output.published(
        decoded.returned(portrait.image), knobs.image_format, workspace, limits, warnings, made, decoded.icc
    )
    data |= {"user_id": asked(body), "faces": portrait.faces, "seed": seed, "warnings": warnings}
    if by:
        data["enhancement"] = {"method": knobs.photo_enhancement_method, "by": by}
    if portrait.stages:
        data["stages"] = portrait.stages
    return Answer(data | {"cost_time": round(time.monotonic() - started, 3)})


def load_people(knobs: GenerateConfigure, workspace: Workspace, studio: Studio) -> dict[str, Person]:
    """Everybody who is to be portrayed, each read once."""
    wanted = [user_id for user_id in dict.fromkeys(knobs.user_id) if user_id != NOBODY]
    return {user_id: person.load(user_id, workspace, studio.engine, studio.settings.limits) for user_id in wanted}


def foreign(people: dict[str, Person], studio: Studio) -> list[str]:
    """A warning for everybody whose LoRA belongs to another base model and is left out."""
    return [
        f"{user_id} was trained for {who.model.base_model}; {studio.base_model} works without that LoRA: train again"
        for user_id, who in people.items()
        if who.model.base_model != studio.base_model
    ]


def portray(sittings: Sequence[Sitting], stages: Sequence[Stage], portrait: Portrait, way: Way) -> dict[int, Json]:
    """Take the faces through all stages side by side and put them back; what there is to say of each, by index."""
    workspace, studio, progress = way.workspace, way.studio, way.progress
    jobs = [sitting.prepare(portrait.image, workspace, studio) for sitting in sittings]
    people = [sitting.person for sitting in sittings]
    before = [distance_before(job, who, studio) for job, who in zip(jobs, people, strict=True)]
    for number, stage in enumerate(stages, start=1):
        progress.begin(stage.name)
        stage.work(jobs, studio, progress.advance)
        for job in jobs:
            job.image = job.original.palette.settled(job.image, job.template)
        progress.advance(len(jobs))
        if studio.settings.generate.keep_stages:
            keep(f"{number}-{stage.name}", jobs, portrait, workspace)
    described = {}
    for sitting, job, apart in zip(sittings, jobs, before, strict=True):
        after = distance_after(job, sitting.person, studio)
        user_id = sitting.person.model.user_id
        described[sitting.index] = output.described(user_id, sitting.face.box, apart, after, studio.engine)
        paste(job, portrait.image[sitting.area(portrait.image.shape)])
    return described


def finish(scene: Scene, finishes: Sequence[Finish], before: int, portrait: Portrait, way: Way) -> None:
    """Do to the whole picture what is to be done to it, after so many stages of its faces."""
    for number, step in enumerate(finishes, start=before + 1):
        way.progress.begin(step.name)
        step.work(scene, way.studio, way.progress.advance)
        way.progress.advance()
        if way.studio.settings.generate.keep_stages:
            name = f"{number}-{step.name}"
            portrait.stages[name] = way.workspace.save(f"stages/{name}.png", output.png(scene.image))
    portrait.image = scene.image


def enhanced_by(knobs: GenerateConfigure, anybody: bool, studio: Studio) -> str:
    """What `photo_enhancement_bool` was done with; empty where it did nothing."""
    if not knobs.photo_enhancement_bool or not (anybody or finishing.doubles(knobs)):
        return ""
    return studio.enhancers.by(knobs.photo_enhancement_method)


def paste(job: FaceJob, area: Image) -> None:
    """Bring what changed of a crop into its area of the picture.

    Crops overlap: what a neighbour's sitting changed there before stays, and untouched pixels remain the picture's own.
    """
    red, green, blue = cv2.split((job.image != job.template).view(np.uint8))
    changed = (red | green | blue).view(bool)
    difference = job.image[changed].astype(np.int16) - job.template[changed]
    area[changed] = np.clip(area[changed] + difference, 0, 255)


def keep(name: str, jobs: Sequence[FaceJob], portrait: Portrait, workspace: Workspace) -> None:
    """Save the crops as they are after a stage, for looking at."""
    for number, job in enumerate(jobs, start=1):
        full = name if len(jobs) == 1 else f"{name}-{number}"
        portrait.stages[full] = workspace.save(f"stages/{full}.png", output.png(job.image))


def asked(body: Json) -> object:
    """The user_id as it came: one, or a list."""
    configure = body["configure"]
    return configure.get("model_id") if configure.get("user_id") is None else configure["user_id"]
