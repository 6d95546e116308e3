"""The command `photog page`."""

import logging
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
import uvicorn
from pydantic import ValidationError

from page.application import build_application
from page.guard import is_loopback
from page.settings import PageSettings
from page.studio import Studio
from page.widgets import ROOT
from shared.buckets.conditional_writes import require_conditions
from shared.cli.beforehand import require_installed
from shared.cli.console import bucket_at, fail, log_to_stderr, require_parent
from shared.cli.workers import retire_left
from shared.contract.function import NAMES
from shared.runtime.supervisor import Supervisor, WorkerGivenUp
from shared.settings import Settings

log = logging.getLogger(__name__)

KEEP_STAGES = {"PHOTOG_GENERATE__KEEP_STAGES": "true"}  # own workers keep the stages, which the page shows
CHECK_SECONDS = 0.5
DRAIN_SECONDS = 5  # for calls under way at SIGTERM; browsers reconnect by themselves
LONGEST_FRAME = 256 * 1024  # bytes of what a browser sends over its WebSocket; typing a long text sends the most


def page(
    bucket: Annotated[
        str, typer.Argument(metavar="BUCKET", help="A folder, made if its parent exists, or s3://NAME[/PREFIX].")
    ],
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one and logs it.")
    ] = 8000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback need PHOTOG_TOKEN.")
    ] = "127.0.0.1",
    workers: Annotated[
        bool | None,
        typer.Option("--workers/--no-workers", help="Also run the three workers; by default on a folder only."),
    ] = None,
) -> None:
    """Show a page for people over a bucket.

    Photos in, portraits out, and what operators need to see. On a folder it also runs the three workers, so that this
    command is all that a laptop needs; --no-workers leaves them to `photog up`.

    \b
    Examples:
      photog page BUCKET
      photog page s3://portraits
    """
    log_to_stderr()
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # it logs every tab that opens, with its secret
    settings, configured = Settings(), read_settings(host)
    require_parent(bucket)
    place = bucket_at(bucket)
    own = workers if workers is not None else "://" not in bucket
    if own:
        if settings.sqs.queue is not None:
            fail("--workers starts all functions, but a queue is for one: unset PHOTOG_SQS__QUEUE, or --no-workers")
        require_installed(settings)
        require_conditions(place)
    listening = _listen(host, port)
    if own:
        retire_left(place.address, settings)  # they would keep no stages, and may have other settings
    supervisor = Supervisor(place.address, NAMES, settings.lease.drain_seconds, KEEP_STAGES) if own else None
    app = build_application(Studio(place, settings, configured, supervisor))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            ws_max_size=LONGEST_FRAME,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # uvicorn raises the signal again once it has stopped
    shown = f"[{host}]" if ":" in host else host
    log.info("the page of %s: http://%s:%d%s/", place.address, shown, listening.getsockname()[1], ROOT)
    with _supervise(supervisor, server):
        server.run(sockets=[listening])


def read_settings(host: str) -> PageSettings:
    """Return the environment's settings; end the program where they cannot work."""
    try:
        configured = PageSettings()
    except ValidationError as error:
        fail("; ".join(f"PHOTOG_PAGE__: {one['loc'][0]}: {one['msg']}" for one in error.errors(include_url=False)))
    if configured.token is None and not is_loopback(host):
        fail(f"{host} can be reached from other machines: set PHOTOG_TOKEN, which opens the page, or leave --host out")
    return configured


def _listen(host: str, port: int) -> socket.socket:
    """Return the listening socket; end the program if the port cannot be listened on."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen()  # at once: whoever opens the address that is told waits for the page, instead of being refused
    except OSError as error:
        fail(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port or --host")
    return made


@contextmanager
def _supervise(supervisor: Supervisor | None, server: uvicorn.Server) -> Iterator[None]:
    """Run the page's own workers for the duration of the block; one that no restart helps ends the page too."""
    if supervisor is None:
        yield
        return
    given_up: list[WorkerGivenUp] = []

    def check() -> None:
        while not server.should_exit:
            try:
                supervisor.check()
            except WorkerGivenUp as error:
                given_up.append(error)
                server.should_exit = True
            time.sleep(CHECK_SECONDS)

    with supervisor:
        watching = threading.Thread(target=check, name="check of the workers", daemon=True)
        watching.start()
        try:
            yield
        finally:
            server.should_exit = True
            watching.join()
            supervisor.hand_back()
    if given_up:
        raise given_up[0]
