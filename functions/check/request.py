"""The body of a check request."""

from typing import Annotated

from pydantic import Field

from shared.contract.validation import Body, Reference

MOST_IMAGES = 20  # the contract's


class CheckConfigure(Body):
    """The one knob, spelled as the page spells it."""

    face_reconize: bool = False


class CheckRequest(Body):
    """Photos, and whether all of them must show one person."""

    request_id: int | str
    images: Annotated[list[Reference], Field(min_length=1, max_length=MOST_IMAGES)]
    configure: CheckConfigure = CheckConfigure()
