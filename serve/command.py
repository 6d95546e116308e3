"""The command `photog serve`."""

import hashlib
import logging
import signal
import socket
import sqlite3
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from fastapi import FastAPI
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from serve.application import build_application
from serve.database import Database, StateInUse, StateUnavailable
from serve.listening import SAID_BYTES, Server, connection_bounds
from serve.settings import SECRET, ServeSettings, parse_pairs
from shared.buckets.base import Bucket, BucketError
from shared.cli.console import bucket_at, fail, log_to_stderr
from shared.contract.validation import describe_errors
from shared.errors import ConfigurationError, how_to_install
from shared.settings import Settings

log = logging.getLogger(__name__)

PAGES = "photog.pages"  # entry point group of what --page adds
PAGE_FRAME = 256 * 1024  # bytes of what a browser sends over the page's WebSocket
UNAVAILABLE = 75  # EX_TEMPFAIL: the bucket or the disk does not answer; a supervisor restarts the server


def serve(
    bucket: Annotated[str, typer.Argument(metavar="BUCKET", help="A folder, or another bucket's address.")],
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one and logs it.")
    ] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is all addresses.")] = "127.0.0.1",
    token: Annotated[
        list[str] | None, typer.Option(metavar="SERVICE=TOKEN", help="A service's own token; may be repeated.")
    ] = None,
    state: Annotated[Path | None, typer.Option(help="Folder of the SQLite file, which may be deleted.")] = None,
    page: Annotated[bool, typer.Option("--page", help="Also show the page for people at /page/.")] = False,
) -> None:
    """Serve the hosted product's queue protocol over a bucket.

    Its SDK works unchanged. PHOTOG_TOKEN opens all services that have no --token of their own.

    \b
    Examples:
      PHOTOG_TOKEN=secret photog serve BUCKET
      photog serve s3://portraits --host 0.0.0.0 --token photog_check=secret
    """
    log_to_stderr()
    settings, configured = Settings(), _read_settings(token or [], state)
    _require_free(host, port)
    place = bucket_at(bucket)
    folder = configured.state or _folder(settings.home, place.address)
    try:
        database = Database(folder, place.address)
    except (StateInUse, OSError, sqlite3.Error) as error:
        fail(f"{folder} cannot hold the state: {error}")
    app = build_application(place, database, settings, configured)
    if page:
        _load_page()(app, place, settings, host)
    try:
        database.ensure()
    except ConfigurationError:
        raise  # a restart does not help
    except (BucketError, StateUnavailable, OSError, sqlite3.Error) as error:
        log.error("cannot begin: %s", error)
        raise typer.Exit(UNAVAILABLE) from error
    server = Server(app, host, port, configured, connection_bounds(configured), PAGE_FRAME if page else SAID_BYTES)
    # uvicorn drains and then raises the signal again, whose default would be an exit status that says killed
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ignore_signal)
    server.run()


def _load_page() -> Callable[[FastAPI, Bucket, Settings, str], None]:
    """Return what adds the page to an application; end the program if it is not installed."""
    entry = next(iter(entry_points(group=PAGES)), None)
    if entry is None:
        fail(f"--page needs the page: {how_to_install('page')}")
    try:
        mount: Callable[[FastAPI, Bucket, Settings, str], None] = entry.load()
    except ModuleNotFoundError as error:
        fail(f"--page needs {error.name}: {how_to_install(entry.name)}")
    return mount


def _require_free(host: str, port: int) -> None:
    """End the program if the port cannot be listened on; uvicorn would find out only after everything has started."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as asyncio does
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        fail(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port or --host")


def _ignore_signal(number: int, frame: FrameType | None) -> None:
    """Do nothing: the server has already stopped for this signal."""


def _read_settings(tokens: list[str], state: Path | None) -> ServeSettings:
    """Return the environment's settings with the options on top; end the program where they cannot work."""
    try:
        settings = ServeSettings()
        settings = settings.model_copy(
            update={"tokens": settings.tokens | parse_pairs(tokens), "state": state or settings.state}
        )
    except ValidationError as error:
        fail("; ".join(_describe(one) for one in error.errors(include_url=False)))
    except ValueError as error:
        fail(str(error))
    if locked := settings.without_token():
        fail(f"no token opens {', '.join(locked)}; set PHOTOG_TOKEN, or give --token SERVICE=TOKEN for each")
    if unknown := set(settings.tokens) - set(settings.services):
        fail(f"there are tokens for services that are not served: {', '.join(sorted(unknown))}")
    return settings


def _describe(error: ErrorDetails) -> str:
    """Return what is wrong with a setting; the value of a token is never shown."""
    name = ".".join(map(str, error["loc"]))
    secret = str(error["loc"][0]) in (*SECRET, "PHOTOG_TOKEN")
    return (
        f"{name}: {describe_errors(error)}"
        if secret
        else f"{name}: {describe_errors(error)}; given was {error['input']!r}"
    )


def _folder(home: Path, address: str) -> Path:
    """Return the folder of state of one bucket."""
    return home.expanduser() / "serve" / hashlib.sha256(address.encode()).hexdigest()[:16]
