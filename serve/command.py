"""`photog serve`."""

import asyncio
import hashlib
import logging
import resource
import signal
import socket
import sqlite3
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, cast

import typer
import uvicorn
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from serve.application import application
from serve.connections import Bounds, HttpConnection, WatchConnection
from serve.database import Database, StateInUse, StateUnavailable
from serve.settings import SECRET, ServeSettings, pairs
from shared.buckets.base import BucketError
from shared.cli.console import bucket_at, fail, log_to_stderr
from shared.settings import Settings

log = logging.getLogger(__name__)

PING_SECONDS = 20.0
SAID_BYTES = 4096  # of what a watcher may send in one frame; nothing of it means anything
SPARE_FILES = 200  # for the bucket, the state and the logs
UNAVAILABLE = 75  # EX_TEMPFAIL: the bucket or the disk does not answer, a supervisor starts us again
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
        database = Database(folder, place.address)
    except (StateInUse, OSError, sqlite3.Error) as error:
        fail(f"{folder} cannot hold the state: {error}")
    app = application(place, database, settings, configured)
    try:
        database.ensure()
    except (BucketError, StateUnavailable, OSError, sqlite3.Error) as error:
        log.error("cannot begin: %s", error)
        raise typer.Exit(UNAVAILABLE) from error
    _allow_connections(configured.connections)
    bounds = Bounds(configured.connections, configured.head_seconds, configured.body_seconds)
    server = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        http=cast("type[asyncio.Protocol]", partial(HttpConnection, bounds=bounds)),
        ws=cast("type[asyncio.Protocol]", partial(WatchConnection, bounds=bounds)),
        ws_max_size=SAID_BYTES,
        ws_per_message_deflate=False,  # what we send is base64 of pictures
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=configured.silent_seconds,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    # uvicorn drains and then raises the signal again, for which the default would be an exit status that says killed
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stopped)
    _Server(server).run()


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does, which waits for calls under way; those that only wait are answered first."""
        self.config.app.state.stopping()  # type: ignore[union-attr]
        await super().shutdown(sockets)


def _allow_connections(connections: int) -> None:
    """Raise the limit of open files as far as the system lets us, so that the last connection still gets one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _stopped(number: int, frame: FrameType | None) -> None:
    """The server has stopped for this signal already."""


def _configured(tokens: list[str], state: Path | None) -> ServeSettings:
    """The environment's settings with the options on top; the end of the program where they cannot work."""
    try:
        settings = ServeSettings()
        settings = settings.model_copy(
            update={"tokens": settings.tokens | pairs(tokens), "state": state or settings.state}
        )
    except ValidationError as error:
        fail("; ".join(_said(one) for one in error.errors(include_url=False)))
    except ValueError as error:
        fail(str(error))
    if locked := settings.without_token():
        fail(f"nobody could call {', '.join(locked)}; set PHOTOG_TOKEN, or give --token SERVICE=TOKEN for each")
    if unknown := set(settings.tokens) - set(settings.services):
        fail(f"tokens for services that are not served: {', '.join(sorted(unknown))}")
    return settings


def _said(error: ErrorDetails) -> str:
    """What is wrong with a setting; never what a token's setting holds."""
    name = ".".join(map(str, error["loc"]))
    secret = str(error["loc"][0]) in (*SECRET, "PHOTOG_TOKEN")
    return f"{name}: {error['msg']}" if secret else f"{name}: {error['msg']}; given was {error['input']!r}"


def _folder(home: Path, address: str) -> Path:
    """A bucket's own folder of state."""
    return home.expanduser() / "serve" / hashlib.sha256(address.encode()).hexdigest()[:16]
