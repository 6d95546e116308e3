"""What is done to the whole picture once all faces are back in it.

| finish | done when | by |
|---|---|---|
| background | background_restore | the bare base model, around all people, the ones left as they are too |
| super-resolution | photo_enhancement_bool with super_resolution | a network, or enlarging and sharpening |
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from functions.generate.background import person_segmentation, repaint
from functions.generate.diffusion.img2img import DiffusionFailed
from functions.generate.face import palette
from functions.generate.models import Studio
from functions.generate.networks.upscale import TIMES, doubled
from functions.generate.request import GenerateConfigure
from functions.generate.template import FIELD
from shared.errors import PhotoTooLarge, PictureFailed
from shared.faces import Face
from shared.imaging.array_types import Image
from shared.models.model_loading import EMBEDDED
from shared.settings import Limits


@dataclass(eq=False)
class Scene:
    """The whole picture on its way.

    Attributes:
        image: RGB, as it is now.
        faces: all of the template.
        seed: of the request.
    """

    image: Image
    faces: Sequence[Face]
    configure: GenerateConfigure
    seed: int


@dataclass(frozen=True)
class Finish:
    """One step; `work` calls back after each of its network `evaluations`."""

    name: str
    work: Callable[[Scene, Studio, Callable[[], None]], None]
    evaluations: int = 0


def planned(configure: GenerateConfigure, shape: tuple[int, ...], studio: Studio) -> list[Finish]:
    """What these knobs ask for, in order, for a template of this shape."""
    painting = repaint.evaluations(shape, studio.most_steps)
    wanted = [
        (configure.background_restore, Finish("background", restore_background, painting)),
        (doubles(configure), Finish("super-resolution", enlarge)),
    ]
    return [finish for asked, finish in wanted if asked]


def doubles(configure: GenerateConfigure) -> bool:
    """Whether the portrait is to have twice the template's size."""
    return configure.photo_enhancement_bool and configure.photo_enhancement_method == "super_resolution"


def check(configure: GenerateConfigure, shape: tuple[int, ...], limits: Limits) -> None:
    """PhotoTooLarge before any work, where the doubled picture would be larger than pictures may be."""
    height, width = TIMES * shape[0], TIMES * shape[1]
    if doubles(configure) and width * height > limits.photo_pixels:
        raise PhotoTooLarge(
            f"super_resolution would make {width} x {height} pixels of the template, more than the limit of "
            f"{limits.photo_pixels}: send a smaller one, or choose photo_fix",
            FIELD,
        )


def warnings(configure: GenerateConfigure, studio: Studio) -> list[str]:
    """What the sender should know of how well it is done here."""
    if not configure.background_restore or studio.base_model != EMBEDDED:
        return []
    return [
        f"background_restore: {EMBEDDED} knows faces alone and changes a background little; "
        "a Stable Diffusion base model (PHOTOG_MODEL__PATH) repaints it"
    ]


def restore_background(scene: Scene, studio: Studio, step_done: Callable[[], None]) -> None:
    """Repaint everything but the people; PictureFailed where the model made values that are no numbers."""
    try:
        repaint.repaint(
            scene.image,
            scene.faces,
            person_segmentation.people(scene.image, scene.faces, studio.enhancers.people),
            studio.diffuser,
            studio.prompts.scene(scene.configure.additional_prompt),
            repaint.denoising(studio.most_steps),
            scene.seed,
            step_done,
            palette.limiting(scene.image, scene.faces),
        )
    except DiffusionFailed as error:
        raise PictureFailed(f"background_restore: {error}", "configure.background_restore") from error


def enlarge(scene: Scene, studio: Studio, step_done: Callable[[], None]) -> None:
    """Double the picture's size; a picture in grey stays one, whatever a network makes of it."""
    grey = palette.is_grey(scene.image)
    scene.image = doubled(scene.image, studio.enhancers.upscale)
    if grey:
        scene.image[..., ::2] = scene.image[..., 1:2]
