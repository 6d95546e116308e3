"""The verb `forget`, which removes a person's data."""

from typing import Annotated

import typer

from shared.cli.console import AsJson, existing_bucket, show
from shared.cli.identity import require_user
from shared.cli.workers import BucketArgument
from shared.contract.visible import visible
from shared.operations.erasure import Erasure
from shared.settings import Settings


def forget(
    bucket: BucketArgument,
    user: Annotated[str, typer.Argument(metavar="USER", help="The person's id.")],
    as_json: AsJson = False,
) -> None:
    """Remove everything of a user: photos, LoRAs, portraits, requests, answers, claims. List what remains, if any."""
    require_user(user)
    settings = Settings()
    forgetting = Erasure(existing_bucket(bucket), settings.lease, named=settings.buckets)
    removed = forgetting.forget(user)
    held = forgetting.holdings(user)
    remaining = held.remaining()
    if as_json:
        show({"user_id": user, "removed": removed, "remaining": remaining})
    else:
        for key in removed:
            typer.echo(f"removed {visible(key)}")
        for key in remaining:
            typer.echo(f"remains {visible(key)}")
        typer.echo(f"{user}: {len(removed)} objects removed, {len(remaining)} remain")
    for key, why in held.faults.items():
        typer.echo(f"photog: {visible(key)}: {visible(why)}", err=True)
    untold = len(set(remaining) - held.faults.keys())
    if untold and held.faults:
        typer.echo(f"photog: {untold} other objects stay too, because they say whose those are", err=True)
    elif untold:
        typer.echo("photog: a worker keeps writing while this removes; stop the workers and forget again", err=True)
    if remaining:
        raise typer.Exit(1)
