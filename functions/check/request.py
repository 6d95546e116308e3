"""The body of a check request."""

from typing import Annotated

from pydantic import AfterValidator, Field

from shared.contract.request import Request
from shared.contract.validation import Body, Reference, UserId, somebody

MOST_IMAGES = 20  # as in the contract


UNOWNED = "configure.user_id is not given, so forgetting a person does not reach this check"
"""Warning of an answer."""


class CheckConfigure(Body):
    """The knob of a check, spelled as on the product page, and the person whose photos they are."""

    face_reconize: bool = False
    user_id: Annotated[UserId, AfterValidator(somebody)] | None = None


class CheckRequest(Request):
    """The photos, and whether they must all show the same person."""

    images: Annotated[list[Reference], Field(min_length=1, max_length=MOST_IMAGES)]
    configure: CheckConfigure = CheckConfigure()
