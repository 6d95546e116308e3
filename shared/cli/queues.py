"""The verbs for operating a store with queues: job, sweep, dead-letters, redrive."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer

from shared.buckets import Bucket, BucketError, InvalidKey, prefix_of, s3_name
from shared.buckets.base import check_key
from shared.buckets.conditional_writes import require_conditions
from shared.cli.console import AsJson, bucket_at, existing_bucket, exit_unavailable, fail, log_to_stderr, show
from shared.cli.workers import BucketArgument, ExistingBucket, FunctionArgument, require_function
from shared.contract import keys
from shared.contract.function import NAMES, DeviceBroken
from shared.contract.visible import visible
from shared.errors import ConfigurationError
from shared.events import put_event
from shared.lifecycle.shutdown import Shutdown
from shared.notify.outbox import DamagedEntry, Outbox
from shared.operations.dead_letters import DeadLetterFunction
from shared.operations.redrive import redrive as move
from shared.operations.sweep import StalledRequest, Sweep
from shared.runtime.context import Context, isolate_function, list_destinations
from shared.runtime.job import run_job
from shared.runtime.worker import Worker
from shared.settings import Settings
from shared.triggers.sqs_queue import QueueError, SqsQueue

ANOTHER_ATTEMPT = 75  # EX_TEMPFAIL of sysexits.h

QueueUrl = Annotated[str | None, typer.Option("--queue", help="URL of the queue; by default PHOTOG_SQS__QUEUE.")]


def job(
    function: FunctionArgument,
    bucket: BucketArgument,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The manifest's key: requests/FUNCTION/....json")],
) -> None:
    """Serve one manifest, then exit, for AWS Batch.

    Exit status 0: answered, whatever the answer's code, also if
    another attempt had answered it or the manifest is gone. 75: not answered, another attempt should follow (handed
    back on SIGTERM, claimed by a living worker, or the store or the GPU failed). 1: crashed. 2: wrong usage.

    \b
    Example:
      photog job train s3://portraits requests/train/42.json
    """
    log_to_stderr()
    if not keys.is_request(key, require_function(function)):
        check_key(key)
        fail(f"{key} is not a manifest of {function}: those are requests/{function}/....json")
    settings = Settings()
    shutdown = Shutdown(settings.lease.drain_seconds)

    def stop(number: int, frame: FrameType | None) -> None:
        shutdown.request(now=shutdown.requested.is_set())

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    place = bucket_at(bucket)
    context = Context(place, settings, shutdown, isolate_function)
    try:
        require_conditions(place)  # also because a missing bucket looks like one without the manifest
        outcome = run_job(context.invocation(function).receive, key, settings.lease, shutdown.requested)
        context.close()
    except (InvalidKey, ConfigurationError):
        raise  # another attempt would fail too
    except (BucketError, OSError, DeviceBroken) as error:
        typer.echo(f"photog: {error}", err=True)
        raise typer.Exit(ANOTHER_ATTEMPT) from error
    show({"key": key, "outcome": outcome.value})
    if not outcome.settled:
        raise typer.Exit(ANOTHER_ATTEMPT)


def dead_letters(
    function: FunctionArgument,
    bucket: ExistingBucket,
    queue: QueueUrl = None,
    once: Annotated[bool, typer.Option("--once", help="End when the queue is empty.")] = False,
) -> None:
    """Answer the requests of a dead-letter queue.

    Each one that has no answer gets an error, then its message is deleted. Loads no model.

    \b
    Example:
      photog dead-letters train s3://portraits --queue URL --once
    """
    log_to_stderr()
    settings, place = Settings(), existing_bucket(bucket)
    with _exit_if_unusable():
        letters = _open_queue(queue, settings)
        Worker(
            require_function(function), place, settings, DeadLetterFunction, until_empty=once, dead_letters=letters
        ).run()


def redrive(
    function: FunctionArgument,
    source: Annotated[str, typer.Option("--from", help="URL of the dead-letter queue.")],
    target: Annotated[str, typer.Option("--to", help="URL of the queue that a worker polls.")],
    limit: Annotated[int, typer.Option(min=1, help="Move at most this many.")] = 100_000,
) -> None:
    """Put dead letters back into their queue.

    For when the cause of their failure is fixed.

    \b
    Example:
      photog redrive train --from DEAD_LETTERS_URL --to QUEUE_URL
    """
    settings = Settings()
    with _exit_if_unusable():
        moved = move(require_function(function), _open_queue(source, settings), _open_queue(target, settings), limit)
    show({"moved": moved})


def sweep(
    bucket: ExistingBucket,
    function: Annotated[list[str] | None, typer.Option("--function", help="Only these functions.")] = None,
    queue: Annotated[list[str] | None, typer.Option(help="One URL per --function: send their events again.")] = None,
    older: Annotated[float, typer.Option(help="Seconds since the manifest was written.")] = 900.0,
    as_json: AsJson = False,
) -> None:
    """Find requests whose event was lost.

    With --queue their events are sent again. Also delivers the events in the outbox. Exit status 0: nothing was lost,
    or everything lost was sent again. 1: there are lost requests.

    \b
    Examples:
      photog sweep s3://portraits
      photog sweep s3://portraits --function train --queue URL
    """
    log_to_stderr()
    settings, place = Settings(), existing_bucket(bucket)
    functions = [require_function(one) for one in function] if function else list(NAMES)
    if queue and len(queue) != len(functions):
        fail(f"{len(queue)} queues for {len(functions)} functions; give --queue once for each --function, in order")
    with _exit_if_unusable():
        lost = Sweep(place, settings.limits, settings.lease).find(functions, older)
        queues = dict(zip(functions, queue or [], strict=False))
        for one in lost:
            if one.function in queues:
                _open_queue(queues[one.function], settings).send(json.dumps(_make_event(place, one)))
        undelivered = _deliver(place, settings)
    rows = [
        {"function": one.function, "request_id": one.request_id, "key": one.info.key, "state": one.state}
        for one in lost
    ]
    if as_json:
        show({"lost": rows, "sent": bool(queue), "undelivered": undelivered})
    else:
        for row in rows:
            typer.echo(f"{row['function']:<9} {row['state']:<10} {visible(row['key'])}")
        typer.echo(f"{len(rows)} lost, {'sent again' if queue else 'not sent'}; {undelivered} events undelivered")
    if rows and not queue:
        raise typer.Exit(1)


def _make_event(place: Bucket, one: StalledRequest) -> dict[str, object]:
    name = s3_name(place)
    if name is None:
        fail("a folder has no events to send again; its workers scan it")
    return put_event(name, one.info, prefix_of(place))


def _deliver(place: Bucket, settings: Settings) -> int:
    """Try to deliver every entry of the outbox once; returns how many remain."""
    outbox = Outbox(place, list_destinations(settings))
    for key in outbox.entries():
        try:
            outbox.deliver(key)
        except DamagedEntry as error:
            typer.echo(f"photog: {error}", err=True)
    return len(outbox.entries())


def _open_queue(url: str | None, settings: Settings) -> SqsQueue:
    named = url or settings.sqs.queue
    if named is None:
        fail("no queue is given; use --queue or PHOTOG_SQS__QUEUE")
    return SqsQueue(named, settings.sqs, settings.s3)


@contextmanager
def _exit_if_unusable() -> Iterator[None]:
    """Exit with the reason, without a traceback, if a store or queue cannot be used."""
    try:
        yield
    except (InvalidKey, ConfigurationError):
        raise
    except (BucketError, QueueError) as error:
        exit_unavailable(str(error))
