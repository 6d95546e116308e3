"""The knobs of trainings and portraits, for editors and type checkers; docs/requests.md says what each does."""

from typing import Literal, TypedDict


class TrainKnobs(TypedDict, total=False):
    """The knobs of `configure` of train, besides the user_id."""

    sex: str
    another_person: Literal["warn", "refuse", "replace"]
    max_train_steps: int
    val_save_checkpointing_steps: int


class GenerateKnobs(TypedDict, total=False):
    """The knobs of `configure` of generate, besides the people."""

    sex: str
    another_person: Literal["warn", "refuse", "replace"]
    first_diffusion_steps: int
    first_denoising_strength: float
    second_diffusion_steps: int
    second_denoising_strength: float
    more_like_me_before: float
    more_like_me: float
    apply_face_fusion_before: bool
    apply_face_fusion_after: bool
    mask_region: Literal["edge", "face"]
    crop_face_preprocess: bool
    color_shift_middle: bool
    color_shift_last: bool
    background_restore: bool
    skin_retouching_bool: bool
    photo_enhancement_bool: bool
    photo_enhancement_method: Literal["photo_fix", "super_resolution"]
    makeup_transfer: bool
    makeup_transfer_ratio: float
    seed: int | None
    image_format: Literal["base64", "png"]
    additional_prompt: str
