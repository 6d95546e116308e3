"""The body of a generate request: the template, the people to put into it, and the knobs."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from shared.contract.manifests import NOBODY
from shared.contract.request import IfAnotherPerson, Request
from shared.contract.validation import Body, Reference, UserId

MOST_FACES = 64  # in one picture; each takes seconds, and a picture with more is not a portrait
MOST_REFERENCES = 20  # pictures of one person, as in a check
MOST_REFERENCES_TOGETHER = 100  # of all people of a request; each takes up to a second, and 3 MB of memory
LONGEST_PROMPT = 2000  # characters of additional_prompt; the text encoders read about 77 words of it
LONGEST_WORD = 64  # characters

Steps = Annotated[int, Field(ge=1, le=200)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_lists(value: Any) -> Any:
    """Return one list of pictures per face, from one picture, one list, or a list of lists with null for an empty one.

    What is none of these is returned as it is, for pydantic to refuse.
    """
    value = _as_list(value)
    if not isinstance(value, list):
        return value
    if any(isinstance(one, list) or one is None for one in value):
        return [[] if one is None else one for one in value]
    return [value]


Pictures = Annotated[list[Reference], Field(max_length=MOST_REFERENCES)]
UserIds = Annotated[
    list[UserId | None],
    BeforeValidator(_as_list, json_schema_input_type=UserId | list[UserId | None]),
    Field(min_length=1, max_length=MOST_FACES),
]
References = Annotated[
    list[Pictures],
    BeforeValidator(_as_lists, json_schema_input_type=Reference | Pictures | list[Pictures | None]),
    Field(max_length=MOST_FACES),
]


@dataclass(frozen=True)
class FaceAssignment:
    """Who takes one face of the template.

    Attributes:
        user_id: a user; `NOBODY` if the face stays as it is; None for somebody who is known by pictures alone.
        references: pictures of the person, which are kept under the `user_id` if there is one. Empty for a user who is
            known already.
    """

    user_id: str | None
    references: tuple[str, ...] = ()

    @property
    def nobody(self) -> bool:
        """Whether the face stays as it is."""
        return self.user_id == NOBODY


class GenerateConfigure(Body):
    """The knobs of a portrait, under the names of the contract."""

    references: References = Field(
        [], validate_default=True, description="pictures of a person who needs no training; for several, one list each"
    )
    user_id: UserIds | None = Field(
        None,
        validate_default=True,
        validation_alias=AliasChoices("user_id", "model_id"),
        description="one id per face, from left to right; null where the person is known by `references` alone",
    )
    sex: Annotated[str, Field(max_length=LONGEST_WORD)] = "secret"
    another_person: IfAnotherPerson = "warn"
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

    @field_validator("references")
    @classmethod
    def _limit_references(cls, value: list[list[str]]) -> list[list[str]]:
        """Check the number of all pictures; lists that are all empty are like none."""
        together = sum(map(len, value))
        if together > MOST_REFERENCES_TOGETHER:
            raise ValueError(f"{together} pictures; of all people together there may be {MOST_REFERENCES_TOGETHER}")
        return value if together else []

    @field_validator("user_id")
    @classmethod
    def _match_references(cls, value: list[str | None] | None, info: ValidationInfo) -> list[str | None] | None:
        """Check that each face has somebody; `references` was validated before, and is missing if it is wrong."""
        if "references" in info.data:
            _match(value, info.data["references"])
        return value

    @property
    def fuses_before(self) -> bool:
        """Whether the first face fusion changes anything."""
        return self.apply_face_fusion_before and self.more_like_me_before > 0

    @property
    def fuses_after(self) -> bool:
        """Whether the second face fusion changes anything."""
        return self.apply_face_fusion_after and self.more_like_me > 0

    @property
    def assignments(self) -> list[FaceAssignment]:
        """Who takes each face of the template, from left to right."""
        lists = self.references or [[]] * len(self.user_id or [])
        user_ids = self.user_id or [None] * len(lists)
        given = {user_id: tuple(pictures) for user_id, pictures in zip(user_ids, lists, strict=True) if pictures}
        return [
            FaceAssignment(user_id, tuple(pictures) if user_id is None else given.get(user_id, ()))
            for user_id, pictures in zip(user_ids, lists, strict=True)
        ]


def _match(user_ids: list[str | None] | None, lists: list[list[str]]) -> None:
    """Raise ValueError unless ids and lists of references together say who takes each face."""
    if not lists:
        if user_ids is None:
            raise PydanticCustomError("missing", "name a user, or give pictures of the person in configure.references")
        lists = [[]] * len(user_ids)
    if user_ids is None:
        user_ids = [None] * len(lists)
    if len(user_ids) != len(lists):
        raise ValueError(
            f"{len(user_ids)} ids, but configure.references has {len(lists)} lists of pictures: give as many, one per "
            f"face from left to right, and an empty list for a known user and for {NOBODY!r}"
        )
    given: dict[str, list[str]] = {}
    for number, (user_id, pictures) in enumerate(zip(user_ids, lists, strict=True), 1):
        if user_id is None and not pictures:
            raise ValueError(f"nobody takes face {number}: it has neither an id nor pictures in configure.references")
        if user_id == NOBODY and pictures:
            raise ValueError(f"{NOBODY!r} leaves face {number} as it is, but configure.references has pictures for it")
        if user_id is not None and pictures and given.setdefault(user_id, pictures) != pictures:
            raise ValueError(f"{user_id} has two different lists of pictures in configure.references")


class GenerateRequest(Request):
    """A request for one portrait: a template and the people to put into it."""

    template_image: Reference
    configure: GenerateConfigure
