"""What a process holds between requests: its bucket, its loaded functions, its wish to stop."""

import os
import secrets
import socket
from collections.abc import Callable
from importlib.metadata import entry_points

from shared.buckets import Bucket, open_bucket
from shared.events import parse
from shared.function import Function
from shared.interruption import Shutdown
from shared.invocation import Invocation
from shared.manifests import Json
from shared.notify.bucket import BucketNotifier
from shared.settings import Settings

ENTRY_POINTS = "photog.functions"


class UnknownFunction(Exception):
    """No installed function has this name."""


def load_function(name: str, settings: Settings) -> Function:
    """The function with its models loaded, found by its entry point so that nothing here imports one."""
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        function: Function = entry.load()(settings)
        return function
    raise UnknownFunction(f"no function {name} is installed; there are {', '.join(sorted(installed()))}")


def installed() -> list[str]:
    """The names of the functions that this installation has."""
    return [entry.name for entry in entry_points(group=ENTRY_POINTS)]


class Context:
    """The `context` of `handler(event, context)`: loads each function once and serves any number of events with it."""

    def __init__(
        self,
        bucket: Bucket,
        settings: Settings,
        shutdown: Shutdown | None = None,
        load: Callable[[str, Settings], Function] = load_function,
    ) -> None:
        self._bucket, self._settings, self._load = bucket, settings, load
        self._shutdown = shutdown or Shutdown(settings.lease.drain_seconds)
        self._invocations: dict[str, Invocation] = {}

    def handle(self, function: str, event: Json) -> Json:
        """Serve every object that the event speaks of; what became of each, by key."""
        created = parse(event)
        return {"outcomes": {one.key: self.invocation(function).receive(one).value for one in created}}

    def invocation(self, function: str) -> Invocation:
        """The invocation of a function, loaded at the first call."""
        if function not in self._invocations:
            notifiers = [BucketNotifier(self._bucket)] if self._settings.notify.bucket else []
            self._invocations[function] = Invocation(
                self._bucket,
                self._load(function, self._settings),
                self._settings,
                owner(),
                self._shutdown,
                notifiers,
                {name: open_bucket(address) for name, address in self._settings.buckets.items()},
            )
        return self._invocations[function]


def owner() -> str:
    """A name for this process in claims: host, process and a random part, since both come again."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
