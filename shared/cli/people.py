"""The verbs of `photog people`, for people who are kept without a training."""

from typing import Annotated

import typer

from shared.cli.beforehand import require_installed, require_valid
from shared.cli.console import AsJson, existing_bucket, finish, log_to_stderr, submit_request
from shared.cli.identity import require_user
from shared.cli.own_workers import report_what_stays, run_workers
from shared.cli.pictures import Pictures, files_of
from shared.cli.requests import Photos, describe_training, train_body
from shared.operations.client import Client
from shared.settings import Settings

people = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


@people.callback()
def group() -> None:
    """Keep people without a training, so that later requests name them."""


@people.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The person's id, 1 to 64 of A-Z a-z 0-9 . _ -")],
    photos: Photos,
    bucket: Annotated[
        str | None, typer.Option(metavar="BUCKET", help="A folder or s3://NAME[/PREFIX]; by default ~/.photog/bucket.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the photos of a person and keep the good ones under NAME, with a worker of its own. No LoRA is trained;
    portraits take the face from the photos. `photog forget BUCKET NAME` removes them.
    """
    log_to_stderr()
    require_user(name)
    given, settings = files_of(photos), Settings()
    require_valid("train", train_body(given, name, 0, 1))
    require_installed(settings)
    client = Client(existing_bucket(bucket or str(settings.home / "bucket"), make_folder=True))
    pictures = Pictures(client)
    body = train_body([pictures.reference(photo) for photo in given], name, 0, 1)
    with (
        report_what_stays(client.bucket.address, "photos") as kept,
        run_workers(client, settings, ["train"]) as options,
    ):
        kept.append(name)
        answer = submit_request(client, "train", body, options)
    finish(answer, as_json, describe_training(answer, pictures), pictures.replace_keys)
