"""The verbs that ask: check, train, generate, submit, status."""

import base64
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from shared.cli.console import AsJson, bucket_at, fail, finish, show, submitted, waited
from shared.cli.identity import require_user
from shared.cli.workers import BucketArgument, FunctionArgument, known
from shared.contract.manifests import Json, parse
from shared.contract.visible import visible
from shared.errors import RequestError
from shared.operations.client import Client
from shared.operations.status import history, overview
from shared.settings import Settings

MOST_UNREAD = 20  # lines of `status`

Photos = Annotated[list[str], typer.Argument(metavar="PHOTO...", help="Files, URLs, or keys in the bucket.")]
Identity = Annotated[str | None, typer.Option("--id", help="The request_id; made of the request when not given.")]
User = Annotated[str, typer.Option("--user", help="The person's id, 1 to 64 of A-Z a-z 0-9 . _ -")]
Knobs = Annotated[
    list[str] | None, typer.Option("--set", metavar="KNOB=VALUE", help="A knob of `configure`, its value as JSON.")
]


def check(
    bucket: BucketArgument,
    photos: Photos,
    same_person: Annotated[bool, typer.Option(help="Also ask whether all show one person.")] = False,
    identity: Identity = None,
    as_json: AsJson = False,
) -> None:
    """Ask which photos are usable."""
    client = Client(bucket_at(bucket))
    body = check_body(client, photos, same_person)
    envelope = submitted(client, "check", _named(body, identity))
    finish(envelope, as_json, verdicts(envelope))


def train(
    bucket: BucketArgument,
    photos: Photos,
    user: User,
    steps: Annotated[int, typer.Option(help="max_train_steps")] = 400,
    every: Annotated[int, typer.Option(help="val_save_checkpointing_steps")] = 50,
    identity: Identity = None,
    as_json: AsJson = False,
) -> None:
    """Train a LoRA of a person's face."""
    require_user(user)
    client = Client(bucket_at(bucket))
    envelope = submitted(client, "train", _named(train_body(client, photos, user, steps, every), identity))
    finish(envelope, as_json, trained(envelope))


def generate(
    bucket: BucketArgument,
    template: Annotated[str, typer.Option(help="File, URL, or key in the bucket.")],
    user: Annotated[list[str], typer.Option("--user", help="One id a face, left to right; none leaves a face.")],
    out: Annotated[Path, typer.Option(help="Where the portrait goes.")] = Path("portrait.png"),
    knobs: Knobs = None,
    identity: Identity = None,
    as_json: AsJson = False,
) -> None:
    """Generate a portrait from a template."""
    for one in user:
        require_user(one)
    client = Client(bucket_at(bucket))
    body = generate_body(client, template, user, knobs_of(knobs))
    envelope = submitted(client, "generate", _named(body, identity))
    if envelope["code"] == "OK":
        save_portrait(client, envelope, out)
    finish(envelope, as_json, str(out))


def submit(
    function: FunctionArgument,
    bucket: BucketArgument,
    manifest: Annotated[Path, typer.Argument(help="A request manifest.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the answer and print it.")] = False,
) -> None:
    """Drop a manifest into the bucket."""
    client = Client(bucket_at(bucket))
    try:
        asked = parse(manifest.read_bytes())
        asked.require_right()
        for warning in asked.warnings:
            typer.echo(f"photog: {manifest}: {warning}", err=True)
        request_id = client.submit(known(function), asked.body)
    except (OSError, RequestError) as error:
        fail(f"{manifest}: {error}")
    if not wait:
        show({"request_id": request_id})
        return
    finish(waited(client, function, request_id), True, "")


def status(
    bucket: BucketArgument,
    request_id: Annotated[str | None, typer.Argument(help="One request's history.")] = None,
    as_json: AsJson = False,
) -> None:
    """What waits, runs and is done; or all that is known of one request."""
    place = bucket_at(bucket)
    if request_id is not None:
        found = history(place, request_id)
        if not found:
            fail(f"nothing is known of {request_id} in {place.address}")
        show(found)
        return
    counts = overview(place, Settings().limits)
    if as_json:
        show(counts)
        return
    for function, states in counts.items():
        line = "  ".join(f"{state} {len(ids)}" for state, ids in states.items())
        typer.echo(f"{function:<9} {line}" + "".join(f"\n  running {one}" for one in states["running"]))
        for one in states["failing"]:
            told = f"{one.get('key', '?')}: {one.get('error', one.get('unreadable', '?'))}"
            typer.echo(f"  failing {visible(told)}")
    unread = {one["key"]: one["why"] for states in counts.values() for one in states.get("unread", [])}
    for key, why in list(unread.items())[:MOST_UNREAD]:
        typer.echo(f"not read {visible(key)}: {visible(why)}")
    if len(unread) > MOST_UNREAD:
        typer.echo(f"not read: {len(unread) - MOST_UNREAD} more, which --json lists")


def check_body(client: Client, photos: list[str], same_person: bool) -> Json:
    """A check request without its id."""
    return {"images": [client.reference(photo) for photo in photos], "configure": {"face_reconize": same_person}}


def train_body(client: Client, photos: list[str], user: str, steps: int, every: int) -> Json:
    """A train request without its id."""
    configure = {"user_id": user, "max_train_steps": steps, "val_save_checkpointing_steps": every}
    return {"images": [client.reference(photo) for photo in photos], "configure": configure}


def generate_body(client: Client, template: str, users: list[str], knobs: Json) -> Json:
    """A generate request without its id; the picture is asked for as a key."""
    configure = {"user_id": users[0] if len(users) == 1 else users, "image_format": "png"} | knobs
    return {"template_image": client.reference(template), "configure": configure}


def knobs_of(pairs: list[str] | None) -> Json:
    """`["seed=7", "mask_region=face"]` as an object; a value that is not JSON is a string."""
    knobs: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals:
            fail(f"--set {pair}: write KNOB=VALUE")
        try:
            knobs[name] = json.loads(value)
        except json.JSONDecodeError:
            knobs[name] = value
    return knobs


def save_portrait(client: Client, envelope: Json, out: Path) -> None:
    """Write the picture of a generate answer to a file."""
    data = envelope["data"]
    picture = client.bucket.get(data["image_key"]) if data.get("image_key") else base64.b64decode(data["image"])
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        out.write_bytes(picture)
    except OSError as error:
        if out.is_file():
            out.unlink()  # half a picture looks like a portrait
        raise OSError(error.errno, error.strerror, str(out)) from error


def verdicts(envelope: Json) -> str:
    """A line per photo."""
    results = envelope["data"].get("check_results", [])
    return "\n".join(
        f"{one['code']}  {one['message']:<44}{'frontal' if one['frontal'] else '       '}  {one['url']}"
        for one in results
    )


def trained(envelope: Json) -> str:
    """What a training gave, in a line."""
    data = envelope["data"]
    if envelope["code"] != "OK":
        return ""
    likeness = "not measured" if data["similarity"] is None else f"{data['similarity']:.2f}"
    return f"{data['user_id']}: step {data['best_step']} of {data['steps']}, similarity {likeness}, {data['lora']}"


def _named(body: Json, identity: str | None) -> Json:
    return body if identity is None else {"request_id": identity} | body
