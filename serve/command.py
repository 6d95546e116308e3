"""`photog serve`."""

import hashlib
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
import uvicorn
from pydantic import ValidationError

from serve.application import application
from serve.database import Database, StateInUse
from serve.settings import ServeSettings, pairs
from shared.cli.console import bucket_at, fail, log_to_stderr
from shared.settings import Settings

PING_SECONDS = 20.0
DRAIN_SECONDS = 10  # for calls under way at SIGTERM; watchers come back by themselves


def serve(
    bucket: Annotated[str, typer.Argument(metavar="BUCKET", help="A folder, or another bucket's address.")],
    port: Annotated[int, typer.Option(help="Where to listen; 0 takes a free one and says which.")] = 8080,
    host: Annotated[str, typer.Option(help="0.0.0.0 listens on all addresses.")] = "127.0.0.1",
    token: Annotated[
        list[str] | None, typer.Option(metavar="SERVICE=TOKEN", help="A service's own token; may be repeated.")
    ] = None,
    state: Annotated[Path | None, typer.Option(help="Folder of the SQLite file; it may be lost.")] = None,
) -> None:
    """The queue protocol of the hosted product's SDK over a bucket. PHOTOG_TOKEN opens the services without --token."""
    log_to_stderr()
    settings, configured = Settings(), _configured(token or [], state)
    place = bucket_at(bucket)
    folder = configured.state or _folder(settings.home, place.address)
    try:
        database = Database(folder)
    except StateInUse as error:
        fail(str(error))
    server = uvicorn.Config(
        application(place, database, settings, configured),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=configured.silent_seconds,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    # uvicorn drains and then raises the signal again, for which the default would be an exit status that says killed
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stopped)
    uvicorn.Server(server).run()


def _stopped(number: int, frame: FrameType | None) -> None:
    """The server has stopped for this signal already."""


def _configured(tokens: list[str], state: Path | None) -> ServeSettings:
    """The environment's settings with the options on top; the end of the program where they cannot work."""
    try:
        settings = ServeSettings()
        settings = settings.model_copy(
            update={"tokens": settings.tokens | pairs(tokens), "state": state or settings.state}
        )
    except (ValidationError, ValueError) as error:
        fail(str(error))
    if locked := settings.without_token():
        fail(f"nobody could call {', '.join(locked)}; set PHOTOG_TOKEN, or give --token SERVICE=TOKEN for each")
    if unknown := set(settings.tokens) - set(settings.services):
        fail(f"tokens for services that are not served: {', '.join(sorted(unknown))}")
    return settings


def _folder(home: Path, address: str) -> Path:
    """A bucket's own folder of state."""
    return home.expanduser() / "serve" / hashlib.sha256(address.encode()).hexdigest()[:16]
