"""Make portraits: take a template and people, and return the template with their faces in it."""

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence

from functions.generate import output, person, template
from functions.generate.assignment import assign_people
from functions.generate.face_job import FaceJob, measure_distance_after, measure_distance_before, prepare_face_job
from functions.generate.face_stages import plan_face_stages
from functions.generate.fusion.beard_transfer import list_difficulties
from functions.generate.kept_people import keep_person
from functions.generate.models import GenerateModels
from functions.generate.occlusion.occluder import Occluder
from functions.generate.person import Person
from functions.generate.photo_hiding import TOLD, describe_hidden, hidden_features
from functions.generate.photo_size import describe_too_small, is_too_small
from functions.generate.picture_stages import PictureJob, check_size, doubles, list_warnings, plan_picture_stages
from functions.generate.progress import Progress
from functions.generate.provenance import Provenance
from functions.generate.request import FaceAssignment, GenerateConfigure, GenerateRequest
from functions.generate.stages import RunContext, Stage, count_steps
from shared.contract import keys
from shared.contract.function import Answer
from shared.contract.manifests import NOBODY, Json, encode
from shared.contract.request import IfAnotherPerson
from shared.contract.validation import bound_text, validate
from shared.contract.workspace import Workspace
from shared.faces import Face
from shared.imaging.array_types import Image

SEEDS = 2**32
SEEDS_PER_FACE = 2  # one for each diffusion


def make_portrait(body: Json, workspace: Workspace, models: GenerateModels) -> Answer:
    """Answer one generate request.

    Raises:
        InvalidField, PhotoError, NoFaceInTemplate, UnsuitableFace, FaceCountMismatch, UnknownUser, NoUsableReference,
        AnotherPerson:
            the request cannot be served; the error names the field that is wrong.
    """
    started = time.monotonic()
    request, warnings = validate(GenerateRequest, body)
    knobs, limits = request.configure, models.settings.limits
    decoded = template.fetch_template(request.template_image, workspace, limits, models.decoded_ahead)
    warnings += [f"template_image: {warning}" for warning in decoded.warnings]
    check_size(knobs, decoded.image.shape, limits)
    people = load_people(knobs, workspace, models)
    warnings += models.license_warnings + list_warnings(knobs, models)
    warnings += warn_of_other_base_models(people.values(), models)
    warnings += warn_of_rejected(people.values()) + warn_of_doubts(people.values())
    counted = template.REFERENCES if knobs.user_id is None else template.USER_ID
    found = template.find_faces(decoded.image, request.template_image, models.cached_engine)
    faces, settings = found.faces, models.settings.generate
    assignments, doubts = assign_people(found, knobs.assignments, request.template_image, settings, counted)
    warnings += template.warn_of_lying(faces) + doubts
    template.check_faces(faces, assignments, request.template_image, settings)
    warnings += template.warn_of_cut_faces(faces, assignments, decoded.image.shape)
    occluders = template.find_occluders(
        decoded.image, faces, assignments, request.template_image, models.occluders, settings
    )
    seed = secrets.randbelow(SEEDS) if knobs.seed is None else knobs.seed
    picture = PictureJob(decoded.image.copy(), faces, knobs, seed)
    jobs = prepare_jobs(picture, assignments, people, occluders, workspace, models)
    warnings += warn_of_facial_hair(jobs) + warn_of_small_photos(jobs) + warn_of_hidden_photos(jobs)
    face_stages = plan_face_stages(knobs, models.step_count) if jobs else []
    picture_stages = plan_picture_stages(knobs, picture.image.shape, models)
    steps = count_steps(face_stages, len(jobs)) + count_steps(picture_stages, 1)
    context = RunContext(workspace, models, Progress(workspace, steps), {})
    described = portray(jobs, face_stages, picture.image, context)
    context.take_through(picture_stages, [picture], first=len(face_stages) + 1)
    by = name_enhancer(knobs, bool(jobs), models)
    made = Provenance.of(knobs, seed, models.base_model, bool(jobs) or bool(picture_stages), by)
    told, kept_warnings = describe_people(assignments, people, workspace, models, knobs.another_person)
    told |= {"faces": describe_faces(faces, described, models), "trained": all(job.lora is not None for job in jobs)}
    data, unfit = output.save_portrait(
        decoded.to_file_space(picture.image),
        knobs.image_format,
        workspace,
        limits,
        made,
        decoded.icc,
        len(encode(told)),
    )
    data |= told | {"user_id": requested_user_id(body), "seed": seed}
    data["warnings"] = warnings + kept_warnings + unfit
    if by:
        data["enhancement"] = {"method": knobs.photo_enhancement_method, "by": by}
    if context.kept:
        data["stages"] = context.kept
    return Answer(data | {"cost_time": round(time.monotonic() - started, 3)})


def load_people(knobs: GenerateConfigure, workspace: Workspace, models: GenerateModels) -> dict[FaceAssignment, Person]:
    """Read each user of the request from the bucket, and judge the references of the others; each person once."""
    people: dict[FaceAssignment, Person] = {}
    models.reference_cache.drop(keys.result("generate", workspace.request_id))
    for number, wanted in enumerate(knobs.assignments):
        if wanted.nobody or wanted in people:
            continue
        if wanted.references:
            place = template.REFERENCES if len(knobs.assignments) == 1 else f"{template.REFERENCES}.{number}"
            people[wanted] = person.judge_person(wanted, place, workspace, models, knobs.another_person)
        elif wanted.user_id is not None:
            people[wanted] = person.load_person(
                wanted.user_id,
                workspace,
                models.engine,
                models.settings.limits,
                models.occluders,
                models.portrayal_cache,
            )
    return people


def warn_of_other_base_models(people: Iterable[Person], models: GenerateModels) -> list[str]:
    """Return a warning for each person whose LoRA is not used because it was trained for another base model."""
    return [
        f"the LoRA of {who.name} is not used: it was trained for {who.training.base_model}, and the base model is "
        f"{models.base_model}; train again"
        for who in people
        if who.training is not None and who.training.base_model != models.base_model
    ]


def warn_of_rejected(people: Iterable[Person]) -> list[str]:
    """Return a warning for each reference that was left out."""
    return bound_text(
        [
            f"{who.field}: {one['url']} was left out: {one['reason']}"
            for who in people
            if who.gathered is not None
            for one in who.gathered.rejected
        ]
    )


def warn_of_doubts(people: Iterable[Person]) -> list[str]:
    """Return the warnings about references that may show somebody else than the person who is known."""
    return [doubt for who in people for doubt in who.doubts]


def describe_people(
    assignments: Sequence[FaceAssignment],
    people: Mapping[FaceAssignment, Person],
    workspace: Workspace,
    models: GenerateModels,
    if_another: IfAnotherPerson,
) -> tuple[Json, list[str]]:
    """Keep the references that have a user_id, and describe the people for the answer.

    Returns:
        `references` and `kept`, if the request has references; and warnings.
    """
    described, kept = [], []
    warnings: list[str] = []
    for wanted, who in people.items():
        if who.gathered is None:
            continue
        done = keep_person(who, workspace, models, if_another)
        kept += [done.record] if done.record else []
        warnings += done.warnings
        described.append(
            {
                "faces": [number for number, other in enumerate(assignments) if other == wanted],
                "user_id": who.user_id,
                "used": [photo.name for photo in who.gathered.photos],
                "rejected": who.gathered.rejected,
                "similarity_to_known": None if who.known is None else who.known.likeness,
            }
        )
    return {"references": described, "kept": kept} if described else {}, warnings


def warn_of_facial_hair(jobs: Sequence[FaceJob]) -> list[str]:
    """Return a warning for each face whose beard or moustache cannot follow the person cleanly.

    A network as the fuser paints facial hair as it likes; nothing is said of it.
    """
    return [
        f"face {job.index + 1} from the left: {difficulty}"
        for job in jobs
        if job.draws_photo
        for difficulty in list_difficulties(job.original.facial_hair, job.photo.facial_hair)
    ]


def warn_of_small_photos(jobs: Sequence[FaceJob]) -> list[str]:
    """Return a warning for each face that is drawn much larger than the person's photo shows it."""
    return [
        f"face {job.index + 1} from the left: "
        + describe_too_small(
            job.photo, job.person.user_id or "the person", len(job.person.portrayals), job.face.box.width
        )
        for job in jobs
        if job.draws_photo and is_too_small(job.photo, job.template_landmarks)
    ]


def warn_of_hidden_photos(jobs: Sequence[FaceJob]) -> list[str]:
    """Return a warning for each face whose person's photo shows it partly hidden."""
    hidden = [(job, hidden_features(job.photo)) for job in jobs if job.draws_photo]
    return [
        f"face {job.index + 1} from the left: "
        + describe_hidden(share, job.person.user_id or "the person", len(job.person.portrayals))
        for job, share in hidden
        if share >= TOLD
    ]


def prepare_jobs(
    picture: PictureJob,
    assignments: Sequence[FaceAssignment],
    people: Mapping[FaceAssignment, Person],
    occluders: Sequence[Occluder | None],
    workspace: Workspace,
    models: GenerateModels,
) -> list[FaceJob]:
    """Prepare one job per face that a person takes; each job gets a different seed for its noise."""
    knobs = picture.configure
    return [
        prepare_face_job(
            people[wanted],
            picture.image,
            picture.faces,
            index,
            occluders[index],
            knobs,
            (picture.seed + SEEDS_PER_FACE * index) % SEEDS,
            workspace,
            models,
        )
        for index, wanted in enumerate(assignments)
        if not wanted.nobody
    ]


def portray(
    jobs: Sequence[FaceJob], stages: Sequence[Stage[FaceJob]], picture: Image, context: RunContext
) -> dict[int, Json]:
    """Take all faces through the stages together and paste them into the picture.

    Returns:
        The answer's description of each face, by the face's index in the template.
    """
    models = context.models
    before = [measure_distance_before(job, models) for job in jobs]
    context.take_through(stages, jobs)
    described = {}
    for job, distance in zip(jobs, before, strict=True):
        after = measure_distance_after(job, models)
        described[job.index] = output.describe_face(job.person.user_id, job.face.box, distance, after, models.engine)
        described[job.index] |= {"trained": job.lora is not None, "reference": job.photo.name}
        job.paste(picture)
    return described


def describe_faces(faces: Sequence[Face], described: Mapping[int, Json], models: GenerateModels) -> list[Json]:
    """Return the answer's descriptions of all faces of the template, including those that stay as they are."""
    return [described.get(index, describe_nobody(face, models)) for index, face in enumerate(faces)]


def describe_nobody(face: Face, models: GenerateModels) -> Json:
    """Return the answer's description of a face that stays as it is."""
    nobody = output.describe_face(NOBODY, face.box, None, None, models.engine)
    return nobody | {"trained": None, "reference": None}


def name_enhancer(knobs: GenerateConfigure, anybody: bool, models: GenerateModels) -> str:
    """Return the name of what did the photo enhancement; empty if nothing was enhanced."""
    if not knobs.photo_enhancement_bool or not (anybody or doubles(knobs)):
        return ""
    return models.enhancers.by(knobs.photo_enhancement_method)


def requested_user_id(body: Json) -> object:
    """Return the user_id in the form that the request has it: one id or a list; None if it has only references."""
    configure = body["configure"]
    return configure.get("model_id") if configure.get("user_id") is None else configure["user_id"]
