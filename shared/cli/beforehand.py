"""Checks made before anything is sent or started, so that the user hears of a fault at once and not minutes later."""

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path

import typer
from pydantic import BaseModel

from shared.cli.console import fail
from shared.cli.nearest import did_you_mean
from shared.contract import keys
from shared.contract.manifests import Json
from shared.contract.validation import Body, validate
from shared.contract.visible import visible
from shared.errors import ConfigurationError, InvalidField, PhotoError, how_to_install
from shared.lifecycle.trainings import Trainings
from shared.operations.client import Client
from shared.operations.pending_people import PendingPerson, list_pending
from shared.runtime.request_models import request_model
from shared.settings import ModelSettings, Settings

DIFFUSION = ("torch", "diffusers", "transformers", "peft")  # packages that train and generate need and check does not
OPTIONS = {"max_train_steps": "--steps", "val_save_checkpointing_steps": "--every", "images": "the photos"}
"""Fields of a request, with the options that set them."""
MOST_NAMES = 10  # of known people that an error lists


def require_valid(function: str, body: Json) -> None:
    """Exit if the function would refuse the body, or ignore a knob in it."""
    model = request_model(function)
    if model is None:
        return
    try:
        validate(model, {"request_id": function} | body)
    except InvalidField as error:
        fail(_name_option(error.message))
    known = _list_knobs(model)
    for name in body.get("configure", {}):
        if name not in known:
            fail(f"{function} has no knob {name}{did_you_mean(name, known)}")


def leave_out_unreadable(files: list[str], settings: Settings) -> list[str]:
    """Return the files that are pictures, by their headers; says which are none, and exits if none is left."""
    pictures = []
    for file in files:
        if (why := _why_no_picture(file, settings)) is None:
            pictures.append(file)
        else:
            typer.echo(f"photog: warning: {visible(file)} is left out: {why}", err=True)
    if files and not pictures:
        fail("none of the photos is a picture")
    return pictures


def require_pictures(files: list[str], settings: Settings) -> None:
    """Exit if a file is not a picture, by its header."""
    for file in files:
        if (why := _why_no_picture(file, settings)) is not None:
            fail(f"{file}: {why}")


def require_different(files: list[str], fewest: int) -> None:
    """Exit if so many files have fewer different contents than are needed."""
    different = len({hashlib.sha256(Path(file).read_bytes()).digest() for file in files})
    if different < min(fewest, len(files)):
        fail(f"{len(files)} photos, but only {different} different ones; give {fewest} or more")


def require_known(client: Client, user: str, instead: str = "name photos of them") -> None:
    """Exit if the bucket has no such person, with the one who may be meant.

    Args:
        instead: what the user can do where nobody of a like name is known.
    """
    pointer = keys.model(user)
    if client.bucket.head(pointer) is not None or Trainings(client.bucket).restore(pointer):
        return
    settings = Settings()
    if pending := next((one for one in list_pending(client.bucket, settings.limits) if one.user_id == user), None):
        fail(
            f"{user} is not known yet in {client.bucket.address}: {pending.explain()}; {how_to_go_on(client, pending)}"
        )
    known = [name for name in client.bucket.folders(keys.USERS) if client.bucket.head(keys.model(name)) is not None]
    told = f"; known are {', '.join(known[:MOST_NAMES])}" if known else ""
    near = did_you_mean(user, known) or f"{told}; {instead}"
    fail(f"nobody called {user} is known in {client.bucket.address}{near}")


def how_to_go_on(client: Client, pending: PendingPerson) -> str:
    """Return what the user can do about a request without an answer."""
    address = client.bucket.address
    if pending.state == "waiting":
        return f"`photog up {address}` starts workers, which answer it"
    return f"`photog status {address} {pending.request_id}` shows how far it is"


def _why_no_picture(file: str, settings: Settings) -> str | None:
    from shared.photos.decoding import check_header  # with the decoders, which only some verbs need

    try:
        check_header(Path(file).expanduser().read_bytes(), settings.limits)
    except PhotoError as error:
        return error.message
    return None


def require_writable(out: Path, suffixes: tuple[str, ...] = ()) -> None:
    """Exit if a file cannot be written, or needs another suffix."""
    if suffixes and out.suffix.lower() not in suffixes:
        fail(f"{out} has no suffix of a picture; use {' or '.join(suffixes)}")
    if out.is_dir():
        fail(f"{out} is a folder; name a file")
    folder = next(one for one in out.absolute().parents if one.exists())
    place = out if out.exists() else folder
    if not folder.is_dir() or not os.access(place, os.W_OK):
        fail(f"{out} cannot be written: {place} is {'not writable for you' if folder.is_dir() else 'not a folder'}")


def require_installed(settings: Settings) -> None:
    """Exit if train or generate lack packages or models, since their workers would die one after another."""
    try:
        if missing := missing_packages():
            raise ConfigurationError(missing)
        if settings.model.path != ModelSettings().path:
            from shared.models.model_loading import resolve_source

            resolve_source(settings.model)
        if settings.faces.engine == "insightface":
            from shared.faces.loading import NEEDED  # these with numpy, which most verbs do without
            from shared.faces.networks import folder_of

            if all(find_spec(name) for name in NEEDED):
                folder_of(settings.faces)
    except ConfigurationError as error:
        fail(str(error))


def missing_packages() -> str | None:
    """Return which packages of train and generate are missing, and how to install them; None if none is."""
    missing = [name for name in DIFFUSION if find_spec(name) is None]
    return f"train and generate need {', '.join(missing)}: {how_to_install('diffusion')}" if missing else None


def _list_knobs(model: type[Body]) -> set[str]:
    """Return the names that `configure` may contain."""
    configure = model.model_fields["configure"].annotation
    if not (isinstance(configure, type) and issubclass(configure, BaseModel)):
        return set()
    aliases = (getattr(field.validation_alias, "choices", []) for field in configure.model_fields.values())
    return set(configure.model_fields) | {str(name) for choices in aliases for name in choices}


def _name_option(message: str) -> str:
    field, colon, rest = message.partition(": ")
    name = field.removeprefix("configure.")
    return f"{OPTIONS.get(name, name)}{colon}{rest}"
