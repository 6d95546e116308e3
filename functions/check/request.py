"""The body of a check request."""

from typing import Annotated

from pydantic import Field

from shared.contract.request import Request
from shared.contract.validation import Body, Reference

MOST_IMAGES = 20  # as in the contract


class CheckConfigure(Body):
    """The knob of a check, spelled as on the product page."""

    face_reconize: bool = False


class CheckRequest(Request):
    """The photos, and whether they must all show the same person."""

    images: Annotated[list[Reference], Field(min_length=1, max_length=MOST_IMAGES)]
    configure: CheckConfigure = CheckConfigure()
