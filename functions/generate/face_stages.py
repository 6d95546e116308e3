"""The stages that the faces go through, in order.

Most stages work on one face after the other; a diffusion takes up to `generate.faces_at_once` faces in one batch.

| stage | runs if | what it does |
|---|---|---|
| fusion 1 | apply_face_fusion_before, more_like_me_before > 0 | blends in the person's photo, warped and relit |
| diffusion 1 | first_denoising_strength x first_diffusion_steps >= 1 | repaints the whole face with the LoRA |
| color 1 | color_shift_middle | balances the face's color against the template's skin |
| fusion 2 | apply_face_fusion_after, more_like_me > 0 | blends in the same photo again |
| diffusion 2 | second_denoising_strength x second_diffusion_steps >= 1 | repaints `mask_region` with the LoRA |
| color 2 | color_shift_last | balances the color again, without eyes and lips |
| makeup | makeup_transfer, makeup_transfer_ratio > 0 | carries over the make-up of lips, lids and cheeks |
| retouch | skin_retouching_bool | smooths the skin, but keeps pores and edges |
| enhance | photo_enhancement_bool with photo_fix | restores detail by a network, or up to the template's sharpness |
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from functions.generate.diffusion.img2img import Denoising, DiffusionFailed
from functions.generate.diffusion.inpaint_region import InpaintRegion
from functions.generate.face import masks
from functions.generate.face.landmarks import face_width
from functions.generate.face_job import FaceJob
from functions.generate.fusion.blend_weights import BlendWeights, measure_precedence
from functions.generate.models import GenerateModels
from functions.generate.request import GenerateConfigure
from functions.generate.retouching.color_balance import balance_color
from functions.generate.retouching.makeup import transfer_makeup
from functions.generate.retouching.restoration import restore_face
from functions.generate.retouching.sharpen import sharpen
from functions.generate.retouching.skin_retouching import EVENING, retouch_skin
from functions.generate.stages import Advance, Stage
from shared.errors import PictureFailed
from shared.imaging.array_types import Mask
from shared.models.step_count import StepCount

Work = Callable[[Sequence[FaceJob], GenerateModels, Advance], None]


def for_each_face(work: Callable[[FaceJob], None]) -> Work:
    """Make a stage's work out of work on a single face that needs no model."""

    def work_on_all(jobs: Sequence[FaceJob], models: GenerateModels, advance: Advance) -> None:
        for job in jobs:
            work(job)

    return work_on_all


def plan_face_stages(configure: GenerateConfigure, count: StepCount) -> list[Stage[FaceJob]]:
    """Return the stages that these knobs ask for, in order; stages that would change nothing are left out.

    After each stage a face has no more color than the template's palette allows.

    Args:
        configure: the knobs.
        count: the rule by which the base model counts steps.
    """
    first, second = first_denoising(configure, count).effective, second_denoising(configure, count).effective
    wanted = [
        (configure.fuses_before, Stage("fusion-1", for_each_face(fuse_first))),
        (first > 0, Stage("diffusion-1", diffuse_first, first)),
        (configure.color_shift_middle, Stage("color-1", for_each_face(balance_middle))),
        (configure.fuses_after, Stage("fusion-2", for_each_face(fuse_second))),
        (second > 0, Stage("diffusion-2", diffuse_second, second)),
        (configure.color_shift_last, Stage("color-2", for_each_face(balance_last))),
        (configure.makeup_transfer and configure.makeup_transfer_ratio > 0, Stage("makeup", for_each_face(make_up))),
        (configure.skin_retouching_bool, Stage("retouch", for_each_face(retouch))),
        (
            configure.photo_enhancement_bool and configure.photo_enhancement_method == "photo_fix",
            Stage("enhance", fix_photo),
        ),
    ]
    return [replace(stage, work=keep_to_palette(stage.work)) for enabled, stage in wanted if enabled]


def keep_to_palette(work: Work) -> Work:
    """Return the same work, followed by limiting every face to its template's palette."""

    def work_and_limit(jobs: Sequence[FaceJob], models: GenerateModels, advance: Advance) -> None:
        work(jobs, models, advance)
        for job in jobs:
            job.image = job.original.palette.limit_tint(job.image, job.template)

    return work_and_limit


def first_denoising(configure: GenerateConfigure, count: StepCount) -> Denoising:
    """Return the steps and strength of the first diffusion, from its knobs."""
    return Denoising(configure.first_diffusion_steps, configure.first_denoising_strength, "first", count)


def second_denoising(configure: GenerateConfigure, count: StepCount) -> Denoising:
    """Return the steps and strength of the second diffusion, from its knobs."""
    return Denoising(configure.second_diffusion_steps, configure.second_denoising_strength, "second", count)


def fuse_first(job: FaceJob) -> None:
    """Do the first face fusion, to the degree `more_like_me_before`; what a second one draws anew is done roughly."""
    configure = job.configure
    rough = configure.fuses_after and BlendWeights.of(configure.more_like_me).draws_anew
    _fuse(job, configure.more_like_me_before, rough)


def fuse_second(job: FaceJob) -> None:
    """Do the second face fusion, to the degree `more_like_me`."""
    _fuse(job, job.configure.more_like_me)


def diffuse_first(jobs: Sequence[FaceJob], models: GenerateModels, advance: Advance) -> None:
    """Do the first diffusion: repaint the whole face."""
    painted = [_region_of(job, masks.whole(job.landmarks, job.image.shape[:2]), job.seed, models) for job in jobs]
    _repaint(jobs, painted, first_denoising(jobs[0].configure, models.step_count), models, advance)


def diffuse_second(jobs: Sequence[FaceJob], models: GenerateModels, advance: Advance) -> None:
    """Do the second diffusion: repaint the edges of the face, the eyes and the lips, or the whole face."""
    region = masks.edge if jobs[0].configure.mask_region == "edge" else masks.whole
    # not the first diffusion's seed: the same noise would lay its pattern over itself
    seeds = [(job.seed + 1) % 2**32 for job in jobs]
    painted = [
        _region_of(job, region(job.landmarks, job.image.shape[:2]), seed, models)
        for job, seed in zip(jobs, seeds, strict=True)
    ]
    _repaint(jobs, painted, second_denoising(jobs[0].configure, models.step_count), models, advance)


def balance_middle(job: FaceJob) -> None:
    """Do the first color balance, on the whole face."""
    _balance(job, skin_only=False)


def balance_last(job: FaceJob) -> None:
    """Do the second color balance, on the skin only; where the person comes first, contrasts stay theirs."""
    _balance(job, skin_only=True, contrast=1 - _precedence(job))


def make_up(job: FaceJob) -> None:
    """Carry the template's make-up over, to the degree `makeup_transfer_ratio`."""
    ratio = job.configure.makeup_transfer_ratio
    job.image = transfer_makeup(job.image, job.landmarks, job.template_view, ratio, job.editable, job.frames)


def retouch(job: FaceJob) -> None:
    """Smooth the skin; where the person comes first, only its spots."""
    evening = EVENING * (1 - _precedence(job))
    job.image = retouch_skin(job.image, job.landmarks, job.editable, job.frames, evening)


def fix_photo(jobs: Sequence[FaceJob], models: GenerateModels, advance: Advance) -> None:
    """Restore the faces' detail with the configured network, or without one up to the template's sharpness."""
    network = models.enhancers.face
    for job in jobs:
        if network is None:
            if job.draws_photo and job.photo.is_faint(face_width(job.template_landmarks)):
                continue
            job.image = sharpen(job.image, job.landmarks, job.template_view, job.editable, job.frames)
        else:
            restored = restore_face(job.image, job.landmarks, network, models.engine, job.editable, job.frames)
            job.image = job.original.palette.scale_changes(restored, job.image)


def _fuse(job: FaceJob, degree: float, rough: bool = False) -> None:
    fused = job.fuser.fuse(
        job.image,
        job.landmarks,
        job.photo,
        degree,
        job.editable,
        job.frames,
        job.original,
        job.mesh,
        job.hair,
        rough,
    )
    job.image, job.landmarks, job.frames = fused.image, fused.landmarks, fused.frames
    job.mesh, job.hair = fused.mesh, fused.hair


def _precedence(job: FaceJob) -> float:
    """Return how far the person comes before the blend, 0 to 1, by the last fusion."""
    configure = job.configure
    if configure.fuses_after:
        return measure_precedence(configure.more_like_me)
    return measure_precedence(configure.more_like_me_before) if configure.fuses_before else 0.0


def _region_of(job: FaceJob, region: Mask, seed: int, models: GenerateModels) -> InpaintRegion:
    reference = job.cut_photo(models.framing, models.diffuser.working.size) if models.refers_to_person else None
    return InpaintRegion(job.image, job.square, region * job.editable, job.landmarks, job.words, seed, reference)


def _repaint(
    jobs: Sequence[FaceJob],
    canvases: Sequence[InpaintRegion],
    denoising: Denoising,
    models: GenerateModels,
    advance: Advance,
) -> None:
    most = models.settings.generate.faces_at_once
    for start in range(0, len(jobs), most):
        group = jobs[start : start + most]
        done = partial(advance, len(group))
        with models.lora_cache.activate([job.lora for job in group]):
            try:
                painted = models.diffuser.repaint(canvases[start : start + most], denoising, done)
            except DiffusionFailed as error:
                raise _picture_failed(error, group) from error
        for job, image in zip(group, painted, strict=True):
            job.image = job.original.palette.scale_changes(image, job.image)


def _picture_failed(error: DiffusionFailed, jobs: Sequence[FaceJob]) -> PictureFailed:
    """Return the error that answers the request; it names the people whose faces failed."""
    whose = list(dict.fromkeys(jobs[index].person for index in error.canvases))
    names = ", ".join(person.name for person in whose)
    return PictureFailed(f"the diffusion produced no picture of {names}: {error}", whose[0].field)


def _balance(job: FaceJob, skin_only: bool, contrast: float = 1.0) -> None:
    job.image = balance_color(job.image, job.landmarks, job.original, job.editable, skin_only, contrast)
