"""`photog portrait`: photos and a template in, a portrait out, by the same requests that an application sends."""

import contextlib
import hashlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from shared.buckets import Bucket
from shared.cli.beforehand import require_installed, require_valid, require_writable
from shared.cli.console import AsJson, WaitOptions, bucket_at, fail, finish, log_to_stderr, show, submit_request
from shared.cli.identity import require_user
from shared.cli.likeness import THRESHOLDS, meaning
from shared.cli.pictures import Pictures, files_of, require_file
from shared.cli.requests import (
    Knobs,
    check_body,
    describe_training,
    generate_body,
    knobs_of,
    likenesses,
    save_portrait,
    tell_unreadable,
    train_body,
    verdicts,
)
from shared.cli.sheet import SUFFIXES, contact_sheet
from shared.contract.function import NAMES
from shared.contract.manifests import Json
from shared.operations.client import Client
from shared.operations.status import overview
from shared.runtime.supervisor import Supervisor
from shared.settings import Settings

FEWEST, MOST = 5, 20  # photos: the minimum of a training, the maximum of a check
SEED = {"seed": 0}  # the same command makes the same portrait


def portrait(
    photos: Annotated[
        list[str], typer.Argument(metavar="PHOTO...", help="5 to 20 photos of one person: files, folders, patterns.")
    ],
    template: Annotated[Path, typer.Option(help="The picture whose face is replaced.")],
    user: Annotated[str | None, typer.Option(help="The person's id; derived from the photos by default.")] = None,
    out: Annotated[Path, typer.Option(help="The file for the portrait.")] = Path("portrait.png"),
    bucket: Annotated[
        Path | None, typer.Option(help="The folder that serves as the bucket; by default ~/.photog/bucket.")
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="Also draw photos, stages and result on one sheet.")] = None,
    steps: Annotated[int, typer.Option(help="Training steps.")] = 400,
    knobs: Knobs = None,
    as_json: AsJson = False,
) -> None:
    """Check, train and generate in one go, with workers of its own. Photos and LoRA stay in the bucket, so that the
    same photos are not trained again; `photog forget BUCKET USER` removes them.
    """
    log_to_stderr()
    settings = Settings()
    if user is not None:
        require_user(user)
    files = [str(require_file(photo)) for photo in files_of(photos)]
    picture, configure = str(require_file(template)), SEED | knobs_of(knobs)
    require_valid("generate", generate_body(picture, [user or "somebody"], configure))
    require_valid("train", train_body(files, user or "somebody", steps, _checkpoint_interval(steps)))
    if not FEWEST <= len(files) <= MOST:
        fail(f"{len(files)} photos; give {FEWEST} to {MOST} of one person")
    require_writable(out)
    if sheet is not None:
        require_writable(sheet, SUFFIXES)
    require_installed(settings)
    client = Client(bucket_at(str(bucket or settings.home / "bucket")))
    _report_unfinished(client.bucket, settings)
    pictures = Pictures(client)
    left = f"stopped; finished work stays in {client.bucket.address}, and the same command continues from there"
    with _report_what_stays(client.bucket.address) as people, _run_workers(client, settings, left) as options:
        references = [pictures.reference(photo) for photo in files]
        checked = submit_request(client, "check", check_body(references, True), options)
        if checked["code"] != "OK" or not as_json:
            finish(checked, False, verdicts(checked, files, pictures), pictures.replace_keys)
            tell_unreadable(checked, files)
        usable = [one["url"] for one in checked["data"]["check_results"] if one["code"] == 1]
        identity = user or _derive_user(usable)
        people.append(identity)
        body = train_body(usable, identity, steps, _checkpoint_interval(steps))
        training = submit_request(client, "train", body, options)
        if training["code"] != "OK" or not as_json:
            finish(training, as_json, describe_training(training, pictures), pictures.replace_keys)
        body = generate_body(pictures.reference(picture), [identity], configure)
        made = submit_request(client, "generate", body, options)
        if made["code"] == "OK":
            save_portrait(client, made, out)
            if sheet is not None:
                heading = THRESHOLDS[settings.faces.engine]
                contact_sheet(client, checked, training, body["template_image"], made, sheet, heading)
        if as_json and made["code"] == "OK":
            show({"check": checked, "train": training, "generate": made, "out": str(out)})
        else:
            finish(made, as_json, _summary(made, settings, out, sheet), pictures.replace_keys)


@contextlib.contextmanager
def _report_what_stays(address: str) -> Iterator[list[str]]:
    """Print, however the block ends, what is kept of the people in the list, and how to remove it."""
    people: list[str] = []
    try:
        yield people
    finally:
        for one in people:
            told = f"photos and LoRA of {one} stay in {address}; `photog forget {address} {one}` removes them"
            typer.echo(f"photog: {told}", err=True)


@contextlib.contextmanager
def _run_workers(client: Client, settings: Settings, left: str) -> Iterator[WaitOptions]:
    """Run the three workers for the duration of the block, with a check that restarts those that die.

    They end with this process: on Ctrl-C, on SIGTERM, and on SIGHUP when a terminal is closed.
    """
    environment = {"PHOTOG_GENERATE__KEEP_STAGES": "true"}
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with Supervisor(client.bucket.address, NAMES, settings.lease.drain_seconds, environment) as supervisor:
        try:
            yield WaitOptions(supervisor.check, "its worker is loading or busy with another request", left)
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # the workers are stopping, and must not be left behind
            supervisor.hand_back()


def _report_unfinished(bucket: Bucket, settings: Settings) -> None:
    """Say that an interrupted earlier command has left requests that come first."""
    states = overview(bucket, settings.limits)
    left = [one for function in NAMES for state in ("running", "waiting") for one in states[function][state]]
    if left:
        typer.echo(
            f"photog: {bucket.address} has {len(left)} requests without an answer ({', '.join(left)}), probably from "
            "an interrupted command; they are served first, or at the same time",
            err=True,
        )


def _checkpoint_interval(steps: int) -> int:
    """Return the steps between two checkpoints of a training."""
    return max(1, steps // 8)


def _derive_user(references: list[str]) -> str:
    return "person-" + hashlib.sha256("\n".join(references).encode()).hexdigest()[:12]


def _summary(made: Json, settings: Settings, out: Path, sheet: Path | None) -> str:
    alike = likenesses(made)
    told = [meaning(settings.faces.engine)] if alike else []
    return "\n".join([*alike, *told, str(out)] + ([str(sheet)] if sheet else []))
