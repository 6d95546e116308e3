"""The verb that removes a person."""

from typing import Annotated

import typer

from shared.cli.console import AsJson, bucket_at, fail, show
from shared.cli.workers import BucketArgument
from shared.forgetting import Forgetting
from shared.manifests import USER_ID
from shared.settings import Settings


def forget(
    bucket: BucketArgument,
    user: Annotated[str, typer.Argument(metavar="USER", help="The person's id.")],
    as_json: AsJson = False,
) -> None:
    """Remove everything of a user: photos, LoRAs, portraits, requests, answers, claims. Lists what remains: nothing."""
    if not USER_ID.fullmatch(user) or user in (".", ".."):
        fail(f"{user!r} is no user id; 1 to 64 of A-Z a-z 0-9 . _ - and neither . nor ..")
    settings = Settings()
    forgetting = Forgetting(bucket_at(bucket), settings.lease, named=settings.buckets)
    removed = forgetting.forget(user)
    held = forgetting.holdings(user)
    remaining = held.remaining()
    if as_json:
        show({"user_id": user, "removed": removed, "remaining": remaining})
    else:
        for key in removed:
            typer.echo(f"removed {key}")
        for key in remaining:
            typer.echo(f"remains {key}")
        typer.echo(f"{user}: {len(removed)} objects removed, {len(remaining)} remain")
    for key, why in held.faults.items():
        typer.echo(f"photog: {key}: {why}", err=True)
    untold = len(set(remaining) - held.faults.keys())
    if untold and held.faults:
        typer.echo(f"photog: {untold} others stay as well: they tell whose those are", err=True)
    elif untold:
        typer.echo("photog: a worker writes as fast as this removes; stop the workers and forget again", err=True)
    if remaining:
        raise typer.Exit(1)
