"""User ids on the command line, checked before anything is sent or removed."""

from shared.cli.console import fail
from shared.contract.validation import user_id


def require_user(value: str) -> None:
    """Exit if the value cannot be a user id."""
    try:
        user_id(value)
    except ValueError as error:
        fail(f"{value!r} is not a user id; it {error}")
