"""Portraits: a template and its people in, the template with their faces out."""

import secrets
import time
from dataclasses import dataclass, field

from functions.generate import output, person, template
from functions.generate.person import Person
from functions.generate.progress import Progress
from functions.generate.request import NOBODY, GenerateConfigure, GenerateRequest
from functions.generate.sitting import Sitting, distances
from functions.generate.stages import planned
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
    portrait = Portrait(decoded.image.copy())
    progress = Progress(workspace, planned(knobs), sum(user_id != NOBODY for user_id in knobs.user_id))
    for index, (user_id, face) in enumerate(zip(knobs.user_id, faces, strict=True)):
        if user_id == NOBODY:
            portrait.faces.append(output.described(user_id, face.box, None, None, studio.engine))
            continue
        sitting = Sitting(people[user_id], faces, index, knobs, (seed + SEEDS_PER_FACE * index) % SEEDS)
        portray(sitting, portrait, workspace, studio, progress)
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


def portray(sitting: Sitting, portrait: Portrait, workspace: Workspace, studio: Studio, progress: Progress) -> None:
    """Take one face through all stages and put it back into the picture."""
    job = sitting.prepare(portrait.image, workspace, studio)
    for stage in planned(sitting.knobs):
        progress.begin(stage.name)
        stage.work(job, studio.diffuser, progress.advance)
        progress.advance()
        if studio.settings.generate.keep_stages:
            name = f"{len(portrait.stages) + 1}-{stage.name}"
            portrait.stages[name] = workspace.save(f"stages/{name}.png", output.png(job.image))
    before, after = distances(job, sitting.person, studio.engine)
    user_id = sitting.person.model.user_id
    portrait.faces.append(output.described(user_id, sitting.face.box, before, after, studio.engine))
    # outside of the stages' masks the crop still has the picture's own pixels
    portrait.image[sitting.area(portrait.image.shape)] = job.image


def asked(body: Json) -> object:
    """The user_id as it came: one, or a list."""
    configure = body["configure"]
    return configure.get("user_id", configure.get("model_id"))
