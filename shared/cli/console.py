"""Input and output of the command line: answers to stdout, everything else to stderr."""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from shared.buckets import Bucket, BucketError, StoreAbsent, StoreMisconfigured, StoreUnavailable, open_bucket
from shared.cli import INTERRUPTED
from shared.cli.nearest import did_you_mean_path
from shared.cli.progress import Part, ProgressLine
from shared.contract import keys
from shared.contract.manifests import Json
from shared.contract.visible import visible
from shared.errors import RequestError
from shared.observability.logs import configure
from shared.operations.client import Client
from shared.settings import Settings

TEMPORARY_FAILURE = 75  # EX_TEMPFAIL of sysexits.h: the command is right, supervisors restart it
ABSENCE_SECONDS = 1.0  # between two checks for a bucket whose volume is not mounted yet
AWAKE_SECONDS = 150.0  # since the last sign of life of an idle worker, which gives one a minute
START_SECONDS = 12.0  # of waiting before no worker is said to be there: those of a new `photog up` are loading
HINT_SECONDS = 3.0  # without any progress, after which a waiting user is told about workers, and between two looks

WAITING = "waiting for a worker"
WORK = {"train": "training", "generate": "portrait"}  # what a function does, as the progress calls it

AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as one JSON object.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the logs of the workers in place of progress.")]


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
                near = _name_near_folder(address)
                typer.echo(f"photog: made the folder {bucket.address}, which did not exist{near}", err=True)
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


def existing_bucket(address: str, make_folder: bool = False, instead: str = "") -> Bucket:
    """Open the bucket that the user named; exit if it does not exist.

    Args:
        instead: what the user can do where no folder of a like name is there.
        make_folder: for verbs that put something into it; verbs that look or remove never make a bucket.
    """
    if _is_folder(address) and not make_folder and not _exists(address):
        fail(f"there is no bucket {address}{_name_near_folder(address) or instead}")
    bucket = bucket_at(address)
    if not _is_folder(address):
        try:
            next(iter(bucket.folders(keys.REQUESTS)), None)
        except StoreAbsent as error:
            fail(str(error))
    return bucket


def require_parent(address: str) -> None:
    """Exit if a folder could be made only together with the folder that it lies in: more than its name is mistyped."""
    parent = Path(address).expanduser().parent
    if _is_folder(address) and not _exists(address) and not _exists(str(parent)):
        fail(f"there is no bucket {address}, and no folder {parent} in which to make it")


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


def _name_near_folder(address: str) -> str:
    """Return which other folder beside the address may be meant, as `did_you_mean` does."""
    path = Path(address).expanduser()
    try:
        beside = [one.name for one in path.parent.iterdir() if one.is_dir() and one.name != path.name]
    except OSError:
        return ""
    return did_you_mean_path(path, beside)


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
        left: printed if the user ends the wait; None prints what becomes of the request.
        loading: whether workers of the command's own are not ready yet; None if it has none.
        warm: whether they were ready when the command began.
        line: shows the progress of several requests; None makes one for each.
    """

    look: Callable[[], None] = lambda: None
    left: str | None = None
    loading: Callable[[], bool] | None = None
    warm: bool = False
    line: ProgressLine | None = None

    def showing(self, line: ProgressLine) -> "WaitOptions":
        """Return the same with a line for several requests."""
        return replace(self, line=line)

    def skip(self) -> None:
        """Leave out the next of the requests whose progress one line shows."""
        if self.line is not None:
            self.line.skip()

    def pause(self) -> AbstractContextManager[None]:
        """Return a context in which other lines may be printed."""
        return nullcontext() if self.line is None else self.line.pause()


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
    """Wait for a submitted request's answer, with a line of progress. Ctrl-C ends the wait."""
    with nullcontext(options.line) if options.line else ProgressLine([Part(WORK.get(function, function))]) as line:
        line.begin()
        waiting = _Waiting(client, function, request_id, options)

        def update(data: Json | None) -> None:
            line.update(data, "" if data is not None else waiting.explain(line))
            options.look()

        try:
            return client.wait(function, request_id, update)
        except KeyboardInterrupt:
            left = options.left or (
                f"no longer waiting for {function} {request_id}, which stays in {client.bucket.address} and is "
                f"answered there; see `photog status {client.bucket.address} {request_id}`, or repeat the command"
            )
            told = "stopping the workers; a few seconds, at most 10" if options.loading else ""
    for one in filter(None, (told, left)):
        typer.echo(f"photog: {one}", err=True)
    raise typer.Exit(INTERRUPTED)


class _Waiting:
    """Why there is no progress yet."""

    def __init__(self, client: Client, function: str, request_id: str, options: WaitOptions) -> None:
        self._client, self._function, self._request_id, self._options = client, function, request_id, options
        self._looked, self._hint, self._said = time.monotonic(), WAITING, set[str]()
        self._begun = self._looked

    def explain(self, line: ProgressLine) -> str:
        """Return what is waited for; says once, above the line, why no worker has begun and what the user can do."""
        if self._options.loading is not None:
            return "its worker is starting" if self._options.loading() else ""
        if time.monotonic() - self._looked > HINT_SECONDS:
            self._looked = time.monotonic()
            try:
                found = self._look()
            except (BucketError, OSError):
                return self._hint  # nobody waits for a hint, and who may only send may not look at workers
            self._hint = found or "its worker has begun"
            if found not in (None, WAITING) and found not in self._said:
                self._said.add(found)
                line.say(f"{self._function}: {found}; Ctrl-C ends the wait, and the request stays")
        return WAITING if self._hint in self._said else self._hint  # said once is enough

    def _look(self) -> str | None:
        bucket = self._client.bucket
        if next(iter(bucket.list(keys.claims(self._function, self._request_id))), None) is not None:
            return None  # one has begun, and says nothing of its progress yet
        if next(iter(bucket.list(keys.running(self._function))), None) is not None:
            return "its worker is busy with another request; this one comes after it"
        signs = (time.time() - info.modified for info in bucket.list(keys.workers(self._function)))
        if any(age < AWAKE_SECONDS for age in signs):
            return "a worker is there and has not begun it yet"
        if time.monotonic() - self._begun < START_SECONDS:
            return WAITING
        up = f"`photog up {bucket.address}`"
        return f"no worker is ready yet: unless some are starting, start them in another terminal with {up}"
