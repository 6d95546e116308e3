"""The verbs that only containers need: http and health."""

from typing import Annotated

import typer

from shared.buckets.conditional_writes import require_conditions
from shared.cli.console import bucket_at, fail, log_to_stderr
from shared.cli.workers import BucketArgument, FunctionArgument, require_function
from shared.errors import ConfigurationError, how_to_install
from shared.lifecycle.shutdown import Shutdown
from shared.runtime.context import Context, isolate_function
from shared.runtime.liveness import Unhealthy, examine
from shared.settings import Settings

Port = Annotated[int, typer.Option(min=0, max=65535, help="TCP port; Function Compute's default is 9000.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]


def http(function: FunctionArgument, bucket: BucketArgument, port: Port = 9000, host: Host = "0.0.0.0") -> None:
    """Serve storage events over HTTP.

    POST /invoke takes one event; for Function Compute, webhooks and CloudEvents. Callers must send PHOTOG_TOKEN if it
    is set.

    \b
    Example:
      photog http check s3://portraits --port 9000
    """
    log_to_stderr()
    try:
        from shared.runtime.http import HttpEntry, InvocationService  # only this verb needs the extra
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"http needs {error.name}: {how_to_install('http')}") from error
    settings = Settings()
    shutdown = Shutdown(settings.lease.drain_seconds)
    place = bucket_at(bucket)
    context = Context(place, settings, shutdown, isolate_function)
    service = InvocationService(context, require_function(function), shutdown)
    try:
        require_conditions(place)
        token = settings.token.get_secret_value() if settings.token else None
        entry = HttpEntry(service, shutdown, settings.lease.drain_seconds, (host, port), token)
    except OSError as error:
        fail(f"cannot listen on {host}:{port}: {error.strerror}")
    entry.run()
    context.close()
    if service.broken is not None:
        raise service.broken


def health(function: FunctionArgument) -> None:
    """Tell whether this container's worker is alive.

    Reads PHOTOG_HEALTH__FILE; exit status 1 means: restart it.

    \b
    Example:
      photog health check
    """
    try:
        typer.echo(examine(require_function(function), Settings()))
    except Unhealthy as error:
        typer.echo(f"photog: {error}", err=True)
        raise typer.Exit(1) from error
