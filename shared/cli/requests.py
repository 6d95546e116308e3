"""The verbs that send requests or ask about them: check, train, generate, submit, status."""

import base64
import json
import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from shared.cli.beforehand import require_valid, require_writable
from shared.cli.console import AsJson, existing_bucket, fail, finish, show, submit_request, wait_for_answer
from shared.cli.identity import require_user
from shared.cli.pictures import Pictures, files_of
from shared.cli.workers import BucketArgument, FunctionArgument, require_function
from shared.contract.manifests import Json, parse
from shared.contract.visible import visible
from shared.errors import RequestError
from shared.operations.client import Client
from shared.operations.status import history, overview
from shared.operations.user_requests import list_requests
from shared.settings import Settings

MOST_UNREAD = 20  # strays that `status` prints
UNREADABLE = 2  # code of a photo that could not be fetched or decoded
SEEDS = 2**32

Photos = Annotated[
    list[str], typer.Argument(metavar="PHOTO...", help="Files, folders of them, patterns, URLs, or keys in the bucket.")
]
Identity = Annotated[str | None, typer.Option("--id", help="The request_id; derived from the request by default.")]
User = Annotated[str, typer.Option("--user", help="The person's id, 1 to 64 of A-Z a-z 0-9 . _ -")]
Knobs = Annotated[
    list[str] | None, typer.Option("--set", metavar="KNOB=VALUE", help="A knob of `configure`, its value as JSON.")
]


def check(
    bucket: BucketArgument,
    photos: Photos,
    same_person: Annotated[bool, typer.Option(help="Also check whether all photos show one person.")] = False,
    identity: Identity = None,
    as_json: AsJson = False,
) -> None:
    """Check which photos are usable. The exit status is 0 whatever the verdicts, as they are the answer."""
    given = files_of(photos)
    require_valid("check", check_body(given, same_person))
    client = Client(existing_bucket(bucket, make_folder=True))
    pictures = Pictures(client)
    body = check_body([pictures.reference(photo) for photo in given], same_person)
    envelope = submit_request(client, "check", _with_id(body, identity))
    finish(envelope, as_json, verdicts(envelope, given, pictures), pictures.replace_keys)
    if not as_json:
        tell_unreadable(envelope, given)


def train(
    bucket: BucketArgument,
    photos: Photos,
    user: User,
    steps: Annotated[int, typer.Option(help="max_train_steps")] = 400,
    every: Annotated[int, typer.Option(help="val_save_checkpointing_steps")] = 50,
    identity: Identity = None,
    as_json: AsJson = False,
) -> None:
    """Train a LoRA of a person's face; with --steps 0 keep the checked photos without a training."""
    require_user(user)
    given = files_of(photos)
    require_valid("train", train_body(given, user, steps, every))
    client = Client(existing_bucket(bucket, make_folder=True))
    pictures = Pictures(client)
    body = train_body([pictures.reference(photo) for photo in given], user, steps, every)
    envelope = submit_request(client, "train", _with_id(body, identity))
    finish(envelope, as_json, describe_training(envelope, pictures), pictures.replace_keys)


def generate(
    bucket: BucketArgument,
    template: Annotated[str, typer.Option(help="File, URL, or key in the bucket.")],
    user: Annotated[
        list[str] | None, typer.Option("--user", help="One id per face, left to right; none keeps a face.")
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference", help="A photo of a person who needs no training, as for check; kept under --user, if given."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The file for the portrait.")] = Path("portrait.png"),
    knobs: Knobs = None,
    identity: Identity = None,
    as_json: AsJson = False,
) -> None:
    """Generate a portrait from a template; a different one each time, unless a seed or an --id is given."""
    users, given = user or [], files_of(reference or [])
    for one in users:
        require_user(one)
    configure = ({} if identity else {"seed": secrets.randbelow(SEEDS)}) | knobs_of(knobs)
    require_valid("generate", generate_body(template, users, configure, given))
    require_writable(out)
    client = Client(existing_bucket(bucket, make_folder=True))
    pictures = Pictures(client)
    references = [pictures.reference(photo) for photo in given]
    body = generate_body(pictures.reference(template), users, configure, references)
    envelope = submit_request(client, "generate", _with_id(body, identity))
    if envelope["code"] == "OK":
        save_portrait(client, envelope, out)
    finish(envelope, as_json, "\n".join([*likenesses(envelope), str(out)]), pictures.replace_keys)


def submit(
    function: FunctionArgument,
    bucket: BucketArgument,
    manifest: Annotated[Path, typer.Argument(help="A request manifest.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the answer and print it.")] = False,
) -> None:
    """Write a manifest into the bucket."""
    function = require_function(function)
    client = Client(existing_bucket(bucket, make_folder=True))
    try:
        asked = parse(manifest.read_bytes())
        asked.require_right()
        for warning in asked.warnings:
            typer.echo(f"photog: {manifest}: {warning}", err=True)
        request_id = client.submit(function, asked.body)
    except (OSError, RequestError) as error:
        fail(f"{manifest}: {error}")
    if not wait:
        show({"request_id": request_id})
        return
    finish(wait_for_answer(client, function, request_id), True, "")


def status(
    bucket: BucketArgument,
    request_id: Annotated[str | None, typer.Argument(help="Show this request's history.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="List this person's requests and their states.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what waits, runs and is done, or everything known about one request, or the requests of one person."""
    place = existing_bucket(bucket)
    if user is not None:
        require_user(user)
        listed = list_requests(place, user, Settings())
        lines = [f"{one['function']:<9} {one['state']:<8} {one['request_id']}" for one in listed]
        show({"user_id": user, "requests": listed}) if as_json else typer.echo("\n".join(lines))
        return
    if request_id is not None:
        found = history(place, request_id, Settings().limits)
        if not found:
            fail(f"there is no request {request_id} in {place.address}")
        show(found)
        return
    counts = overview(place, Settings().limits)
    if as_json:
        show(counts)
        return
    for function, states in counts.items():
        line = "  ".join(f"{state} {len(ids)}" for state, ids in states.items() if state != "unread")
        typer.echo(f"{function:<9} {line}" + "".join(f"\n  running {one}" for one in states["running"]))
        for one in states["failing"]:
            told = f"{one.get('key', '?')}: {one.get('error', one.get('unreadable', '?'))}"
            typer.echo(f"  failing {visible(told)}")
    unread = {one["key"]: one["why"] for states in counts.values() for one in states.get("unread", [])}
    if unread:
        typer.echo(f"not read  {len(unread)}")
    for key, why in list(unread.items())[:MOST_UNREAD]:
        typer.echo(f"  {visible(key)}: {visible(why)}")
    if len(unread) > MOST_UNREAD:
        typer.echo(f"  and {len(unread) - MOST_UNREAD} more; --json lists them all")


def check_body(photos: list[str], same_person: bool) -> Json:
    """Return the body of a check request without its id."""
    return {"images": photos, "configure": {"face_reconize": same_person}}


def train_body(photos: list[str], user: str, steps: int, every: int) -> Json:
    """Return the body of a train request without its id."""
    configure = {"user_id": user, "max_train_steps": steps, "val_save_checkpointing_steps": every}
    return {"images": photos, "configure": configure}


def generate_body(template: str, users: list[str], knobs: Json, references: list[str] | None = None) -> Json:
    """Return the body of a generate request without its id; the answer gives the picture as a key.

    Args:
        template: the template's reference.
        users: a user_id per face; none if the person is known by references alone.
        knobs: further members of `configure`.
        references: pictures of the one person.
    """
    configure: Json = {"image_format": "png"} | knobs
    if users:
        configure["user_id"] = users[0] if len(users) == 1 else users
    if references:
        configure["references"] = references
    return {"template_image": template, "configure": configure}


def knobs_of(pairs: list[str] | None) -> Json:
    """Return `["seed=7", "mask_region=face"]` as an object; a value that is not JSON is a string."""
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
            out.unlink()  # a truncated picture could be mistaken for the portrait
        raise OSError(error.errno, error.strerror, str(out)) from error


def verdicts(envelope: Json, given: list[str], pictures: Pictures) -> str:
    """Return a line per photo under the user's name for it, followed by its warnings."""
    lines = []
    for name, one in zip(given, envelope["data"].get("check_results", []), strict=False):
        frontal = "frontal" if one["frontal"] else ""
        lines.append(f"{one['code']}  {one['message']:<44}{frontal:<7}  {name}")
        lines += [f"   {pictures.replace_keys(warning)}" for warning in one["warnings"]]
    return "\n".join(lines)


def tell_unreadable(envelope: Json, given: list[str]) -> None:
    """Print which photos could not be read, because that is no verdict on what they show."""
    results = envelope["data"].get("check_results", [])
    unread = [name for name, one in zip(given, results, strict=False) if one["code"] == UNREADABLE]
    if unread:
        typer.echo(f"photog: {len(unread)} of {len(given)} photos could not be read: {', '.join(unread)}", err=True)


def describe_training(envelope: Json, pictures: Pictures) -> str:
    """Return a line about a training's result, after a line for each photo that it did not use."""
    data = envelope["data"]
    if envelope["code"] != "OK":
        return ""
    rejected = [
        f"not used: {pictures.replace_keys(one['url'])}: {pictures.replace_keys(one['reason'])}"
        for one in data.get("images_rejected", [])
    ]
    if not data["steps"]:
        return "\n".join([*rejected, f"{data['user_id']}: {data['images_used']} photos kept, without a training"])
    likeness = "not measured" if data["similarity"] is None else f"{data['similarity']:.2f}"
    line = f"{data['user_id']}: step {data['best_step']} of {data['steps']}, similarity {likeness}, {data['lora']}"
    stopped = data.get("stopped")
    ended = [f"ended at step {stopped['step']}: {stopped['message']}"] if stopped else []
    return "\n".join([*rejected, *ended, line])


def likenesses(made: Json) -> list[str]:
    """Return a line per face of a portrait with its similarity to the person, before and after."""
    faces = made["data"].get("faces", []) if made["code"] == "OK" else []
    return [
        f"{face['user_id'] or 'the person'}: similarity {face['similarity']['before']:.2f} before, "
        f"{face['similarity']['after']:.2f} after"
        for face in faces
        if face.get("similarity") and None not in face["similarity"].values()
    ]


def _with_id(body: Json, identity: str | None) -> Json:
    return body if identity is None else {"request_id": identity} | body
