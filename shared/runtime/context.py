"""State that a process keeps between requests: its bucket, its loaded functions, its shutdown flag."""

import os
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from shared.buckets import Bucket, prefix_of
from shared.contract.function import Function
from shared.contract.hooks import AttemptHook
from shared.contract.manifests import Json
from shared.devices.torchvision import require_matching_torchvision
from shared.errors import ConfigurationError, explain_failed_import, how_to_install
from shared.events import parse
from shared.lifecycle.invocation import Invocation
from shared.lifecycle.observations import Observations
from shared.lifecycle.quota import Quota
from shared.lifecycle.shutdown import Shutdown
from shared.lifecycle.unread import StrayLog
from shared.lifecycle.usage_records import UsageRecords
from shared.notify import Destination
from shared.notify.bucket import BucketNotifier
from shared.notify.delivery import Delivery
from shared.notify.outbox import Outbox
from shared.notify.sns import SnsTopic
from shared.notify.webhook import Webhook
from shared.runtime.isolation import IsolatedFunction
from shared.runtime.request_models import ENTRY_POINTS, require_valid
from shared.runtime.unused_packages import UNUSED, leave_out
from shared.settings import Settings

OURS = ("functions", "shared")

Load = Callable[[str, Settings], Function]


class UnknownFunction(ConfigurationError):
    """No installed function has this name."""


def load_function(name: str, settings: Settings) -> Function:
    """Load a function and its models; it is found by its entry point, so that this module imports none."""
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        with leave_out(UNUSED if settings.model.is_embedded else ()):
            load = _get_loader(entry)
        return load(settings)
    raise _unknown_function(name)


def _unknown_function(name: str) -> UnknownFunction:
    known = ", ".join(sorted(installed_functions()))
    return UnknownFunction(f"no function {name} is installed; the installed ones are {known}")


def _get_loader(entry: EntryPoint) -> Callable[[Settings], Function]:
    """Return the loader of a function; raises ConfigurationError if a package that it imports is missing or broken."""
    try:
        if entry.name != "check":
            require_matching_torchvision()
        loader: Callable[[Settings], Function] = entry.load()
    except (ImportError, RuntimeError) as error:
        needed = (getattr(error, "name", None) or "").partition(".")[0]
        if needed in OURS:
            raise
        if not needed or not isinstance(error, ModuleNotFoundError):
            raise ConfigurationError(explain_failed_import(error)) from error
        extra = "" if entry.name == "check" else f": {how_to_install('diffusion')}"
        raise ConfigurationError(f"{entry.name} needs {needed}, which is not installed{extra}") from error
    return loader


def planned_peaks(settings: Settings) -> Json:
    """Return the planned peaks of device memory of the installed functions whose modules have a `planned_peak`."""
    found: Json = {}
    for entry in entry_points(group=ENTRY_POINTS):
        ask = getattr(import_module(entry.module), "planned_peak", None)
        found |= ask(settings) if ask else {}
    return found


def isolate_function(name: str, settings: Settings) -> Function:
    """Return the function in a child process of its own; see `isolation.py`."""
    if name not in installed_functions():
        raise _unknown_function(name)
    return IsolatedFunction(name, settings, load_function)


def installed_functions() -> list[str]:
    """Return the names of the installed functions."""
    return [entry.name for entry in entry_points(group=ENTRY_POINTS)]


class Context:
    """Loads each function once and serves any number of events with it.

    Args:
        shutdown: the process's shutdown flag; None makes a new one.
        load: loads a function by its name.
        observations: of others' claims; None starts without any.
        hooks: called around every request, beside the hooks that send completion events.
        owner: name of this process in claims; None makes one for each function.
    """

    def __init__(
        self,
        bucket: Bucket,
        settings: Settings,
        shutdown: Shutdown | None = None,
        load: Load = load_function,
        observations: Observations | None = None,
        hooks: Sequence[AttemptHook] = (),
        owner: str | None = None,
    ) -> None:
        self._hooks, self._owner = hooks, owner
        self._bucket, self._settings, self._load, self._observations = bucket, settings, load, observations
        self._shutdown = shutdown or Shutdown(settings.lease.drain_seconds)
        self._invocations: dict[str, Invocation] = {}
        self._functions: dict[str, Function] = {}
        self._deliveries: list[Delivery] = []
        self._stray_log = StrayLog()

    def handle(self, function: str, event: Json) -> Json:
        """Serve every object that the event names; returns the outcome of each by its key."""
        prefix = prefix_of(self._bucket)
        created = [ours for one in parse(event) if (ours := one.below(prefix)) is not None]
        for one in created:
            self._stray_log.tell_of(one.key)
        return {"outcomes": {one.key: self.invocation(function).receive(one).value for one in created}}

    def invocation(self, function: str) -> Invocation:
        """Return the invocation of a function, which is loaded at the first call."""
        if function not in self._invocations:
            self._functions[function] = self._load(function, self._settings)
            self._invocations[function] = Invocation(
                self._bucket,
                self._functions[function],
                self._settings,
                self._owner or make_owner_name(),
                self._shutdown,
                # events first: a record that the store refuses must not hold them up
                [*self._hooks, *self._notifiers(function), *self._accountants()],
                self._observations,
                partial(require_valid, function) if self._settings.quota.limited else None,
            )
        return self._invocations[function]

    def work_process(self) -> int | None:
        """Return the process id of a function that runs in a child process; None if there is none."""
        ids = [one.process_id for one in self._functions.values() if isinstance(one, IsolatedFunction)]
        return ids[0] if ids else None

    def await_loaded(self) -> None:
        """Wait until functions in child processes are loaded, or until the process is asked to stop."""
        for function in self._functions.values():
            if isinstance(function, IsolatedFunction):
                function.await_loaded(self._shutdown.requested)

    def close(self) -> None:
        """End child processes, and give the last events a moment to go out; undelivered ones stay in the outbox."""
        for function in self._functions.values():
            if isinstance(function, IsolatedFunction):
                function.close()
        for delivery in self._deliveries:
            delivery.close()

    def _accountants(self) -> list[AttemptHook]:
        """Return the hooks that record what is used and hold quotas; none by default, as they take store calls."""
        quota = self._settings.quota
        if not (quota.limited or self._settings.usage.record):
            return []
        return [UsageRecords(self._bucket), *([Quota(self._bucket, quota)] if quota.limited else [])]

    def _notifiers(self, function: str) -> list[AttemptHook]:
        notifiers: list[AttemptHook] = [BucketNotifier(self._bucket)] if self._settings.notify.bucket else []
        if outside := list_destinations(self._settings):
            delivery = Delivery(Outbox(self._bucket, outside), self._settings.notify.redelivery_seconds)
            delivery.start(function)
            self._deliveries.append(delivery)
            notifiers.append(delivery)
        return notifiers


@contextmanager
def notifying(bucket: Bucket, settings: Settings) -> Iterator[list[AttemptHook]]:
    """Give the hooks that send the events of a few answers; undelivered ones stay in the outbox.

    They are sent at the end, within a few seconds.
    """
    outside = list_destinations(settings)
    delivery = Delivery(Outbox(bucket, outside), settings.notify.redelivery_seconds) if outside else None
    inside: list[AttemptHook] = [BucketNotifier(bucket)] if settings.notify.bucket else []
    yield [*inside, *([delivery] if delivery else [])]
    if delivery:
        delivery.close()


def list_destinations(settings: Settings) -> list[Destination]:
    """Return the destinations outside the bucket to which the settings send completion events."""
    told: list[Destination] = []
    if settings.notify.sns_topic:
        told.append(SnsTopic(settings.notify.sns_topic, settings.notify.sns_endpoint))
    if settings.notify.webhook_secret is not None:
        secret, seconds = settings.notify.webhook_secret.get_secret_value(), settings.notify.webhook_seconds
        told += [Webhook(url, secret, seconds) for url in settings.notify.webhooks]
    return told


def make_owner_name() -> str:
    """Return a name for this process in claims: host, process id, and a random part since both are reused."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
