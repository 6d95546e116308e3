"""The body of a train request."""

from typing import Annotated

from pydantic import AfterValidator, Field

from shared.contract.request import IfAnotherPerson, Request
from shared.contract.validation import Body, Reference, UserId, somebody

LONGEST_WORD = 64  # characters
MOST_IMAGES = 50  # only the best 20 are used; the limit keeps one request from occupying a worker for hours


class TrainConfigure(Body):
    """The knobs of a training, named as in the contract."""

    user_id: Annotated[UserId, AfterValidator(somebody)]
    sex: Annotated[str, Field(max_length=LONGEST_WORD)] = "secret"
    another_person: IfAnotherPerson = "warn"
    max_train_steps: Annotated[int, Field(ge=0, le=10_000, description="0 keeps the photos without a training")] = 400
    val_save_checkpointing_steps: Annotated[int, Field(ge=1)] = 50


class TrainRequest(Request):
    """The photos of one person, and the knobs with the person's user id."""

    images: Annotated[list[Reference], Field(min_length=1, max_length=MOST_IMAGES)]
    configure: TrainConfigure
