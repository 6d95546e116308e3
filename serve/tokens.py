"""Who may call which service: `Authorization: <token>`, as the SDK sends it, or `Bearer <token>`."""

import hmac

from serve.settings import ServeSettings

BEARER = "Bearer "


def opens(settings: ServeSettings, service: str, authorization: str | None) -> bool:
    """Whether a header opens a service. Takes as long for a wrong token as for the right one."""
    token = settings.token_of(service)
    given = (authorization or "").removeprefix(BEARER)
    # compared also where there is no token, so that nothing can be learnt from the time
    same = hmac.compare_digest(given.encode(), (token or "").encode())
    return same and bool(token)
