"""The verb `forget`, which removes a person's data, or photos that belong to nobody."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from shared.buckets import Bucket
from shared.cli.console import AsJson, existing_bucket, fail, show
from shared.cli.identity import require_user
from shared.cli.nearest import did_you_mean
from shared.cli.workers import ExistingBucket
from shared.contract import keys
from shared.contract.visible import visible
from shared.operations.erasure import Erasure, OwnedPhoto
from shared.operations.user_data import UserData
from shared.settings import Settings

MOST_LISTED = 20  # objects that are listed by their keys; more are counted by folder


def forget(
    bucket: ExistingBucket,
    user: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The person's name.")] = None,
    photos: Annotated[
        list[str] | None,
        typer.Option(
            "--photos", metavar="KEY", help="In place of NAME: a photo that belongs to nobody. May be repeated."
        ),
    ] = None,
    as_json: AsJson = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="List every object that is removed.")] = False,
) -> None:
    """Remove all that is kept of a person.

    Photos, LoRAs, portraits, requests, answers, claims. Says what it removed, and lists what remains, if anything; the
    exit status is 1 then. With --photos it removes photos that belong to nobody, and the checks that name them.

    \b
    Examples:
      photog forget BUCKET ann
      photog forget BUCKET --photos photos/1.jpg --photos photos/2.jpg
    """
    if user is None and not photos and "://" not in bucket and not Path(bucket).expanduser().exists():
        fail(f"name the bucket too: photog forget {Settings().home / 'bucket'} {bucket}")
    if (user is None) == (not photos):
        fail("name a person to forget, or with --photos the keys of photos that belong to nobody")
    settings = Settings()
    if user is not None:
        require_user(user)
    place = existing_bucket(bucket)
    forgetting = Erasure(place, settings.lease, named=settings.buckets)
    if user is not None:
        removed = forgetting.forget(user)
        held = forgetting.holdings(user)
        if not removed and not held.remaining():
            _tell_unknown(place, user)
            if not as_json:
                return
        _report(user, removed, held, as_json, {"user_id": user}, verbose)
        return
    given = {key for one in photos or [] for key in _list_photos(place, one)}
    try:
        removed = forgetting.forget_photos(given)
        held = forgetting.find_unowned(given)
    except OwnedPhoto as error:
        fail(str(error))
    _report(f"{len(given)} photos", removed, held, as_json, {"photos": sorted(given)}, verbose)


def _list_photos(place: Bucket, key: str) -> list[str]:
    """Return the keys of photos that the user means; exits if there is none, or if it is no photo's."""
    if key.startswith(tuple(root for root in keys.ROOTS if root != keys.PHOTOS)):
        fail(f"{key} is not a photo that belongs to nobody: those are below {keys.PHOTOS}, or where you have put them")
    if key.endswith("/"):
        return [info.key for info in place.list(key)] or fail(f"there is no photo below {key}")
    if place.head(key) is None:
        folder = key.rpartition("/")[0]
        beside = [info.key for info in place.list(f"{folder}/" if folder else "")]
        fail(f"there is no photo {key} in {place.address}{did_you_mean(key, beside)}")
    return [key]


def _tell_unknown(place: Bucket, user: str) -> None:
    """Say that nothing is kept of a person, and who may be meant."""
    near = did_you_mean(user, place.folders(keys.USERS))
    typer.echo(f"photog: nothing is kept of {user} in {place.address}{near}", err=True)


def _count_by_folder(removed: list[str]) -> list[str]:
    """Return a line for each kind of object, with their number, such as `requests/train: 2`."""
    kinds = Counter("/".join(key.split("/")[: min(2, key.count("/"))]) for key in removed)
    return [f"{folder}: {number}" for folder, number in sorted(kinds.items())]


def _report(
    what: str, removed: list[str], held: UserData, as_json: bool, asked: dict[str, object], verbose: bool
) -> None:
    """Print what was removed and what remains; exit with 1 if something does."""
    remaining = held.remaining()
    if as_json:
        show(asked | {"removed": removed, "remaining": remaining})
    else:
        for line in removed if verbose or len(removed) <= MOST_LISTED else _count_by_folder(removed):
            typer.echo(f"removed {visible(line)}")
        for key in remaining:
            typer.echo(f"remains {visible(key)}")
        typer.echo(f"{what}: {len(removed)} objects removed, {len(remaining)} remain")
    for key, why in held.faults.items():
        typer.echo(f"photog: {visible(key)}: {visible(why)}", err=True)
    untold = len(set(remaining) - held.faults.keys())
    if untold and held.faults:
        typer.echo(f"photog: {untold} other objects stay too, because they say whose those are", err=True)
    elif untold:
        typer.echo("photog: a worker keeps writing while this removes; stop the workers and forget again", err=True)
    if remaining:
        raise typer.Exit(1)
