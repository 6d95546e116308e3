"""`photog portrait`: photos and a template in, a portrait out, by the same requests that an application sends."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from shared.cli.beforehand import require_installed, require_valid, require_writable
from shared.cli.console import AsJson, WaitOptions, bucket_at, fail, finish, log_to_stderr, show, submit_request
from shared.cli.identity import require_user
from shared.cli.likeness import THRESHOLDS, meaning
from shared.cli.own_workers import report_unfinished, report_what_stays, run_workers
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
from shared.contract.manifests import Json
from shared.operations.client import Client
from shared.settings import ModelSettings, Settings

FEWEST, MOST = 5, 20  # photos: the minimum of a training, the maximum of a check
STEPS = 400  # of a training, unless --steps says otherwise
SEED = {"seed": 0}  # the same command makes the same portrait
KEEP_STAGES = {"PHOTOG_GENERATE__KEEP_STAGES": "true"}  # for the sheet
INSTANT = "no training needed on {model}; `--train` does it anyway"


@dataclass(frozen=True)
class _Order:
    """What the user asks for.

    Attributes:
        user: the person's id; None to derive it from the photos.
        steps: of the training; None for a portrait without one.
    """

    files: list[str]
    template: str
    user: str | None
    steps: int | None
    configure: Json


def portrait(
    template: Annotated[Path, typer.Option(help="The picture whose face is replaced.")],
    photos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PHOTO...",
            help="1 to 20 photos of one person, 5 or more with a training: files, folders, patterns. None for a --user "
            "who is known already.",
        ),
    ] = None,
    user: Annotated[str | None, typer.Option(help="The person's id; derived from the photos by default.")] = None,
    out: Annotated[Path, typer.Option(help="The file for the portrait.")] = Path("portrait.png"),
    bucket: Annotated[
        Path | None, typer.Option(help="The folder that serves as the bucket; by default ~/.photog/bucket.")
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="Also draw photos, stages and result on one sheet.")] = None,
    train: Annotated[
        bool | None, typer.Option("--train/--no-train", help="Train a LoRA first; by default not on portrait-tiny.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help=f"Training steps; {STEPS} by default.")] = None,
    knobs: Knobs = None,
    as_json: AsJson = False,
) -> None:
    """Make a portrait in one go, with workers of its own: check and generate, and in between train where that adds to
    the likeness. What is kept of the person stays in the bucket; `photog forget BUCKET USER` removes it.
    """
    log_to_stderr()
    settings = Settings()
    order = _read_order(photos or [], template, user, _steps(train, steps, bool(photos), settings), knobs_of(knobs))
    require_writable(out)
    if sheet is not None:
        require_writable(sheet, SUFFIXES)
    require_installed(settings)
    if order.files and order.steps is None:
        typer.echo(f"photog: {INSTANT.format(model=settings.model.path)}", err=True)
    client = Client(bucket_at(str(bucket or settings.home / "bucket")))
    report_unfinished(client.bucket, settings)
    what = "photos" if order.steps is None else "photos and LoRA"
    functions = (["check"] if order.files else []) + (["train"] if order.steps else []) + ["generate"]
    with (
        report_what_stays(client.bucket.address, what) as people,
        run_workers(client, settings, functions, KEEP_STAGES if sheet else None) as options,
    ):
        _make(order, client, people, options, settings, out, sheet, as_json)


def _steps(train: bool | None, steps: int | None, photos: bool, settings: Settings) -> int | None:
    """Return the steps of the training; None if none is made."""
    embedded = settings.model.path == ModelSettings().path
    if not photos:
        if train or steps is not None:
            fail("a training needs photos: name them, or leave out --train and --steps")
        return None
    if train is False or (train is None and embedded):
        if steps is not None:
            fail("--steps is for a training: add --train")
        return None
    if steps is not None and steps < 1:
        fail("--steps: a training has 1 step or more; leave --train out to make a portrait without one")
    return steps or STEPS


def _read_order(photos: list[str], template: Path, user: str | None, steps: int | None, knobs: Json) -> _Order:
    """Return what the user asks for; exit if it cannot be done."""
    if user is not None:
        require_user(user)
    elif not photos:
        fail("name photos of the person, or a person who is known already with --user")
    files = [str(require_file(photo)) for photo in files_of(photos)]
    picture, configure = str(require_file(template)), SEED | knobs
    require_valid("generate", generate_body(picture, [user or "somebody"], configure))
    if steps is not None:
        require_valid("train", train_body(files, user or "somebody", steps, _checkpoint_interval(steps)))
    fewest = 1 if steps is None else FEWEST
    if photos and not fewest <= len(files) <= MOST:
        fail(f"{len(files)} photos; give {fewest} to {MOST} of one person")
    return _Order(files, picture, user, steps, configure)


def _make(
    order: _Order,
    client: Client,
    people: list[str],
    options: WaitOptions,
    settings: Settings,
    out: Path,
    sheet: Path | None,
    as_json: bool,
) -> None:
    """Send the requests, print their answers, and save the portrait; `people` gets the person's id."""
    pictures = Pictures(client)
    checked = training = None
    references: list[str] = []
    identity = order.user or ""
    if order.files:
        references, checked = _check(order.files, client, pictures, options, as_json)
        identity = order.user or _derive_user(references)
    people.append(identity)
    if order.steps is not None:
        body = train_body(references, identity, order.steps, _checkpoint_interval(order.steps))
        training, references = submit_request(client, "train", body, options), []
        if training["code"] != "OK" or not as_json:
            finish(training, as_json, describe_training(training, pictures), pictures.replace_keys)
    body = generate_body(pictures.reference(order.template), [identity], order.configure, references)
    made = submit_request(client, "generate", body, options)
    if made["code"] == "OK":
        save_portrait(client, made, out)
        if sheet is not None:
            contact_sheet(
                client, checked, training, body["template_image"], made, sheet, THRESHOLDS[settings.faces.engine]
            )
    if as_json and made["code"] == "OK":
        answers = {"check": checked, "train": training, "generate": made}
        show({name: answer for name, answer in answers.items() if answer is not None} | {"out": str(out)})
    else:
        finish(made, as_json, _summary(made, settings, out, sheet), pictures.replace_keys)


def _check(
    files: list[str], client: Client, pictures: Pictures, options: WaitOptions, as_json: bool
) -> tuple[list[str], Json]:
    """Check the photos and print the verdicts.

    Returns:
        The references of the usable photos, or of all if none is usable: the next answer then says what is wrong with
        each. And the answer.
    """
    references = [pictures.reference(photo) for photo in files]
    checked = submit_request(client, "check", check_body(references, True), options)
    if checked["code"] != "OK" or not as_json:
        finish(checked, False, verdicts(checked, files, pictures), pictures.replace_keys)
        tell_unreadable(checked, files)
    usable = [one["url"] for one in checked["data"]["check_results"] if one["code"] == 1]
    return usable or references, checked


def _checkpoint_interval(steps: int) -> int:
    """Return the steps between two checkpoints of a training."""
    return max(1, steps // 8)


def _derive_user(references: list[str]) -> str:
    return "person-" + hashlib.sha256("\n".join(references).encode()).hexdigest()[:12]


def _summary(made: Json, settings: Settings, out: Path, sheet: Path | None) -> str:
    alike = likenesses(made)
    told = [meaning(settings.faces.engine)] if alike else []
    return "\n".join([*alike, *told, str(out)] + ([str(sheet)] if sheet else []))
