"""What is known to be wrong before anything is sent or started, said then and not minutes later."""

import os
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel

from shared.cli.console import fail
from shared.cli.nearest import did_you_mean
from shared.contract.manifests import Json
from shared.contract.validation import Body, validate
from shared.errors import ConfigurationError, InvalidField, how_to_install
from shared.faces.loading import NEEDED
from shared.runtime.request_models import request_model
from shared.settings import ModelSettings, Settings

DIFFUSION = ("torch", "diffusers", "transformers", "peft")  # what train and generate need beyond check
OPTIONS = {"max_train_steps": "--steps", "val_save_checkpointing_steps": "--every", "images": "the photos"}
"""Fields of a request by the options that set them."""


def require_valid(function: str, body: Json) -> None:
    """The end of the program for a body that the function would refuse, or whose knobs it would ignore."""
    model = request_model(function)
    if model is None:
        return
    try:
        validate(model, {"request_id": function} | body)
    except InvalidField as error:
        fail(_by_option(error.message))
    known = _knobs(model)
    for name in body.get("configure", {}):
        if name not in known:
            fail(f"{function} has no knob {name}{did_you_mean(name, known)}")


def require_room(out: Path, suffixes: tuple[str, ...] = ()) -> None:
    """The end of the program where a file cannot be written to, or must be called otherwise."""
    if suffixes and out.suffix.lower() not in suffixes:
        fail(f"{out} cannot be drawn; let its name end with {' or '.join(suffixes)}")
    if out.is_dir():
        fail(f"{out} is a folder; name a file")
    folder = next(one for one in out.absolute().parents if one.exists())
    place = out if out.exists() else folder
    if not folder.is_dir() or not os.access(place, os.W_OK):
        fail(f"{out} cannot be written: {place} is {'not yours to write' if folder.is_dir() else 'no folder'}")


def require_installed(settings: Settings) -> None:
    """The end of the program where train or generate lack packages or models: their workers would die of it in turn."""
    try:
        if missing := missing_packages():
            raise ConfigurationError(missing)
        if settings.model.path != ModelSettings().path:
            from shared.models.model_loading import resolve_source

            resolve_source(settings.model)
        if settings.faces.engine == "insightface" and all(find_spec(name) for name in NEEDED):
            from shared.faces.networks import folder_of

            folder_of(settings.faces)
    except ConfigurationError as error:
        fail(str(error))


def missing_packages() -> str | None:
    """What is not installed of the packages of train and generate, and how it is; None where all are."""
    missing = [name for name in DIFFUSION if find_spec(name) is None]
    return f"train and generate need {', '.join(missing)}: {how_to_install('diffusion')}" if missing else None


def _knobs(model: type[Body]) -> set[str]:
    """The names that `configure` may have."""
    configure = model.model_fields["configure"].annotation
    if not (isinstance(configure, type) and issubclass(configure, BaseModel)):
        return set()
    aliases = (getattr(field.validation_alias, "choices", []) for field in configure.model_fields.values())
    return set(configure.model_fields) | {str(name) for choices in aliases for name in choices}


def _by_option(message: str) -> str:
    field, colon, rest = message.partition(": ")
    name = field.removeprefix("configure.")
    return f"{OPTIONS.get(name, name)}{colon}{rest}"
