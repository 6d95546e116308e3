"""Workers of a command's own: found ready or started, left ready for the next command, ended by Ctrl-C."""

import contextlib
import signal
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import typer

from shared.buckets import Bucket
from shared.cli.console import WaitOptions
from shared.contract.function import NAMES
from shared.observability.logs import configure
from shared.operations.client import Client
from shared.operations.status import overview
from shared.runtime.supervisor import Supervisor
from shared.runtime.warm_worker import WarmWorker
from shared.settings import Settings


def log_quietly(settings: Settings, verbose: bool) -> None:
    """Log to stderr what goes wrong, and with `verbose` everything that the settings ask for."""
    configure(settings.log if verbose else settings.log.model_copy(update={"level": "WARNING"}))


@contextlib.contextmanager
def run_workers(
    client: Client,
    settings: Settings,
    functions: Sequence[str],
    environment: Mapping[str, str] | None = None,
    verbose: bool = False,
    ending: Sequence[str] = (),
    left: str | None = None,
) -> Iterator[WaitOptions]:
    """Have workers of these functions for the block: those that an earlier command has left ready, or new ones.

    They are left ready for `PHOTOG_WARM_SECONDS`. If the block is interrupted, by Ctrl-C, SIGTERM, or SIGHUP as a
    terminal is closed, they hand back what they work on and end with this process.

    Args:
        environment: variables of the workers, besides those of this process.
        verbose: copy their logs to stderr.
        ending: functions whose workers end with the block all the same.
        left: printed if the user ends the wait; None says that the same command continues.
    """
    address = client.bucket.address
    seconds = settings.warm_seconds
    stopped = f"stopped, with the workers; finished work stays in {address}"
    told = left or f"{stopped}, and the same command continues from there"
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    start = partial(WarmWorker, idle_seconds=max(seconds, settings.lease.seconds), aloud=verbose)
    with Supervisor(address, functions, settings.lease.drain_seconds, dict(environment or {}), start) as supervisor:
        warm = supervisor.ready()
        try:
            yield WaitOptions(supervisor.check, left=told, loading=lambda: not supervisor.ready(), warm=warm)
        except BaseException as error:  # also typer's Exit, by which an interrupted wait ends the program
            if not isinstance(error, typer.Exit) or error.exit_code > 1:
                _end(supervisor)
            raise
        finally:
            if seconds:
                supervisor.leave(ending)
            else:
                _end(supervisor)


def _end(supervisor: Supervisor) -> None:
    """End the workers, and let nothing interrupt it: none may be left behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    supervisor.hand_back()
    supervisor.drain()


@contextlib.contextmanager
def report_what_stays(address: str) -> Iterator[dict[str, str]]:
    """Print, however the block ends, what is kept of each person in the dictionary, and how to remove it."""
    people: dict[str, str] = {}
    try:
        yield people
    finally:
        for one, what in people.items():
            told = f"{what} of {one} stay in {address}; `photog forget {address} {one}` removes them"
            typer.echo(f"photog: {told}", err=True)


def report_unfinished(bucket: Bucket, settings: Settings) -> None:
    """Say that an interrupted earlier command has left requests that come first."""
    states = overview(bucket, settings.limits)
    left = [one for function in NAMES for state in ("running", "waiting") for one in states[function][state]]
    if left:
        typer.echo(
            f"photog: {bucket.address} has {len(left)} requests without an answer ({', '.join(left)}), probably from "
            f"an interrupted command; the same command again, or `photog up {bucket.address}`, goes on with them",
            err=True,
        )
