"""Workers of a command's own, for the duration of one command, and what it leaves in the bucket."""

import contextlib
import signal
from collections.abc import Iterator, Mapping, Sequence

import typer

from shared.buckets import Bucket
from shared.cli.console import WaitOptions
from shared.contract.function import NAMES
from shared.operations.client import Client
from shared.operations.status import overview
from shared.runtime.supervisor import Supervisor
from shared.settings import Settings


@contextlib.contextmanager
def run_workers(
    client: Client, settings: Settings, functions: Sequence[str], environment: Mapping[str, str] | None = None
) -> Iterator[WaitOptions]:
    """Run workers of these functions for the duration of the block, with a check that restarts those that die.

    They end with this process: on Ctrl-C, on SIGTERM, and on SIGHUP when a terminal is closed.

    Args:
        environment: variables of the workers, besides those of this process.
    """
    address = client.bucket.address
    left = f"stopped; finished work stays in {address}, and the same command continues from there"
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with Supervisor(address, functions, settings.lease.drain_seconds, dict(environment or {})) as supervisor:
        try:
            yield WaitOptions(supervisor.check, "its worker is loading or busy with another request", left)
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # the workers are stopping, and must not be left behind
            supervisor.hand_back()


@contextlib.contextmanager
def report_what_stays(address: str, what: str) -> Iterator[list[str]]:
    """Print, however the block ends, what is kept of the people in the list, and how to remove it."""
    people: list[str] = []
    try:
        yield people
    finally:
        for one in people:
            told = f"{what} of {one} stay in {address}; `photog forget {address} {one}` removes them"
            typer.echo(f"photog: {told}", err=True)


def report_unfinished(bucket: Bucket, settings: Settings) -> None:
    """Say that an interrupted earlier command has left requests that come first."""
    states = overview(bucket, settings.limits)
    left = [one for function in NAMES for state in ("running", "waiting") for one in states[function][state]]
    if left:
        typer.echo(
            f"photog: {bucket.address} has {len(left)} requests without an answer ({', '.join(left)}), probably from "
            "an interrupted command; they are served first, or at the same time",
            err=True,
        )
