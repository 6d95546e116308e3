"""How the command line speaks: answers to stdout, everything else to stderr."""

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

TEMPORARY_FAILURE = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong with the command, supervisors restart it
ABSENCE_SECONDS = 1.0  # between two looks for a bucket whose volume is not mounted yet
INTERRUPTED = 130  # as shells have it: 128 and the number of SIGINT
LONELY_SECONDS = 8.0  # without any progress, after which a waiting user is told of workers

AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as one JSON object.")]


def log_to_stderr() -> None:
    """Lines of what happens, as PHOTOG_LOG__FORMAT and PHOTOG_LOG__LEVEL want them."""
    configure(Settings().log)


def bucket_at(address: str, wait: bool = False) -> Bucket:
    """The bucket, a folder made if it is not there; or the end of the program with what is wrong with its address.

    Args:
        wait: for a folder that is not there yet, as its volume is not mounted; which is said once.
    """
    told, made = False, _is_folder(address) and not _there(address)
    while True:
        try:
            bucket = open_bucket(address, Settings().s3)
            if made:
                typer.echo(f"photog: made the folder {bucket.address}, there was none", err=True)
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
    """The bucket that a person names; the end of the program where there is none by this name.

    Args:
        make_folder: for a verb that puts something into it; one that looks or removes never makes a bucket.
    """
    if _is_folder(address) and not make_folder and not _there(address):
        fail(f"there is no bucket {address}{did_you_mean(address, _beside(address))}")
    bucket = bucket_at(address)
    if not _is_folder(address):
        try:
            next(iter(bucket.folders(keys.REQUESTS)), None)
        except StoreAbsent as error:
            fail(str(error))
    return bucket


def _is_folder(address: str) -> bool:
    return "://" not in address


def _there(address: str) -> bool:
    try:
        Path(address).expanduser().stat()
    except FileNotFoundError:
        return False
    except (OSError, ValueError, RuntimeError):
        return True  # something is in its way, which opening it tells
    return True


def _beside(address: str) -> list[str]:
    """The folders that may be meant."""
    path = Path(address).expanduser()
    try:
        return [str(path.parent / one.name) for one in path.parent.iterdir() if one.is_dir()]
    except OSError:
        return []


def fail(message: str) -> NoReturn:
    """Wrong usage: say so and exit with 2."""
    typer.echo(f"photog: {visible(message)}", err=True)
    raise typer.Exit(2)


def exit_unavailable(message: str) -> NoReturn:
    """The store does not serve: say so and exit with 75, so that a supervisor tries again."""
    typer.echo(f"photog: {visible(message)}", err=True)
    raise typer.Exit(TEMPORARY_FAILURE)


def show(value: Json) -> None:
    """One JSON object on stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=1))


@dataclass(frozen=True)
class Company:
    """What goes on beside the wait for an answer.

    Attributes:
        look: called while waiting, a few times a second; what it raises ends the wait.
        hint: said where nobody has begun after `LONELY_SECONDS`.
        left: said where the user ends the wait; else what becomes of the request.
    """

    look: Callable[[], None] = lambda: None
    hint: str = "nobody has begun yet; workers are started with `photog up BUCKET`"
    left: str | None = None


ALONE = Company()


def finish(envelope: Json, as_json: bool, summary: str, named: Callable[[str], str] = str) -> None:
    """Print an answer, whole or as its summary with its warnings, and exit with 1 if it is an error.

    Args:
        named: puts the user's own names into a sentence of the answer.
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


def submit_request(client: Client, function: str, body: Json, company: Company = ALONE) -> Json:
    """Submit a body, with its own request_id or one made of it, and wait for the answer with a bar."""
    try:
        identity = client.submit(function, body) if "request_id" in body else client.submit_named(function, body)
    except RequestError as error:
        fail(error.message)
    return wait_for_answer(client, function, identity, company)


def wait_for_answer(client: Client, function: str, request_id: str, company: Company = ALONE) -> Json:
    """The answer of a submitted request; a bar on a terminal, a line per stage elsewhere. Ctrl-C ends the wait."""
    with Waiting(function, company.hint) as waiting:

        def update(data: Json | None) -> None:
            waiting.update(data)
            company.look()

        try:
            return client.wait(function, request_id, update)
        except KeyboardInterrupt:
            left = company.left or (
                f"no longer waiting for {function} {request_id}, which stays in {client.bucket.address} and is "
                f"answered there; see `photog status {client.bucket.address} {request_id}`, or ask the same again"
            )
    typer.echo(f"photog: {left}", err=True)
    raise typer.Exit(INTERRUPTED)


class Waiting:
    """A progress bar on stderr that follows a request's progress objects."""

    def __init__(self, function: str, hint: str = Company.hint) -> None:
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
        if not self._hinted and time.monotonic() - self._started > LONELY_SECONDS:
            self._hinted = True
            typer.echo(f"{self._function}: {self._text}", err=True)
