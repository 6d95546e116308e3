"""The stages that the whole picture goes through once all faces are back in it.

| stage | done when | by |
|---|---|---|
| background | background_restore | the bare base model, around all people, the ones left as they are too |
| super-resolution | photo_enhancement_bool with super_resolution | a network, or enlarging and sharpening |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from functions.generate.background import person_segmentation, repaint
from functions.generate.diffusion.img2img import DiffusionFailed
from functions.generate.face.palette import is_gray
from functions.generate.face.picture_palette import limiting_palette
from functions.generate.models import GenerateModels
from functions.generate.networks.upscale import TIMES, upscale_2x
from functions.generate.request import GenerateConfigure
from functions.generate.stages import Advance, Stage
from functions.generate.template import FIELD
from shared.errors import PhotoTooLarge, PictureFailed
from shared.faces import Face
from shared.imaging.array_types import Image
from shared.models.model_loading import EMBEDDED
from shared.settings import Limits


@dataclass(eq=False)
class PictureJob:
    """The whole picture on its way.

    Attributes:
        image: RGB, as it is now.
        faces: all of the template, from left to right.
        configure: the knobs of the request.
        seed: of the request.
    """

    image: Image
    faces: Sequence[Face]
    configure: GenerateConfigure
    seed: int


def plan_picture_stages(
    configure: GenerateConfigure, shape: tuple[int, ...], models: GenerateModels
) -> list[Stage[PictureJob]]:
    """What these knobs ask for, in order, for a template of this shape."""
    painting = repaint.count_evaluations(shape, models.most_steps)
    wanted = [
        (configure.background_restore, Stage("background", restore_background, painting)),
        (doubles(configure), Stage("super-resolution", enlarge)),
    ]
    return [stage for asked, stage in wanted if asked]


def doubles(configure: GenerateConfigure) -> bool:
    """Whether the portrait is to have twice the template's size."""
    return configure.photo_enhancement_bool and configure.photo_enhancement_method == "super_resolution"


def check_size(configure: GenerateConfigure, shape: tuple[int, ...], limits: Limits) -> None:
    """PhotoTooLarge before any work, where the doubled picture would be larger than pictures may be."""
    height, width = TIMES * shape[0], TIMES * shape[1]
    if doubles(configure) and width * height > limits.photo_pixels:
        raise PhotoTooLarge(
            f"super_resolution would make {width} x {height} pixels of the template, more than the limit of "
            f"{limits.photo_pixels}: send a smaller one, or choose photo_fix",
            FIELD,
        )


def list_warnings(configure: GenerateConfigure, models: GenerateModels) -> list[str]:
    """What the sender should know of how well it is done here."""
    if not configure.background_restore or models.base_model != EMBEDDED:
        return []
    return [
        f"background_restore: {EMBEDDED} knows faces alone and changes a background little; "
        "a Stable Diffusion base model (PHOTOG_MODEL__PATH) repaints it"
    ]


def restore_background(jobs: Sequence[PictureJob], models: GenerateModels, advance: Advance) -> None:
    """Repaint everything but the people; PictureFailed where the model made values that are no numbers."""
    for job in jobs:
        try:
            repaint.repaint_background(
                job.image,
                job.faces,
                person_segmentation.segment_people(job.image, job.faces, models.enhancers.people),
                models.diffuser,
                models.prompt_cache.scene(job.configure.additional_prompt),
                repaint.plan_denoising(models.most_steps),
                job.seed,
                partial(advance, 1),
                limiting_palette(job.image, job.faces),
            )
        except DiffusionFailed as error:
            raise PictureFailed(f"background_restore: {error}", "configure.background_restore") from error


def enlarge(jobs: Sequence[PictureJob], models: GenerateModels, advance: Advance) -> None:
    """Double the picture's size; a picture in gray stays one, whatever a network makes of it."""
    for job in jobs:
        gray = is_gray(job.image)
        job.image = upscale_2x(job.image, models.enhancers.upscale)
        if gray:
            job.image[..., ::2] = job.image[..., 1:2]
