"""The forms of references that messages, logs and answers may show; see `shared.contract.references`."""

from shared.contract.references import (
    CUT,
    NAME,
    NAMELESS_SECRET,
    SHOWN,
    shorten_reference,
    show_host,
    show_reference,
    split_store_url,
    strip_secrets,
)

__all__ = [
    "CUT",
    "NAME",
    "NAMELESS_SECRET",
    "SHOWN",
    "shorten_reference",
    "show_host",
    "show_reference",
    "split_store_url",
    "strip_secrets",
]
