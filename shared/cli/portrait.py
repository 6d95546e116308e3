"""`photog portrait`: photos and a template in, a portrait out, by the very requests that an application would send."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from shared.cli.console import AsJson, bucket_at, fail, finish, log_to_stderr, show, submitted
from shared.cli.identity import require_user
from shared.cli.requests import (
    Knobs,
    check_body,
    generate_body,
    knobs_of,
    save_portrait,
    train_body,
    verdicts,
)
from shared.cli.sheet import contact_sheet
from shared.contract.function import NAMES
from shared.contract.manifests import Json
from shared.operations.client import Client
from shared.runtime.supervisor import Supervisor
from shared.settings import Settings


def portrait(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="5 to 20 photos of one person.")],
    template: Annotated[Path, typer.Option(help="The picture that the person is put into.")],
    user: Annotated[str | None, typer.Option(help="The person's id; made of the photos when not given.")] = None,
    out: Annotated[Path, typer.Option(help="Where the portrait goes.")] = Path("portrait.png"),
    bucket: Annotated[Path | None, typer.Option(help="The folder that serves as the bucket.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Also draw photos, stages and result on one sheet.")] = None,
    steps: Annotated[int, typer.Option(help="Training steps.")] = 400,
    knobs: Knobs = None,
    as_json: AsJson = False,
) -> None:
    """Check, train and generate in one go, with workers of its own."""
    log_to_stderr()
    settings = Settings()
    if user is not None:
        require_user(user)
    for file in (*photos, template):
        if not file.is_file():
            fail(f"{file} is no file")
    client = Client(bucket_at(str(bucket or settings.home / "bucket")))
    with _workers(client, settings) as look:
        checked = submitted(client, "check", check_body(client, [str(photo) for photo in photos], True), look)
        if checked["code"] != "OK" or not as_json:
            finish(checked, False, verdicts(checked))
        usable = [one["url"] for one in checked["data"]["check_results"] if one["code"] == 1]
        identity = user or _identity(usable)
        trained = submitted(client, "train", train_body(client, usable, identity, steps, max(1, steps // 8)), look)
        if trained["code"] != "OK":
            finish(trained, as_json, "")
        body = generate_body(client, str(template), [identity], {"seed": 0} | knobs_of(knobs))
        made = submitted(client, "generate", body, look)
    if made["code"] == "OK":
        save_portrait(client, made, out)
        if sheet is not None:
            contact_sheet(client, checked, trained, body["template_image"], made, sheet)
    if as_json and made["code"] == "OK":
        show({"check": checked, "train": trained, "generate": made, "out": str(out)})
    else:
        finish(made, as_json, _summary(made, out, sheet))


@contextlib.contextmanager
def _workers(client: Client, settings: Settings) -> Iterator[Callable[[], None]]:
    """The three workers for as long as the block runs, and the look after them that restarts those that die."""
    environment = {"PHOTOG_GENERATE__KEEP_STAGES": "true"}
    with Supervisor(client.bucket.address, NAMES, settings.lease.drain_seconds, environment) as supervisor:
        try:
            yield supervisor.check
        finally:
            supervisor.hurry()


def _identity(references: list[str]) -> str:
    return "person-" + hashlib.sha256("\n".join(references).encode()).hexdigest()[:12]


def _summary(made: Json, out: Path, sheet: Path | None) -> str:
    if made["code"] != "OK":
        return ""
    faces = made["data"]["faces"]
    lines = [
        "{user_id}: similarity {similarity[before]:.2f} before, {similarity[after]:.2f} after".format(**face)
        for face in faces
        if face.get("similarity")
    ]
    return "\n".join([*lines, str(out)] + ([str(sheet)] if sheet else []))
