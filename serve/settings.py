"""The settings of the queue server, read from PHOTOG_SERVE__*; PHOTOG_TOKEN is the token for all services."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

ServiceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]  # part of keys and paths
SECRET = ("token", "tokens")  # settings that are never shown

FunctionName = Literal["check", "train", "generate"]

PAGE_SERVICES: dict[str, FunctionName] = {
    "photog_check": "check",
    "photog_train_pmml": "train",
    "photog_pre_pmml": "generate",
}


class ServeSettings(BaseSettings):
    """All settings of the server; `ServeSettings()` reads the environment."""

    model_config = SettingsConfigDict(env_prefix="PHOTOG_SERVE__", populate_by_name=True)

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        """Leave out the tokens, wherever settings are printed."""
        return ((name, value) for name, value in super().__repr_args__() if name not in SECRET)

    token: str | None = Field(
        None,
        validation_alias=AliasChoices("PHOTOG_TOKEN"),
        description="opens every service that has no token of its own",
    )
    tokens: dict[str, str] = Field({}, description="a token per service, by name; such a service takes no other")
    services: dict[ServiceName, FunctionName] = Field(
        PAGE_SERVICES, description="function by service name; the default is the hosted product's"
    )
    state: Path | None = Field(None, description="folder of the SQLite file; None makes one per bucket below the home")
    longest_queue: int = Field(100_000, ge=1, description="unanswered puts of a service; one more is refused with 429")
    reply_bytes: int = Field(
        64 * 1024 * 1024, ge=1, description="all entries of one get, which returns at least one; bounds the memory"
    )
    poll_seconds: float = Field(
        0.5, gt=0, description="longest pause between two looks for answers; a busy service is looked at more often"
    )
    longest_lead: int = Field(
        64, ge=1, description="most manifests released ahead of the workers, however fast they are"
    )
    reconnect_seconds: float = Field(
        5.0, ge=0, description="after a start, how long uncommitted entries are kept for their consumer"
    )
    longest_poll_seconds: float = Field(600.0, gt=0, description="the longest that a get may wait")
    watchers: int = Field(200, ge=1, description="WebSockets at once; one more is refused with 503")
    connections: int = Field(
        1000, ge=1, description="open at once; beyond it, those that have sent no request are closed"
    )
    head_seconds: float = Field(
        10.0, gt=0, description="time for a request's head to arrive; then its connection is closed"
    )
    body_seconds: float = Field(
        120.0, gt=0, description="time for a body to arrive, or an answer to be read; 20 MB at 170 KB/s"
    )
    bytes_at_once: int = Field(
        64 * 1024 * 1024,
        ge=1,
        description="all bodies that come in, and as much for all answers that go out; further calls wait",
    )
    turn_seconds: float = Field(10.0, gt=0, description="how long such calls wait before they are refused with 503")
    cors_origins: list[str] = Field(
        [], description="origins whose pages may call the server, such as https://shop.example; none by default"
    )
    silent_seconds: float = Field(
        600.0, gt=0, description="a watcher that answers no ping for this long counts as gone"
    )

    def token_of(self, service: str) -> str | None:
        """Return the token that opens a service; None if there is none."""
        return self.tokens.get(service) or self.token

    def without_token(self) -> list[str]:
        """Return the services that no token opens."""
        return [name for name in self.services if not self.token_of(name)]


def parse_pairs(options: list[str]) -> dict[str, str]:
    """Parse `["photog_check=abc"]` into a dictionary. An option without `=` is a ValueError that does not repeat it."""
    found = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not value:
            raise ValueError("a --token is not SERVICE=TOKEN")
        found[name] = value
    return found
