"""How the command line speaks: answers to stdout, everything else to stderr."""

import json
import time
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from shared.buckets import Bucket, BucketError, StoreAbsent, StoreUnavailable, open_bucket
from shared.contract.manifests import Json
from shared.contract.visible import visible
from shared.errors import RequestError
from shared.observability.logs import configure
from shared.operations.client import Client
from shared.settings import Settings

TEMPORARY_FAILURE = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong with the command, supervisors restart it
ABSENCE_SECONDS = 1.0  # between two looks for a bucket whose volume is not mounted yet
LONELY_SECONDS = 8.0  # without any progress, after which a waiting user is told of workers

AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as one JSON object.")]


def log_to_stderr() -> None:
    """Lines of what happens, as PHOTOG_LOG__FORMAT and PHOTOG_LOG__LEVEL want them."""
    configure(Settings().log)


def bucket_at(address: str, wait: bool = False) -> Bucket:
    """The bucket, or the end of the program with what is wrong with its address.

    Args:
        wait: for a folder that is not there yet, as its volume is not mounted; which is said once.
    """
    told = False
    while True:
        try:
            return open_bucket(address, Settings().s3)
        except StoreUnavailable as error:
            if not (wait and isinstance(error, StoreAbsent)):
                unavailable(str(error))
            if not told:
                typer.echo(f"photog: {error}; waiting for it", err=True)
            told = True
            time.sleep(ABSENCE_SECONDS)
        except BucketError as error:
            fail(str(error))


def fail(message: str) -> NoReturn:
    """Wrong usage: say so and exit with 2."""
    typer.echo(f"photog: {visible(message)}", err=True)
    raise typer.Exit(2)


def unavailable(message: str) -> NoReturn:
    """The store does not serve: say so and exit with 75, so that a supervisor tries again."""
    typer.echo(f"photog: {visible(message)}", err=True)
    raise typer.Exit(TEMPORARY_FAILURE)


def show(value: Json) -> None:
    """One JSON object on stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=1))


def finish(envelope: Json, as_json: bool, summary: str) -> None:
    """Print an answer, whole or as its summary, and exit with 1 if it is an error."""
    if as_json:
        show(envelope)
    elif envelope["code"] == "OK":
        typer.echo(summary)
    if envelope["code"] != "OK":
        typer.echo(f"photog: {envelope['message']}", err=True)
        raise typer.Exit(1)


def submitted(client: Client, function: str, body: Json, look: Callable[[], None] = lambda: None) -> Json:
    """Submit a body, with its own request_id or one made of it, and wait for the answer with a bar.

    `look` is called while waiting, a few times a second; what it raises ends the wait.
    """
    try:
        identity = client.submit(function, body) if "request_id" in body else client.submit_named(function, body)
    except RequestError as error:
        fail(error.message)
    return waited(client, function, identity, look)


def waited(client: Client, function: str, request_id: str, look: Callable[[], None] = lambda: None) -> Json:
    """The answer of a submitted request; a bar on a terminal, a line per stage elsewhere."""
    with Waiting(function) as waiting:

        def update(data: Json | None) -> None:
            waiting.update(data)
            look()

        return client.wait(function, request_id, update)


class Waiting:
    """A progress bar on stderr that follows a request's progress objects."""

    def __init__(self, function: str) -> None:
        self._console = Console(stderr=True)
        self._function, self._stage, self._started, self._hinted = function, "", time.monotonic(), False
        columns = (
            TextColumn("{task.description:<26}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            TimeElapsedColumn(),
        )
        self._progress = Progress(
            *columns, console=self._console, disable=not self._console.is_terminal, transient=True
        )
        self._task = self._progress.add_task(f"{function}: waiting", total=None, figures="")

    def __enter__(self) -> "Waiting":
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def update(self, data: Json | None) -> None:
        """Show one progress object, or that there is none yet."""
        if data is None:
            self._hint()
            return
        stage, self._hinted = data["stage"], True
        figures = f"{data['step']}/{data['steps']}"
        if "loss" in data:
            figures += f" loss {data['loss']:.3f}"
        if data.get("eta_seconds") is not None:
            figures += f" {data['eta_seconds']:.0f} s left"
        self._progress.update(
            self._task,
            description=f"{self._function}: {stage}",
            completed=data["step"],
            total=data["steps"],
            figures=figures,
        )
        if stage != self._stage and not self._console.is_terminal:
            typer.echo(f"{self._function}: {stage}", err=True)
        self._stage = stage

    def _hint(self) -> None:
        if not self._hinted and time.monotonic() - self._started > LONELY_SECONDS:
            self._hinted = True
            self._console.print(f"{self._function}: nobody has begun yet; workers are started with `photog up BUCKET`")
