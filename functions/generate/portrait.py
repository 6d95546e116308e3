"""Portraits: a template and its people in, the template with their faces out."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from functions.generate import output, person, template
from functions.generate.person import Person
from functions.generate.progress import Progress
from functions.generate.request import NOBODY, GenerateConfigure, GenerateRequest
from functions.generate.sitting import Sitting, distances
from functions.generate.stages import FaceJob, planned
from functions.generate.studio import Studio
from shared.function import Answer
from shared.images import Image
from shared.manifests import Json
from shared.validation import validate
from shared.workspace import Workspace

SEEDS = 2**32
SEEDS_PER_FACE = 2  # one for each diffusion


@dataclass(eq=False)
class Portrait:
    """The picture on its way, and what there is to say of it."""

    image: Image
    faces: list[Json] = field(default_factory=list)
    stages: dict[str, str] = field(default_factory=dict)


def run(body: Json, workspace: Workspace, studio: Studio) -> Answer:
    """Answer one generate request.

    Raises:
        InvalidField, PhotoError, NoFaceInTemplate, FaceCountMismatch, UnknownUser: each naming the input.
    """
    started = time.monotonic()
    request, warnings = validate(GenerateRequest, body)
    knobs, limits = request.configure, studio.settings.limits
    warnings += [f"{name} was asked for and is not built yet" for name in knobs.not_built()]
    decoded = template.fetch(request.template_image, workspace, limits)
    warnings += [f"template_image: {warning}" for warning in decoded.warnings]
    people = load_people(knobs, workspace, studio)
    warnings += foreign(people, studio)
    faces = template.faces(decoded.image, request.template_image, len(knobs.user_id), studio.engine)
    seed = secrets.randbelow(SEEDS) if knobs.seed is None else knobs.seed
    sittings = [
        Sitting(people[user_id], faces, index, knobs, (seed + SEEDS_PER_FACE * index) % SEEDS)
        for index, user_id in enumerate(knobs.user_id)
        if user_id != NOBODY
    ]
    portrait = Portrait(decoded.image.copy())
    described = portray(sittings, portrait, workspace, studio) if sittings else {}
    for index, face in enumerate(faces):
        nobody = output.described(NOBODY, face.box, None, None, studio.engine)
        portrait.faces.append(described.get(index, nobody))
    data = output.published(portrait.image, knobs.image_format, workspace, limits, warnings)
    data |= {"user_id": asked(body), "faces": portrait.faces, "seed": seed, "warnings": warnings}
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


def portray(sittings: Sequence[Sitting], portrait: Portrait, workspace: Workspace, studio: Studio) -> dict[int, Json]:
    """Take the faces through all stages side by side and put them back; what there is to say of each, by index."""
    stages = planned(sittings[0].knobs, studio.most_steps)
    progress = Progress(workspace, stages, len(sittings))
    jobs = [sitting.prepare(portrait.image, workspace, studio) for sitting in sittings]
    for number, stage in enumerate(stages, start=1):
        progress.begin(stage.name)
        stage.work(jobs, studio, progress.advance)
        progress.advance(len(jobs))
        if studio.settings.generate.keep_stages:
            keep(f"{number}-{stage.name}", jobs, portrait, workspace)
    described = {}
    for sitting, job in zip(sittings, jobs, strict=True):
        before, after = distances(job, sitting.person, studio.engine)
        user_id = sitting.person.model.user_id
        described[sitting.index] = output.described(user_id, sitting.face.box, before, after, studio.engine)
        paste(job, portrait.image[sitting.area(portrait.image.shape)])
    return described


def paste(job: FaceJob, area: Image) -> None:
    """Bring what changed of a crop into its area of the picture.

    Crops overlap: what a neighbour's sitting changed there before stays, and untouched pixels remain the picture's own.
    """
    changed = np.any(job.image != job.template, axis=-1)
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
    return configure.get("user_id", configure.get("model_id"))
