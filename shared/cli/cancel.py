"""The verb `cancel`, which answers a request before its worker does."""

from typing import Annotated

import typer

from shared.cli.console import AsJson, existing_bucket, fail, show
from shared.cli.workers import BucketArgument, FunctionArgument, require_function
from shared.contract.manifests import is_canceled
from shared.operations.cancellation import Cancellation, UnknownRequest
from shared.runtime.context import notifying
from shared.settings import Settings


def cancel(
    function: FunctionArgument,
    bucket: BucketArgument,
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The request's id.")],
    as_json: AsJson = False,
) -> None:
    """Cancel a request that waits or runs.

    Exit status 0: canceled. 1: it was answered before. 2: there is none.

    \b
    Example:
      photog cancel train BUCKET 42
    """
    place, settings = existing_bucket(bucket), Settings()
    with notifying(place, settings) as hooks:
        try:
            answer = Cancellation(place, require_function(function), settings, hooks).cancel(request_id)
        except UnknownRequest as error:
            fail(str(error))
    if as_json:
        show(answer)
    else:
        told = "canceled" if is_canceled(answer) else f"answered before: {answer['message']}"
        typer.echo(f"{function} {request_id} is {told}")
    if not is_canceled(answer):
        raise typer.Exit(1)
