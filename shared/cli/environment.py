"""Unknown PHOTOG_ variables in the environment: settings that have no effect."""

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic_settings import BaseSettings

from shared.cli.nearest import MEANT, did_you_mean
from shared.settings import Settings

PREFIX = "PHOTOG_"
NESTED = "__"
SERVICE_LINK = re.compile(r"PHOTOG_\w+_(SERVICE_HOST|SERVICE_PORT\w*|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)")
"""Variables that Kubernetes sets in every container for a service named photog-..."""


def unknown_variables(environment: Mapping[str, str], commands: str) -> list[str]:
    """Return a line for each variable that no setting reads, with the name that may be meant.

    Args:
        commands: entry point group of the commands of other packages, which have settings of their own.
    """
    ours = [name for name in sorted(environment) if name.upper().startswith(PREFIX)]
    known = set(_list_variables(Settings))
    if all(_is_known(name, known) for name in ours):
        return []
    for settings in _list_extension_settings(commands):
        known |= set(_list_variables(settings))
    return [
        f"{name} is not a setting, so it has no effect{_suggest(name, known)}"
        for name in ours
        if not _is_known(name, known) and not SERVICE_LINK.fullmatch(name)
    ]


def _suggest(name: str, known: set[str]) -> str:
    """Return which setting is meant; the prefix, which all have, does not count."""
    near = did_you_mean(name[len(PREFIX) :], (one.removeprefix(PREFIX).removesuffix(NESTED) for one in known))
    return near.replace(MEANT, MEANT + PREFIX)


def _is_known(name: str, known: set[str]) -> bool:
    """Return whether a setting has this name, or a dictionary setting accepts it as an entry."""
    written = name.upper()
    return written in known or any(one.endswith(NESTED) and written.startswith(one) for one in known)


def _list_variables(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the variables of the settings; names of those that accept any entry end with two underscores."""
    prefix = prefix or str(model.model_config.get("env_prefix", ""))
    for name, field in model.model_fields.items():
        if isinstance(field.validation_alias, AliasChoices):
            yield from map(str, field.validation_alias.choices)
            continue
        full = f"{prefix}{name}".upper()
        yield full
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel) and get_origin(field.annotation) is not list:
                yield from _list_variables(kind, f"{full}{NESTED}")
            elif get_origin(kind) is dict:
                yield f"{full}{NESTED}"


def _list_extension_settings(commands: str) -> Iterator[type[BaseSettings]]:
    """Yield the settings in `settings.py` beside each command."""
    for entry in entry_points(group=commands):
        try:
            module = import_module(f"{entry.module.rpartition('.')[0]}.settings")
        except ModuleNotFoundError:
            continue  # it has none, or its packages are not installed
        for found in vars(module).values():
            if isinstance(found, type) and issubclass(found, BaseSettings) and found.__module__ == module.__name__:
                yield found
