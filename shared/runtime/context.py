"""What a process holds between requests: its bucket, its loaded functions, its wish to stop."""

import os
import secrets
import socket
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from shared.buckets import Bucket, prefix_of
from shared.contract.function import Function
from shared.contract.hooks import AttemptHook
from shared.contract.manifests import Json
from shared.errors import ConfigurationError, how_to_install
from shared.events import parse
from shared.lifecycle.invocation import Invocation
from shared.lifecycle.observations import Observations
from shared.lifecycle.shutdown import Shutdown
from shared.lifecycle.unread import StrayLog
from shared.notify import Destination
from shared.notify.bucket import BucketNotifier
from shared.notify.delivery import Delivery
from shared.notify.outbox import Outbox
from shared.notify.sns import SnsTopic
from shared.notify.webhook import Webhook
from shared.runtime.isolation import IsolatedFunction
from shared.settings import Settings

ENTRY_POINTS = "photog.functions"
OURS = ("functions", "shared")

Load = Callable[[str, Settings], Function]


class UnknownFunction(ConfigurationError):
    """No installed function has this name."""


def load_function(name: str, settings: Settings) -> Function:
    """The function with its models loaded, found by its entry point so that nothing here imports one."""
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        return _loader(entry)(settings)
    raise UnknownFunction(f"no function {name} is installed; there are {', '.join(sorted(installed_functions()))}")


def _loader(entry: EntryPoint) -> Callable[[Settings], Function]:
    """What loads a function; ConfigurationError where packages that it imports are not installed."""
    try:
        loader: Callable[[Settings], Function] = entry.load()
    except ModuleNotFoundError as error:
        needed = (error.name or "").partition(".")[0]
        if needed in OURS:
            raise
        extra = "" if entry.name == "check" else f": {how_to_install('diffusion')}"
        raise ConfigurationError(f"{entry.name} needs {needed}, which is not installed{extra}") from error
    return loader


def planned_peaks(settings: Settings) -> Json:
    """What the installed functions plan of their device's memory, where their modules have a `planned_peak`."""
    found: Json = {}
    for entry in entry_points(group=ENTRY_POINTS):
        ask = getattr(import_module(entry.module), "planned_peak", None)
        found |= ask(settings) if ask else {}
    return found


def isolate_function(name: str, settings: Settings) -> Function:
    """The function in a process of its own, beside this one; see `isolation.py`."""
    if name not in installed_functions():
        raise UnknownFunction(f"no function {name} is installed; there are {', '.join(sorted(installed_functions()))}")
    return IsolatedFunction(name, settings, load_function)


def installed_functions() -> list[str]:
    """The names of the functions that this installation has."""
    return [entry.name for entry in entry_points(group=ENTRY_POINTS)]


class Context:
    """Loads each function once and serves any number of events with it.

    Args:
        hooks: around every request, beside those that notify.
    """

    def __init__(
        self,
        bucket: Bucket,
        settings: Settings,
        shutdown: Shutdown | None = None,
        load: Load = load_function,
        observations: Observations | None = None,
        hooks: Sequence[AttemptHook] = (),
    ) -> None:
        self._hooks = hooks
        self._bucket, self._settings, self._load, self._observations = bucket, settings, load, observations
        self._shutdown = shutdown or Shutdown(settings.lease.drain_seconds)
        self._invocations: dict[str, Invocation] = {}
        self._functions: dict[str, Function] = {}
        self._deliveries: list[Delivery] = []
        self._telling = StrayLog()

    def handle(self, function: str, event: Json) -> Json:
        """Serve every object that the event speaks of; what became of each, by key."""
        prefix = prefix_of(self._bucket)
        created = [ours for one in parse(event) if (ours := one.below(prefix)) is not None]
        for one in created:
            self._telling.tell_of(one.key)
        return {"outcomes": {one.key: self.invocation(function).receive(one).value for one in created}}

    def invocation(self, function: str) -> Invocation:
        """The invocation of a function, loaded at the first call."""
        if function not in self._invocations:
            self._functions[function] = self._load(function, self._settings)
            self._invocations[function] = Invocation(
                self._bucket,
                self._functions[function],
                self._settings,
                make_owner_name(),
                self._shutdown,
                [*self._hooks, *self._notifiers(function)],
                self._observations,
            )
        return self._invocations[function]

    def work_process(self) -> int | None:
        """The process id of a function that works beside this process; None where there is none."""
        ids = [one.process_id for one in self._functions.values() if isinstance(one, IsolatedFunction)]
        return ids[0] if ids else None

    def await_loaded(self) -> None:
        """Wait until functions that load beside this process are there, or the process is asked to stop."""
        for function in self._functions.values():
            if isinstance(function, IsolatedFunction):
                function.await_loaded(self._shutdown.requested)

    def close(self) -> None:
        """Give the events of the last answers a moment; what is not delivered in it stays in the outbox."""
        for function in self._functions.values():
            if isinstance(function, IsolatedFunction):
                function.close()
        for delivery in self._deliveries:
            delivery.close()

    def _notifiers(self, function: str) -> list[AttemptHook]:
        notifiers: list[AttemptHook] = [BucketNotifier(self._bucket)] if self._settings.notify.bucket else []
        if outside := list_destinations(self._settings):
            delivery = Delivery(Outbox(self._bucket, outside), self._settings.notify.redelivery_seconds)
            delivery.start(function)
            self._deliveries.append(delivery)
            notifiers.append(delivery)
        return notifiers


def list_destinations(settings: Settings) -> list[Destination]:
    """Whom the settings want told of answers outside of the bucket."""
    told: list[Destination] = []
    if settings.notify.sns_topic:
        told.append(SnsTopic(settings.notify.sns_topic, settings.notify.sns_endpoint))
    if settings.notify.webhook_secret is not None:
        secret, seconds = settings.notify.webhook_secret.get_secret_value(), settings.notify.webhook_seconds
        told += [Webhook(url, secret, seconds) for url in settings.notify.webhooks]
    return told


def make_owner_name() -> str:
    """A name for this process in claims: host, process and a random part, since both come again."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
