"""The body of a train request."""

from typing import Annotated

from pydantic import AfterValidator, Field

from shared.contract.validation import Body, Reference, UserId

NOBODY = "none"  # in a generate request
LONGEST_WORD = 64
MOST_IMAGES = 50  # the best 20 of them are used; the limit keeps one request from holding a worker for hours


def _somebody(user_id: str) -> str:
    if user_id == NOBODY:
        raise ValueError(f"{NOBODY} leaves a face as it is in generate, so nobody can have that id")
    return user_id


class TrainConfigure(Body):
    """The knobs, as the contract names them."""

    user_id: Annotated[UserId, AfterValidator(_somebody)]
    sex: Annotated[str, Field(max_length=LONGEST_WORD)] = "secret"
    max_train_steps: Annotated[int, Field(ge=1, le=10_000)] = 400
    val_save_checkpointing_steps: Annotated[int, Field(ge=1)] = 50


class TrainRequest(Body):
    """Photos of one person, and who that is."""

    request_id: int | str
    images: Annotated[list[Reference], Field(min_length=1, max_length=MOST_IMAGES)]
    configure: TrainConfigure
