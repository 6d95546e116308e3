"""Who may call which service: `Authorization: <token>`, as the SDK sends it, or `Bearer <token>`."""

import hmac

from serve.settings import ServeSettings

BEARER = "Bearer "


def is_token_of(settings: ServeSettings, service: str, authorization: str | None) -> bool:
    """Whether a header opens a service. Takes as long for a wrong token as for the right one."""
    return _same(settings.token_of(service), authorization)


def is_any_token(settings: ServeSettings, authorization: str | None) -> bool:
    """Whether a header opens one of the services."""
    return any(is_token_of(settings, service, authorization) for service in settings.services)


def _same(token: str | None, authorization: str | None) -> bool:
    """Compared also where there is no token, so that nothing can be learned from the time."""
    # a header is read as Latin-1 whatever its sender meant; a token beyond ASCII is sent by some as UTF-8
    given = (authorization or "").removeprefix(BEARER).encode("latin-1", "replace")
    kept = token or ""
    same = [
        hmac.compare_digest(given, kept.encode("utf-8", "surrogateescape")),
        hmac.compare_digest(given, kept.encode("latin-1", "backslashreplace")),
    ]
    return any(same) and bool(token)
