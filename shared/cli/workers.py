"""The verbs that work: up, worker, invoke."""

import json
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from shared.buckets.conditional_writes import require_conditions
from shared.cli.console import bucket_at, fail, log_to_stderr, show
from shared.contract.function import NAMES
from shared.contract.manifests import Json
from shared.events import UnknownEvent
from shared.runtime.context import Context, UnknownFunction, isolated
from shared.runtime.supervisor import Supervisor
from shared.runtime.worker import Worker
from shared.settings import Settings

BucketArgument = Annotated[
    str, typer.Argument(metavar="BUCKET", help="A folder, made if it is not there, or s3://NAME[/PREFIX].")
]
FunctionArgument = Annotated[str, typer.Argument(metavar="FUNCTION", help="check, train or generate.")]


def known(function: str) -> str:
    """The function's name, or the end of the program."""
    if function not in NAMES:
        fail(f"there is no function {function}; there are {', '.join(NAMES)}")
    return function


def up(bucket: BucketArgument) -> None:
    """The three workers on a bucket, until stopped. Ctrl-C or SIGTERM drains; a second one hands requests back."""
    log_to_stderr()
    settings, place = Settings(), bucket_at(bucket, wait=True)
    if settings.sqs.queue is not None:
        fail("up starts all functions and a queue is of one: unset PHOTOG_SQS__QUEUE to scan, or start workers singly")
    require_conditions(place)  # said once and here; workers would die of it again and again
    signals: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        if len(signals) > 1:
            supervisor.hurry()

    supervisor = Supervisor(place.address, NAMES, settings.lease.drain_seconds)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with supervisor:
        while not signals:
            supervisor.check()
            time.sleep(0.2)


def worker(
    function: FunctionArgument,
    bucket: BucketArgument,
    follow_parent: Annotated[bool, typer.Option(help="Stop when standard input ends.")] = False,
    once: Annotated[bool, typer.Option("--once", help="End when the queue is empty, as Jobs do.")] = False,
) -> None:
    """One worker: what a container runs. With PHOTOG_SQS__QUEUE it polls that queue, else it watches or scans."""
    log_to_stderr()
    settings = Settings()
    if once and settings.sqs.queue is None:
        fail("--once ends with the queue: set PHOTOG_SQS__QUEUE")
    one = Worker(known(function), bucket_at(bucket, wait=True), settings, isolated, until_empty=once)
    if follow_parent:
        one.follow_parent()
    one.run()


def invoke(
    function: FunctionArgument,
    bucket: BucketArgument,
    event: Annotated[Path, typer.Argument(help="A file with one storage event; - for standard input.")],
) -> None:
    """Serve one event, then exit; prints what became of each object."""
    log_to_stderr()
    text = typer.get_text_stream("stdin").read() if str(event) == "-" else _text(event)
    try:
        parsed: Json = json.loads(text)
        context = Context(bucket_at(bucket), Settings(), load=isolated)
        show(context.handle(known(function), parsed))
        context.close()
    except (json.JSONDecodeError, UnknownEvent, UnknownFunction) as error:
        fail(f"{event}: {error}")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        fail(f"{path}: {error.strerror}")
