"""The verbs that run functions: up, worker, invoke."""

import json
import math
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from shared.buckets import Bucket
from shared.buckets.conditional_writes import require_conditions
from shared.cli.beforehand import require_installed
from shared.cli.completion import complete_functions
from shared.cli.console import bucket_at, existing_bucket, fail, log_to_stderr, show
from shared.contract import keys
from shared.contract.function import NAMES
from shared.contract.manifests import Json
from shared.events import UnknownEvent
from shared.lifecycle.invocation import Outcome
from shared.lifecycle.unread import why_unread
from shared.runtime.context import Context, UnknownFunction, isolate_function
from shared.runtime.seat import seat_of
from shared.runtime.supervisor import Supervisor
from shared.runtime.worker import Worker
from shared.settings import Settings

INTERRUPTED_SECONDS = 3.0  # for running requests after Ctrl-C, while the user waits at the terminal

BucketArgument = Annotated[
    str, typer.Argument(metavar="BUCKET", help="A folder, made if it does not exist, or s3://NAME[/PREFIX].")
]
ExistingBucket = Annotated[str, typer.Argument(metavar="BUCKET", help="A folder that exists, or s3://NAME[/PREFIX].")]
"""Of the verbs that look or remove, which never make a bucket."""
FunctionArgument = Annotated[
    str, typer.Argument(metavar="FUNCTION", help="check, train or generate.", autocompletion=complete_functions)
]


def require_function(function: str) -> str:
    """Return the function's name; exit if there is no such function."""
    if function not in NAMES:
        fail(f"there is no function {function}; the functions are {', '.join(NAMES)}")
    return function


def up(bucket: BucketArgument) -> None:
    """Run the three workers on a bucket until stopped.

    SIGTERM drains: running requests are finished. Ctrl-C gives them 3 seconds, then hands them back, and the next
    `photog up` resumes them. A second signal hands them back at once.

    \b
    Examples:
      photog up BUCKET
      PHOTOG_MODEL__PATH=/models/sd15 photog up s3://portraits
    """
    log_to_stderr()
    settings, place = Settings(), bucket_at(bucket, wait=True)
    if settings.sqs.queue is not None:
        fail("up starts all functions, but a queue is for one: unset PHOTOG_SQS__QUEUE to scan, or run single workers")
    require_installed(settings)
    require_conditions(place)  # checked once here, as workers would die of it again and again
    retire_left(place.address, settings)
    signals: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        if len(signals) > 1:
            supervisor.hand_back()

    supervisor = Supervisor(place.address, NAMES, settings.lease.drain_seconds)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with supervisor:
        while not signals:
            supervisor.check()
            time.sleep(0.2)
        interrupted = signals[0] == signal.SIGINT
        patience = INTERRUPTED_SECONDS if interrupted else settings.lease.drain_seconds
        typer.echo(
            f"photog: stopping; running requests have {patience:.0f} s, then they are handed back (a second signal: at "
            f"once). `photog up {bucket}` resumes them",
            err=True,
        )
        if interrupted:
            supervisor.hand_back(INTERRUPTED_SECONDS)


def retire_left(address: str, settings: Settings) -> None:
    """End the workers that an earlier command has left ready, before others start that would share their work."""
    for function in NAMES:
        if seat_of(function, address).retire(settings.lease.drain_seconds):
            typer.echo(f"photog: ended the {function} worker that an earlier command had left ready", err=True)


def worker(
    function: FunctionArgument,
    bucket: BucketArgument,
    follow_parent: Annotated[bool, typer.Option(help="Stop when standard input is closed.")] = False,
    once: Annotated[bool, typer.Option("--once", help="End when the queue is empty, for Jobs.")] = False,
    standby: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Begin only if no other worker stands by for this function and bucket; end after so many seconds "
            "without a request.",
        ),
    ] = None,
) -> None:
    """Run one worker, as containers do.

    With PHOTOG_SQS__QUEUE it polls that queue, otherwise it watches or scans.

    \b
    Examples:
      photog worker check BUCKET
      PHOTOG_SQS__QUEUE=URL photog worker generate s3://portraits
    """
    log_to_stderr()
    settings = Settings()
    if once and settings.sqs.queue is None:
        fail("--once needs a queue: set PHOTOG_SQS__QUEUE")
    place = bucket_at(bucket, wait=True)
    one = Worker(
        require_function(function),
        place,
        settings,
        isolate_function,
        until_empty=once,
        seat=None if standby is None else seat_of(function, place.address),
        idle_seconds=math.inf if standby is None else standby,
    )
    if follow_parent:
        one.follow_parent()
    one.run()


def invoke(
    function: FunctionArgument,
    bucket: ExistingBucket,
    event: Annotated[Path, typer.Argument(help="A file with one storage event; - for standard input.")],
) -> None:
    """Serve one storage event, then exit.

    Prints what became of each object that the event names.

    \b
    Examples:
      photog invoke check BUCKET events/s3.json
      photog invoke check s3://portraits - < event.json
    """
    log_to_stderr()
    function, parsed = require_function(function), _parse(event)
    place = existing_bucket(bucket)
    context = Context(place, Settings(), load=isolate_function)
    try:
        handled = context.handle(function, parsed)
    except (UnknownEvent, UnknownFunction) as error:
        fail(f"{event}: {error}")
    finally:
        context.close()
    show(handled)
    if not handled["outcomes"]:
        typer.echo(f"photog: {event}: it names no object created in {place.address}", err=True)
    for key, outcome in handled["outcomes"].items():
        if outcome == Outcome.IGNORED.value and why_unread(key) is None:  # the log has the reason for the others
            typer.echo(f"photog: {key} is ignored: {_explain_ignored(place, function, key)}", err=True)


def _parse(event: Path) -> Json:
    """Parse the JSON of a file, in any Unicode encoding, or of standard input."""
    try:
        text = typer.get_binary_stream("stdin").read() if str(event) == "-" else event.read_bytes()
        parsed: Json = json.loads(text)
    except OSError as error:
        fail(f"{event}: {error.strerror}")
    except (ValueError, RecursionError) as error:
        fail(f"{event} is not JSON: {error}; give one storage event, like the samples in events/")
    return parsed


def _explain_ignored(place: Bucket, function: str, key: str) -> str:
    if not keys.is_request(key, function):
        others = [name for name in NAMES if keys.is_request(key, name)]
        return f"it is a manifest of {others[0]}" if others else f"no manifest of {function} has such a key"
    info = place.head(key)
    return f"it is not in {place.address}" if info is None else "it is empty" if info.size == 0 else "it was removed"
