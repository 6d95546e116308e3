"""The stages that the whole picture goes through after all faces are pasted back.

| stage | runs if | what it does |
|---|---|---|
| background | background_restore | repaints all but the people, also those left as they are, without a LoRA |
| super-resolution | photo_enhancement_bool with super_resolution | doubles the size, by a network or by resampling |
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
from shared.models.model_name import EMBEDDED
from shared.settings import Limits


@dataclass(eq=False)
class PictureJob:
    """The whole picture, on its way through the stages.

    Attributes:
        image: the picture so far, RGB, uint8, (H, W, 3).
        faces: all faces of the template, from left to right.
        configure: the knobs of the request.
        seed: the seed of the request.
    """

    image: Image
    faces: Sequence[Face]
    configure: GenerateConfigure
    seed: int

    @property
    def finished(self) -> Image:
        """The picture so far."""
        return self.image


def plan_picture_stages(
    configure: GenerateConfigure, shape: tuple[int, ...], models: GenerateModels
) -> list[Stage[PictureJob]]:
    """Return the stages that these knobs ask for, in order.

    Args:
        configure: the knobs.
        shape: the template's shape, (H, W, 3); the number of network evaluations depends on it.
        models: the resident models.
    """
    painting = repaint.count_evaluations(shape, models.step_count)
    wanted = [
        (configure.background_restore, Stage("background", restore_background, painting)),
        (doubles(configure), Stage("super-resolution", enlarge)),
    ]
    return [stage for enabled, stage in wanted if enabled]


def doubles(configure: GenerateConfigure) -> bool:
    """Return whether the portrait gets twice the template's width and height."""
    return configure.photo_enhancement_bool and configure.photo_enhancement_method == "super_resolution"


def check_size(configure: GenerateConfigure, shape: tuple[int, ...], limits: Limits) -> None:
    """Check, before any work is done, that the doubled picture is not too large.

    Raises:
        PhotoTooLarge: it would have more pixels than the limit.
    """
    height, width = TIMES * shape[0], TIMES * shape[1]
    if doubles(configure) and width * height > limits.photo_pixels:
        raise PhotoTooLarge(
            f"super_resolution would enlarge the template to {width} x {height} pixels, more than the limit of "
            f"{limits.photo_pixels}: send a smaller template, or choose photo_fix",
            FIELD,
        )


def list_warnings(configure: GenerateConfigure, models: GenerateModels) -> list[str]:
    """Return warnings about stages that this base model cannot do well."""
    if not configure.background_restore or models.base_model != EMBEDDED:
        return []
    return [
        f"background_restore: {EMBEDDED} knows only faces and hardly changes a background; "
        "to repaint it, set PHOTOG_MODEL__PATH to a Stable Diffusion base model"
    ]


def restore_background(jobs: Sequence[PictureJob], models: GenerateModels, advance: Advance) -> None:
    """Repaint everything but the people.

    Raises:
        PictureFailed: the model's output has values that are not finite.
    """
    for job in jobs:
        try:
            repaint.repaint_background(
                job.image,
                job.faces,
                person_segmentation.segment_people(job.image, job.faces, models.enhancers.people),
                models.diffuser,
                models.prompt_cache.scene(job.configure.additional_prompt),
                repaint.plan_denoising(models.step_count),
                job.seed,
                partial(advance, 1),
                limiting_palette(job.image, job.faces),
            )
        except DiffusionFailed as error:
            raise PictureFailed(f"background_restore: {error}", "configure.background_restore") from error


def enlarge(jobs: Sequence[PictureJob], models: GenerateModels, advance: Advance) -> None:
    """Double the picture's size; a gray picture stays gray, even if the network returns colors."""
    for job in jobs:
        gray = is_gray(job.image)
        job.image = upscale_2x(job.image, models.enhancers.upscale)
        if gray:
            job.image[..., ::2] = job.image[..., 1:2]
