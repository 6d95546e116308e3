"""The settings of the page, read from PHOTOG_PAGE__*; PHOTOG_TOKEN is the word that opens it."""

from collections.abc import Iterator

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

SECRET = ("token",)  # settings that are never shown


class PageSettings(BaseSettings):
    """All settings of the page; `PageSettings()` reads the environment."""

    model_config = SettingsConfigDict(env_prefix="PHOTOG_PAGE__", populate_by_name=True)

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        """Leave out the token, wherever settings are printed."""
        return ((name, value) for name, value in super().__repr_args__() if name not in SECRET)

    token: str | None = Field(
        None, validation_alias=AliasChoices("PHOTOG_TOKEN"), description="opens the page; None only works on loopback"
    )
    session_hours: float = Field(12.0, gt=0, description="after a login, how long a browser stays logged in")
    tries_a_minute: int = Field(10, ge=1, description="wrong tokens of all clients together; then logins are refused")
    poll_seconds: float = Field(0.25, gt=0, description="between two looks for answers that somebody waits for")
    index_seconds: float = Field(2.0, gt=0, description="shortest pause between two looks for requests of others")
    index_share: float = Field(
        0.05, gt=0, le=1, description="of one core that looking for requests may take; large buckets are looked at less"
    )
    chart_hours: int = Field(6, ge=1, le=168, description="that the operator's charts show")
