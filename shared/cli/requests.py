"""The verbs that send requests or ask about them: check, train, generate, submit, status."""

import base64
import json
import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from shared.buckets import Bucket, BucketError, StoreUnavailable
from shared.cli.beforehand import require_known, require_valid, require_writable
from shared.cli.completion import complete_knobs
from shared.cli.console import AsJson, existing_bucket, fail, finish, show, submit_request, wait_for_answer
from shared.cli.identity import require_user
from shared.cli.pictures import Pictures, files_of, find_free, is_file
from shared.cli.workers import BucketArgument, ExistingBucket, FunctionArgument, require_function
from shared.contract.manifests import NOBODY, Json, parse
from shared.contract.visible import visible
from shared.errors import RequestError
from shared.operations.client import Client
from shared.operations.status import history, overview
from shared.operations.user_requests import list_requests
from shared.settings import Settings

MOST_UNREAD = 20  # strays that `status` prints
UNREADABLE = 2  # code of a photo that could not be fetched or decoded
SEEDS = 2**32
LONGEST_SHOWN = 300  # characters of a value that `status` prints

Photos = Annotated[
    list[str], typer.Argument(metavar="PHOTO...", help="Files, folders of them, patterns, URLs, or keys in the bucket.")
]
ReplacePerson = Annotated[
    bool,
    typer.Option(
        "--replace-person",
        help="Let the photos take the name of a person who is known, even if they show somebody else.",
    ),
]
Identity = Annotated[str | None, typer.Option("--id", help="The request_id; derived from the request by default.")]
User = Annotated[str, typer.Option("--user", metavar="NAME", help="The person's name: 1 to 64 of A-Z a-z 0-9 . _ -")]
Knobs = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KNOB=VALUE",
        help="A knob, for example seed=7 or more_like_me=1.0; docs/requests.md lists them. May be repeated.",
        autocompletion=complete_knobs,
    ),
]


def check(
    bucket: BucketArgument,
    photos: Photos,
    same_person: Annotated[bool, typer.Option(help="Also check whether all photos show one person.")] = False,
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME", help="The person, so that forgetting them takes the photos.")
    ] = None,
    identity: Identity = None,
    as_json: AsJson = False,
) -> None:
    """Check which photos are usable.

    The exit status is 0 whatever the verdicts, as they are the answer.

    \b
    Examples:
      photog check BUCKET me                            all pictures in a folder
      photog check BUCKET me/*.jpg --same-person --user ann
    """
    if user is not None:
        require_user(user)
    given = files_of(photos)
    require_valid("check", check_body(given, same_person, user))
    client = Client(_first_bucket("check BUCKET PHOTO...", bucket))
    pictures = Pictures(client, user)
    body = check_body([pictures.reference(photo) for photo in given], same_person, user)
    envelope = submit_request(client, "check", _with_id(body, identity))
    finish(envelope, as_json, verdicts(envelope, given, pictures), pictures.explain)
    if not as_json:
        tell_unreadable(envelope, given)


def train(
    bucket: BucketArgument,
    photos: Photos,
    user: User,
    steps: Annotated[int, typer.Option(help="Training steps; 0 keeps the photos without a training.")] = 400,
    every: Annotated[int, typer.Option(help="Steps between two checkpoints, of which the best is chosen.")] = 50,
    replace_person: ReplacePerson = False,
    identity: Identity = None,
    as_json: AsJson = False,
) -> None:
    """Train a LoRA of a person's face, or only keep photos.

    With --steps 0 the checked photos are kept without a training, as `photog people add` does. Photos of somebody else
    than the person who is known under the name are refused, without --replace-person.

    \b
    Examples:
      photog train BUCKET me --user ann
      photog train BUCKET me --user ann --steps 0
    """
    require_user(user)
    given = files_of(photos)
    require_valid("train", train_body(given, user, steps, every, replace_person))
    client = Client(_first_bucket("train BUCKET PHOTO... --user NAME", bucket))
    pictures = Pictures(client, user)
    body = train_body([pictures.reference(photo) for photo in given], user, steps, every, replace_person)
    envelope = submit_request(client, "train", _with_id(body, identity))
    finish(envelope, as_json, describe_training(envelope, pictures), pictures.explain)


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
    replace_person: ReplacePerson = False,
    out: Annotated[
        Path | None,
        typer.Option(help="The file for the portrait, replaced if it is there [portrait.png, or the next free name]."),
    ] = None,
    knobs: Knobs = None,
    identity: Identity = None,
    as_json: AsJson = False,
) -> None:
    """Generate a portrait from a template.

    A different one each time, unless a seed or an --id is given. `photog portrait` does the same without workers.

    \b
    Examples:
      photog generate BUCKET --template poster.jpg --user ann
      photog generate BUCKET --template two.jpg --user ann --user bob
      photog generate BUCKET --template poster.jpg --reference me/1.jpg --set seed=7
    """
    users, given = user or [], files_of(reference or [])
    for one in users:
        require_user(one)
    configure = ({} if identity else {"seed": secrets.randbelow(SEEDS)}) | knobs_of(knobs)
    require_valid("generate", generate_body(template, users, configure, given, replace_person))
    place = out or find_free(Path("portrait.png"))
    require_writable(place)
    client = Client(_first_bucket("generate BUCKET --template FILE", bucket))
    named = [one for one in users if one != NOBODY]
    if not given and "references" not in configure:
        _require_people(client, named)
    pictures = Pictures(client, named[0] if len(named) == 1 else None)
    references = [pictures.reference(photo) for photo in given]
    body = generate_body(pictures.reference(template), users, configure, references, replace_person)
    envelope = submit_request(client, "generate", _with_id(body, identity))
    if envelope["code"] == "OK":
        save_portrait(client, envelope, place)
        envelope = envelope | {"out": str(place)}  # printed with --json
    again = "" if knobs and "seed" in knobs_of(knobs) else how_to_repeat(envelope)
    finish(envelope, as_json, "\n".join([*likenesses(envelope), f"{place}{again}"]), pictures.explain)


def _first_bucket(usage: str, address: str) -> Bucket:
    """Open the bucket, which is the first argument; exit with the usage where that is a picture."""
    if is_file(address):
        fail(f"{address} is a file and no bucket, which comes first: photog {usage}")
    return existing_bucket(address, instead=f"; `photog up {address}` makes it, and starts the workers")


def _require_people(client: Client, users: list[str]) -> None:
    """Exit if one of the people is not known, unless the store does not let us look: the worker will tell then."""
    try:
        for one in users:
            require_known(client, one, f"keep photos by `photog people add {one} PHOTO...`, or name some: --reference")
    except StoreUnavailable:
        raise
    except BucketError:
        return


def submit(
    function: FunctionArgument,
    bucket: BucketArgument,
    manifest: Annotated[
        Path, typer.Argument(metavar="MANIFEST", help="A file with a request: JSON with a request_id.")
    ],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the answer and print it.")] = False,
) -> None:
    """Write a manifest into the bucket, as an application does.

    \b
    Examples:
      photog submit check BUCKET request.json
      photog submit generate BUCKET request.json --wait
    """
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
    bucket: ExistingBucket,
    request_id: Annotated[
        str | None, typer.Argument(metavar="[REQUEST_ID]", help="Show what became of this request.")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="List this person's requests and their states.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what waits, runs and is done.

    With --user only a person's requests. A REQUEST_ID shows what became of it: its attempts, its progress, its answer.
    --json prints all of it, but for what was measured in faces.

    \b
    Examples:
      photog status BUCKET
      photog status BUCKET 42
      photog status BUCKET --user me
    """
    place = existing_bucket(bucket)
    if user is not None:
        _show_requests_of(place, user, as_json)
        return
    if request_id is not None:
        found = history(place, request_id, Settings().limits)
        if not found:
            fail(f"there is no request {request_id} in {place.address}")
        if as_json:
            show(found)
        else:
            typer.echo("\n".join(describe_history(found)))
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
    _tell_unread(counts)


def _tell_unread(counts: Json) -> None:
    unread = {one["key"]: one["why"] for states in counts.values() for one in states.get("unread", [])}
    if unread:
        typer.echo(f"not read  {len(unread)}")
    for key, why in list(unread.items())[:MOST_UNREAD]:
        typer.echo(f"  {visible(key)}: {visible(why)}")
    if len(unread) > MOST_UNREAD:
        typer.echo(f"  and {len(unread) - MOST_UNREAD} more; --json lists them all")


def _show_requests_of(place: Bucket, user: str, as_json: bool) -> None:
    require_user(user)
    listed = list_requests(place, user, Settings())
    if as_json:
        show({"user_id": user, "requests": listed})
        return
    for one in listed:
        typer.echo(f"{one['function']:<9} {one['state']:<8} {one['request_id']}")
    if not listed:
        typer.echo(f"photog: {user} has no requests in {place.address}", err=True)


def check_body(photos: list[str], same_person: bool, user: str | None = None) -> Json:
    """Return the body of a check request without its id."""
    configure: Json = {"face_reconize": same_person} | ({} if user is None else {"user_id": user})
    return {"images": photos, "configure": configure}


def train_body(photos: list[str], user: str, steps: int, every: int, replace_person: bool = False) -> Json:
    """Return the body of a train request without its id; photos of another person than the known one are refused.

    Args:
        replace_person: whether they replace the person instead.
    """
    configure = {"user_id": user, "max_train_steps": steps, "val_save_checkpointing_steps": every}
    return {"images": photos, "configure": configure | _if_another(replace_person)}


def _if_another(replace_person: bool) -> Json:
    return {"another_person": "replace" if replace_person else "refuse"}


def generate_body(
    template: str,
    users: list[str],
    knobs: Json,
    references: list[str] | None = None,
    replace_person: bool = False,
) -> Json:
    """Return the body of a generate request without its id; the answer gives the picture as a key.

    Args:
        template: the template's reference.
        users: a user_id per face; none if the person is known by references alone.
        knobs: further members of `configure`.
        references: pictures of the one person.
        replace_person: whether references of another person than the one who is known replace them; else it is refused.
    """
    configure: Json = {"image_format": "png"} | knobs
    if users:
        configure["user_id"] = users[0] if len(users) == 1 else users
    if references:
        configure |= {"references": references} | (_if_another(replace_person) if users else {})
    return {"template_image": template, "configure": configure}


def knobs_of(pairs: list[str] | None) -> Json:
    """Return `["seed=7", "mask_region=face"]` as an object; a value that is not JSON is a string."""
    knobs: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals:
            fail(f"--set {pair}: write KNOB=VALUE, for example --set seed=7")
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
        lines += [f"   {pictures.explain(warning)}" for warning in one["warnings"]]
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
        f"not used: {pictures.name(one['url'])}: {pictures.explain(one['reason'])}"
        for one in data.get("images_rejected", [])
    ]
    if not data["steps"]:
        return "\n".join(
            [*rejected, f"{data['user_id']}: {count_of(data['images_used'], 'photo')} kept, without a training"]
        )
    likeness = "not measured" if data["similarity"] is None else f"{data['similarity']:.2f}"
    line = f"{data['user_id']}: step {data['best_step']} of {data['steps']}, similarity {likeness}, {data['lora']}"
    stopped = data.get("stopped")
    ended = [f"ended at step {stopped['step']}: {stopped['message']}"] if stopped else []
    return "\n".join([*rejected, *ended, line])


def how_to_repeat(made: Json) -> str:
    """Return the seed of a portrait, as a remark behind its file; empty where the answer does not tell it."""
    seed = made["data"].get("seed")
    return "" if seed is None else f"   (--set seed={seed} makes it again)"


def likenesses(made: Json) -> list[str]:
    """Return a line per face of a portrait with its similarity to the person, before and after."""
    faces = made["data"].get("faces", []) if made["code"] == "OK" else []
    return [
        f"{face['user_id'] or 'the person'}: similarity {face['similarity']['before']:.2f} before, "
        f"{face['similarity']['after']:.2f} after"
        for face in faces
        if face.get("similarity") and None not in face["similarity"].values()
    ]


def count_of(number: int, noun: str) -> str:
    """Return `1 photo` or `2 photos`."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def describe_history(found: Json) -> list[str]:
    """Return lines about one request, without the measurements in its answer."""
    lines = []
    for function, one in found.items():
        answer, progress = one["answer"], one["progress"]
        attempts = [f"attempt {claim['attempt']} by {claim['owner']}" for claim in one["claims"]]
        held = bool(attempts) and not (one["claims"][-1]["released"] or one["claims"][-1]["ended"])
        state = "runs" if held else "waits"
        if answer is not None:
            state = f"{answer.get('code', '?')}: {answer.get('message', answer.get('unreadable', '?'))}"
        elif progress is not None:
            data = progress.get("data", {})
            reached = f"{data.get('stage', '?')}, {data.get('step', '?')} of {data.get('steps', '?')}"
            state = f"runs: {reached}" if held else f"waits, handed back at: {reached}"
        lines.append(f"{function:<9} {visible(state)}")
        lines += [f"  {visible(line)}" for line in attempts]
        data = {} if answer is None else answer.get("data", {})
        lines += [f"  {name} {shown}" for name, value in data.items() if (shown := _show_short(value)) is not None]
        lines += [f"  conflict {visible(key)}" for key in one["conflicts"]]
    return lines


def _show_short(value: object) -> str | None:
    """Return a value that fits on a line; None for what does not: pictures, measurements, the echo of the request."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value) and value:
        value = "; ".join(value)
    if not isinstance(value, str | int | float):
        return None
    text = visible(str(value))
    return text if len(text) <= LONGEST_SHOWN else None


def _with_id(body: Json, identity: str | None) -> Json:
    return body if identity is None else {"request_id": identity} | body
