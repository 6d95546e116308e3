"""The stages that one face goes through, in their order; each takes the job and leaves it further on.

| stage | done when | by |
|---|---|---|
| fusion 1 | apply_face_fusion_before, more_like_me_before > 0 | the person's photo, bent and lit |
| diffusion 1 | first_denoising_strength x first_diffusion_steps >= 1 | the LoRA, on the whole face |
| colour 1 | color_shift_middle | the template's skin |
| fusion 2 | apply_face_fusion_after, more_like_me > 0 | the same photo again |
| diffusion 2 | second_denoising_strength x second_diffusion_steps >= 1 | the LoRA, on `mask_region` |
| colour 2 | color_shift_last | the template's skin, eyes and lips left out |
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from functions.generate import mask
from functions.generate.color import balance
from functions.generate.diffusion import Denoising, Diffuser, Words
from functions.generate.fusion import Portrayal, fuse
from functions.generate.request import GenerateConfigure
from shared.faces import Box
from shared.images import Image, Mask, Points


@dataclass(eq=False)
class FaceJob:
    """One face on its way.

    Attributes:
        template, template_landmarks: the crop as it was, RGB, and its face, (68, 2).
        image, landmarks: the crop as it is now.
        frames: mask, where the template's glasses have their frames.
        photo: of the person, the nearest in pose and expression.
        free: mask, 0 on the other faces of the picture; nothing may change there.
        square: what the diffusion sees, in pixels of the crop.
        words: for the diffusion.
        worn: makes the diffusion model wear the person's LoRA.
        seed: of this face's noise.
    """

    template: Image
    template_landmarks: Points
    image: Image
    landmarks: Points
    frames: Mask
    photo: Portrayal
    free: Mask
    square: Box
    words: Words
    worn: Callable[[], AbstractContextManager[None]]
    seed: int
    configure: GenerateConfigure


@dataclass(frozen=True)
class Stage:
    """One step of the way.

    Attributes:
        name: for progress and for the files of `keep_stages`.
        work: does it; the callable is to be called after each network evaluation.
        evaluations: of the network, for progress.
    """

    name: str
    work: Callable[[FaceJob, Diffuser, Callable[[], None]], None]
    evaluations: int = 0


def planned(configure: GenerateConfigure) -> list[Stage]:
    """The stages that these knobs ask for, in order; those that would change nothing are left out."""
    first = Denoising(configure.first_diffusion_steps, configure.first_denoising_strength, 0).effective
    second = Denoising(configure.second_diffusion_steps, configure.second_denoising_strength, 0).effective
    wanted = [
        (configure.apply_face_fusion_before and configure.more_like_me_before > 0, Stage("fusion-1", fuse_first)),
        (first > 0, Stage("diffusion-1", diffuse_first, first)),
        (configure.color_shift_middle, Stage("colour-1", balance_middle)),
        (configure.apply_face_fusion_after and configure.more_like_me > 0, Stage("fusion-2", fuse_second)),
        (second > 0, Stage("diffusion-2", diffuse_second, second)),
        (configure.color_shift_last, Stage("colour-2", balance_last)),
    ]
    return [stage for asked, stage in wanted if asked]


def fuse_first(job: FaceJob, diffuser: Diffuser, step_done: Callable[[], None]) -> None:
    """The first face fusion, by `more_like_me_before`."""
    _fuse(job, job.configure.more_like_me_before)


def fuse_second(job: FaceJob, diffuser: Diffuser, step_done: Callable[[], None]) -> None:
    """The second face fusion, by `more_like_me`."""
    _fuse(job, job.configure.more_like_me)


def diffuse_first(job: FaceJob, diffuser: Diffuser, step_done: Callable[[], None]) -> None:
    """The first diffusion: the whole face."""
    knobs = job.configure
    denoising = Denoising(knobs.first_diffusion_steps, knobs.first_denoising_strength, job.seed)
    _repaint(job, diffuser, mask.whole(job.landmarks, job.image.shape[:2]), denoising, step_done)


def diffuse_second(job: FaceJob, diffuser: Diffuser, step_done: Callable[[], None]) -> None:
    """The second diffusion: the edges of the face with eyes and lips, or all of it."""
    knobs = job.configure
    region = mask.edge if knobs.mask_region == "edge" else mask.whole
    # other noise than the first time, else its pattern would be laid over itself
    denoising = Denoising(knobs.second_diffusion_steps, knobs.second_denoising_strength, (job.seed + 1) % 2**32)
    _repaint(job, diffuser, region(job.landmarks, job.image.shape[:2]), denoising, step_done)


def balance_middle(job: FaceJob, diffuser: Diffuser, step_done: Callable[[], None]) -> None:
    """The first colour balance: the whole face."""
    _balance(job, skin_only=False)


def balance_last(job: FaceJob, diffuser: Diffuser, step_done: Callable[[], None]) -> None:
    """The second colour balance: the skin."""
    _balance(job, skin_only=True)


def _fuse(job: FaceJob, degree: float) -> None:
    fused = fuse(job.image, job.landmarks, job.photo, degree, job.free, job.frames)
    job.image, job.landmarks, job.frames = fused.image, fused.landmarks, fused.frames


def _repaint(
    job: FaceJob, diffuser: Diffuser, region: Mask, denoising: Denoising, step_done: Callable[[], None]
) -> None:
    with job.worn():
        job.image = diffuser.repaint(job.image, job.square, region * job.free, job.words, denoising, step_done)


def _balance(job: FaceJob, skin_only: bool) -> None:
    job.image = balance(job.image, job.landmarks, job.template, job.template_landmarks, job.free, skin_only)
