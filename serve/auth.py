"""Who may call which service."""

from serve.settings import ServeSettings
from shared.runtime.tokens import is_same_token


def is_token_of(settings: ServeSettings, service: str, authorization: str | None) -> bool:
    """Return whether a header opens a service. A wrong token takes as long as the right one."""
    return is_same_token(settings.token_of(service), authorization)


def is_any_token(settings: ServeSettings, authorization: str | None) -> bool:
    """Return whether a header opens at least one service."""
    return any(is_token_of(settings, service, authorization) for service in settings.services)
