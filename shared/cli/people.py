"""The verbs of `photog people`: who is known, and people who are kept without a training."""

import dataclasses
from datetime import datetime
from typing import Annotated

import typer
from typer.core import TyperCommand, TyperGroup

from shared.buckets import Bucket
from shared.cli.beforehand import leave_out_unreadable, require_installed, require_valid
from shared.cli.console import AsJson, Verbose, existing_bucket, fail, finish, show, submit_request
from shared.cli.durations import Durations
from shared.cli.identity import require_user
from shared.cli.own_workers import log_quietly, report_what_stays, run_workers
from shared.cli.pictures import Pictures, complete_files, files_of, is_file
from shared.cli.progress import Part, ProgressLine
from shared.cli.requests import ReplacePerson, count_of, describe_training, train_body
from shared.cli.stale_people import list_stale
from shared.operations.client import Client
from shared.operations.pending_people import list_pending
from shared.operations.people import Person, count_photos_of_others, list_people
from shared.settings import Settings

HOME_BUCKET = "~/.photog/bucket"

BucketOption = Annotated[
    str | None, typer.Option(metavar="BUCKET", help=f"A folder or s3://NAME[/PREFIX]; by default {HOME_BUCKET}.")
]

REMOVING = ("remove", "rm", "delete", "forget")


class _People(TyperGroup):
    """The verbs of `photog people`, with a hint at the one that removes somebody, which is not among them."""

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | None:  # type: ignore[override]
        """Return the verb; exit with what to type where the one is meant that removes a person."""
        if cmd_name in REMOVING:
            place = ctx.params.get("bucket") or HOME_BUCKET
            fail(f"`photog forget {place} NAME` removes a person, with all that is kept of them")
        return super().get_command(ctx, cmd_name)  # type: ignore[return-value]


people = typer.Typer(cls=_People, pretty_exceptions_enable=False, rich_markup_mode=None, invoke_without_command=True)


@people.callback()
def group(
    context: typer.Context,
    bucket: BucketOption = None,
    stale: Annotated[
        bool,
        typer.Option(
            "--stale", help="Only those trained for another base model or face engine than PHOTOG_... names now."
        ),
    ] = False,
    train: Annotated[
        bool, typer.Option("--train", help="With --stale: ask for their retraining, from the photos that are kept.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="With --stale: list at most so many, or ask for them.")
    ] = None,
    after: Annotated[
        str, typer.Option(metavar="NAME", help="Begin after this name, as where the last list has ended.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List the people who are known, add or retrain some.

    Portraits of them need no photos: `photog portrait --user NAME`. `photog forget BUCKET NAME` removes one.

    \b
    Examples:
      photog people
      photog people add ann me
      photog people --stale --bucket s3://portraits
      photog people --stale --train --limit 100 --bucket s3://portraits
    """
    if context.invoked_subcommand is not None:
        return
    if not stale and (train or limit is not None):
        fail("--train and --limit are for --stale: photog people --stale --train")
    home = Settings().home.expanduser() / "bucket"
    if bucket is None and not home.exists():
        typer.echo("photog: nobody is known yet; `photog people add NAME PHOTO...`", err=True)
        return
    place = existing_bucket(bucket or str(home))
    if stale:
        list_stale(place, after, limit, train, as_json)
        return
    _list_known(place, after, as_json)


def _list_known(place: Bucket, after: str, as_json: bool) -> None:
    """Print who is known, and who is not yet."""
    known = list(list_people(place, after))
    names = {one.user_id for one in known}
    others = dict(count_photos_of_others(place, names))
    pending = [one for one in list_pending(place, Settings().limits) if one.user_id not in names]
    if as_json:
        told = {"people": [dataclasses.asdict(one) for one in known], "photos_of_others": others}
        show(told | {"pending": [dataclasses.asdict(one) for one in pending]})
        return
    for one in known:
        typer.echo(_describe(one))
    waits = {one.user_id: one for one in reversed(pending)}  # of several requests of one person, the newest
    for user_id in sorted({*others, *waits}):
        why = "uploaded only: no portrait or training has kept them"
        if user_id in waits:
            why = f"not known yet: {waits[user_id].explain()}"
        typer.echo(f"{user_id:<24} {count_of(others.get(user_id, 0), 'photo'):>9}  {why}")
    if pending and not known:
        typer.echo(
            f"photog: nobody is known yet in {place.address}; `photog up {place.address}` starts workers", err=True
        )
    elif not known:
        typer.echo(f"photog: nobody is known in {place.address}; `photog people add NAME PHOTO...`", err=True)


@people.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The person's name: 1 to 64 of A-Z a-z 0-9 . _ -")],
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTO...",
            help="Files, folders of them, patterns, URLs, or keys in the bucket.",
            autocompletion=complete_files,
        ),
    ],
    bucket: BucketOption = None,
    replace_person: ReplacePerson = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Keep a person's good photos under a name.

    Checks the photos with a worker of its own. No LoRA is trained; portraits take the face from the photos.
    `photog forget BUCKET NAME` removes them. Photos of somebody else than the person who is known under the name are
    refused, without --replace-person.

    \b
    Examples:
      photog people add ann me
      photog people add ann a.jpg b.jpg --bucket s3://portraits
    """
    settings = Settings()
    log_quietly(settings, verbose)
    if "/" in name and (name.startswith(("/", "~", ".")) or "://" in name):
        fail(f"{name} is no person's name; --bucket names the bucket: photog people add NAME PHOTO... --bucket {name}")
    require_user(name)
    given = files_of(photos)
    require_valid("train", train_body(given, name, 0, 1))
    readable = set(leave_out_unreadable([one for one in given if is_file(one)], settings))
    given = [one for one in given if one in readable or not is_file(one)]
    require_installed(settings)
    client, durations = (
        Client(existing_bucket(bucket or str(settings.home / "bucket"), make_folder=True)),
        Durations(settings),
    )
    pictures = Pictures(client, name)
    body = train_body([pictures.reference(photo) for photo in given], name, 0, 1, replace_person)
    with (
        report_what_stays(client.bucket.address) as kept,
        run_workers(client, settings, ["train"], verbose=verbose) as options,
    ):
        kept[name] = "photos"
        seconds = durations.expect("keep", len(given))
        load = 0.0 if options.warm else durations.expect("load")
        part = Part("looking at the photos", None if seconds is None or load is None else seconds + load)
        with ProgressLine([part], quiet=verbose) as line:
            answer = submit_request(client, "train", body, options.showing(line))
        if answer["code"] == "OK":
            durations.note({"keep": answer["data"]["cost_time"] / len(given)})
    finish(answer, as_json, describe_training(answer, pictures), pictures.explain)


def _describe(one: Person) -> str:
    since = f"{datetime.fromtimestamp(one.since):%Y-%m-%d}"
    how = f"trained on {one.base_model}" if one.trained else "not trained"
    return f"{one.user_id:<24} {count_of(one.photos, 'photo'):>9}  {how:<28} since {since}"
