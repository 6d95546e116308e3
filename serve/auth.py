"""Who may call which service: `Authorization: <token>`, as the SDK sends it, or `Bearer <token>`."""

import hmac

from serve.settings import ServeSettings

BEARER = "Bearer "


def is_token_of(settings: ServeSettings, service: str, authorization: str | None) -> bool:
    """Return whether a header opens a service. A wrong token takes as long as the right one."""
    return _same(settings.token_of(service), authorization)


def is_any_token(settings: ServeSettings, authorization: str | None) -> bool:
    """Return whether a header opens at least one service."""
    return any(is_token_of(settings, service, authorization) for service in settings.services)


def _same(token: str | None, authorization: str | None) -> bool:
    """Compare also where there is no token, so that the time reveals nothing."""
    # headers are read as Latin-1 whatever the sender meant; some clients send a non-ASCII token as UTF-8
    given = (authorization or "").removeprefix(BEARER).encode("latin-1", "replace")
    kept = token or ""
    same = [
        hmac.compare_digest(given, kept.encode("utf-8", "surrogateescape")),
        hmac.compare_digest(given, kept.encode("latin-1", "backslashreplace")),
    ]
    return any(same) and bool(token)
