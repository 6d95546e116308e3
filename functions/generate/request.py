"""The body of a generate request: the template, the people to put into it, and the knobs."""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field

from shared.contract.validation import Body, Reference, UserId

MOST_FACES = 64  # in one picture; each takes seconds, and a picture with more is not a portrait
LONGEST_PROMPT = 2000  # characters of additional_prompt; the text encoders read about 77 words of it
LONGEST_WORD = 64  # characters

Steps = Annotated[int, Field(ge=1, le=200)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


UserIds = Annotated[list[UserId], BeforeValidator(_as_list), Field(min_length=1, max_length=MOST_FACES)]


class GenerateConfigure(Body):
    """The knobs of a portrait, under the names of the contract."""

    user_id: UserIds = Field(
        validation_alias=AliasChoices("user_id", "model_id"), description="one id per face, from left to right"
    )
    sex: Annotated[str, Field(max_length=LONGEST_WORD)] = "secret"
    first_diffusion_steps: Steps = 50
    first_denoising_strength: Share = 0.45
    second_diffusion_steps: Steps = 20
    second_denoising_strength: Share = 0.30
    more_like_me_before: Share = 0.50
    more_like_me: Share = 0.50
    apply_face_fusion_before: bool = True
    apply_face_fusion_after: bool = True
    mask_region: Literal["edge", "face"] = "edge"
    crop_face_preprocess: bool = True
    color_shift_middle: bool = True
    color_shift_last: bool = True
    background_restore: bool = False
    skin_retouching_bool: bool = True
    photo_enhancement_bool: bool = True
    photo_enhancement_method: Literal["photo_fix", "super_resolution"] = "photo_fix"
    makeup_transfer: bool = False
    makeup_transfer_ratio: Share = 0.50
    seed: Seed | None = None
    image_format: Literal["base64", "png"] = "base64"
    additional_prompt: Annotated[str, Field(max_length=LONGEST_PROMPT)] = ""

    @property
    def fuses_before(self) -> bool:
        """Whether the first face fusion changes anything."""
        return self.apply_face_fusion_before and self.more_like_me_before > 0

    @property
    def fuses_after(self) -> bool:
        """Whether the second face fusion changes anything."""
        return self.apply_face_fusion_after and self.more_like_me > 0


class GenerateRequest(Body):
    """A request for one portrait: a template and the people to put into it."""

    request_id: int | str
    template_image: Reference
    configure: GenerateConfigure
