"""Tokens of callers over HTTP: `Authorization: <token>`, as the hosted product's SDK sends it, or `Bearer <token>`."""

import hmac

BEARER = "Bearer "


def is_same_token(kept: str | None, authorization: str | None) -> bool:
    """Return whether a header holds the token. It takes as long if it does not, or if there is none, as if it does."""
    # headers are read as Latin-1 whatever the sender meant; some clients send a non-ASCII token as UTF-8
    given = (authorization or "").removeprefix(BEARER).encode("latin-1", "replace")
    text = kept or ""
    same = [
        hmac.compare_digest(given, text.encode("utf-8", "surrogateescape")),
        hmac.compare_digest(given, text.encode("latin-1", "backslashreplace")),
    ]
    return any(same) and bool(text)
