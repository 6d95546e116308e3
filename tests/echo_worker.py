"""A worker process whose function only echoes: `python -m tests.echo_worker FUNCTION BUCKET`, until SIGTERM.

Everything but the function is the product's: trigger, claims, attempts, answers. A body may ask for `seconds` of work.
"""

import signal
import sys
import time
from collections.abc import Callable

from shared.buckets import FolderBucket, open_bucket
from shared.contract.function import Answer
from shared.contract.manifests import Json
from shared.contract.workspace import Workspace
from shared.lifecycle.invocation import Invocation
from shared.lifecycle.shutdown import Shutdown
from shared.runtime.context import make_owner_name
from shared.settings import Settings
from shared.triggers.folder import FolderTrigger

STEP_SECONDS = 0.05


class TimedEcho:
    """Answers at once with what it was sent, or after `seconds`, reporting a stage."""

    def __init__(self, name: str) -> None:
        self.name = name

    def answer(self, body: Json, workspace: Workspace) -> Answer:
        until = time.monotonic() + body.get("seconds", 0)
        while time.monotonic() < until:
            workspace.progress("echoing", 1, 2)
            time.sleep(STEP_SECONDS)
        return Answer({"echo": body})

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Nothing is kept."""

    def pointers(self, data: Json) -> dict[str, Json]:
        return {}


def main(function: str, address: str) -> None:
    bucket, settings, shutdown = open_bucket(address), Settings(), Shutdown(10)
    assert isinstance(bucket, FolderBucket)
    signal.signal(signal.SIGTERM, lambda number, frame: shutdown.request())
    invocation = Invocation(bucket, TimedEcho(function), settings, make_owner_name(), shutdown)
    trigger = FolderTrigger(bucket, function, settings.scan)
    trigger.run(invocation.receive, shutdown.requested)


if __name__ == "__main__":
    main(*sys.argv[1:])
