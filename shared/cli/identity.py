"""A person's id on the command line, refused before anything is sent or removed for it."""

from shared.cli.console import fail
from shared.contract.validation import user_id


def require_user(value: str) -> None:
    """The end of the program for what can be nobody's id."""
    try:
        user_id(value)
    except ValueError as error:
        fail(f"{value!r} is no user id; it {error}")
