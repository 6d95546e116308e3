"""Input and output of the command line: answers to stdout, everything else to stderr."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from shared.buckets import Bucket, BucketError, StoreAbsent, StoreMisconfigured, StoreUnavailable, open_bucket
from shared.cli.nearest import did_you_mean
from shared.contract import keys
from shared.contract.manifests import Json
from shared.contract.visible import visible
from shared.errors import RequestError
from shared.observability.logs import configure
from shared.operations.client import Client
from shared.settings import Settings

TEMPORARY_FAILURE = 75  # EX_TEMPFAIL of sysexits.h: the command is right, supervisors restart it
ABSENCE_SECONDS = 1.0  # between two checks for a bucket whose volume is not mounted yet
INTERRUPTED = 130  # as in shells: 128 plus the number of SIGINT
HINT_SECONDS = 8.0  # without any progress, after which a waiting user is told about workers

AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as one JSON object.")]


def log_to_stderr() -> None:
    """Log to stderr, as PHOTOG_LOG__FORMAT and PHOTOG_LOG__LEVEL say."""
    configure(Settings().log)


def bucket_at(address: str, wait: bool = False) -> Bucket:
    """Open the bucket, and make its folder if it does not exist; exit with the reason if the address is wrong.

    Args:
        wait: wait for a folder that does not exist because its volume is not mounted yet; the user is told once.
    """
    told, made = False, _is_folder(address) and not _exists(address)
    while True:
        try:
            bucket = open_bucket(address, Settings().s3)
            if made:
                typer.echo(f"photog: made the folder {bucket.address}, which did not exist", err=True)
            return bucket
        except StoreMisconfigured as error:
            fail(str(error))
        except StoreUnavailable as error:
            if not (wait and isinstance(error, StoreAbsent)):
                exit_unavailable(str(error))
            if not told:
                typer.echo(f"photog: {error}; waiting for it", err=True)
            told = True
            time.sleep(ABSENCE_SECONDS)
        except BucketError as error:
            fail(str(error))


def existing_bucket(address: str, make_folder: bool = False) -> Bucket:
    """Open the bucket that the user named; exit if it does not exist.

    Args:
        make_folder: for verbs that put something into it; verbs that look or remove never make a bucket.
    """
    if _is_folder(address) and not make_folder and not _exists(address):
        fail(f"there is no bucket {address}{did_you_mean(address, _list_beside(address))}")
    bucket = bucket_at(address)
    if not _is_folder(address):
        try:
            next(iter(bucket.folders(keys.REQUESTS)), None)
        except StoreAbsent as error:
            fail(str(error))
    return bucket


def _is_folder(address: str) -> bool:
    return "://" not in address


def _exists(address: str) -> bool:
    try:
        Path(address).expanduser().stat()
    except FileNotFoundError:
        return False
    except (OSError, ValueError, RuntimeError):
        return True  # something else is there, which opening it will report
    return True


def _list_beside(address: str) -> list[str]:
    """Return the folders beside the address, one of which may be meant."""
    path = Path(address).expanduser()
    try:
        return [str(path.parent / one.name) for one in path.parent.iterdir() if one.is_dir()]
    except OSError:
        return []


def fail(message: str) -> NoReturn:
    """Print the message and exit with 2, for wrong usage."""
    typer.echo(f"photog: {visible(message)}", err=True)
    raise typer.Exit(2)


def exit_unavailable(message: str) -> NoReturn:
    """Print the message and exit with 75, so that a supervisor tries again: the store is unavailable."""
    typer.echo(f"photog: {visible(message)}", err=True)
    raise typer.Exit(TEMPORARY_FAILURE)


def show(value: Json) -> None:
    """Print one JSON object on stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=1))


@dataclass(frozen=True)
class WaitOptions:
    """What happens while the user waits for an answer.

    Attributes:
        look: called while waiting, a few times a second; an exception in it ends the wait.
        hint: printed if no worker has begun after `HINT_SECONDS`.
        left: printed if the user ends the wait; None prints what becomes of the request.
    """

    look: Callable[[], None] = lambda: None
    hint: str = "no worker has begun yet; start workers with `photog up BUCKET`"
    left: str | None = None


DEFAULT_WAIT = WaitOptions()


def finish(envelope: Json, as_json: bool, summary: str, named: Callable[[str], str] = str) -> None:
    """Print an answer, whole or as a summary with its warnings, and exit with 1 if it is an error.

    Args:
        named: replaces keys in a sentence of the answer by the user's own names.
    """
    if as_json:
        show(envelope)
    else:
        if envelope["code"] == "OK":
            typer.echo(summary)
        for warning in envelope.get("data", {}).get("warnings", []):
            typer.echo(f"photog: warning: {named(warning)}", err=True)
    if envelope["code"] != "OK":
        typer.echo(f"photog: {named(envelope['message'])}", err=True)
        raise typer.Exit(1)


def submit_request(client: Client, function: str, body: Json, options: WaitOptions = DEFAULT_WAIT) -> Json:
    """Submit a body, under its own request_id or a derived one, and wait for the answer with a progress bar."""
    try:
        identity = client.submit(function, body) if "request_id" in body else client.submit_named(function, body)
    except RequestError as error:
        fail(error.message)
    return wait_for_answer(client, function, identity, options)


def wait_for_answer(client: Client, function: str, request_id: str, options: WaitOptions = DEFAULT_WAIT) -> Json:
    """Wait for a submitted request's answer, with a bar on a terminal or a line per stage. Ctrl-C ends the wait."""
    with Waiting(function, options.hint) as waiting:

        def update(data: Json | None) -> None:
            waiting.update(data)
            options.look()

        try:
            return client.wait(function, request_id, update)
        except KeyboardInterrupt:
            left = options.left or (
                f"no longer waiting for {function} {request_id}, which stays in {client.bucket.address} and is "
                f"answered there; see `photog status {client.bucket.address} {request_id}`, or repeat the command"
            )
    typer.echo(f"photog: {left}", err=True)
    raise typer.Exit(INTERRUPTED)


class Waiting:
    """A progress bar on stderr that follows a request's progress objects."""

    def __init__(self, function: str, hint: str = WaitOptions.hint) -> None:
        self._console, self._text = Console(stderr=True), hint
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
        if not self._hinted and time.monotonic() - self._started > HINT_SECONDS:
            self._hinted = True
            typer.echo(f"{self._function}: {self._text}", err=True)
