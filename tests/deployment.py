"""Checks of deployment files against the real command line and the real settings."""

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from typer.core import TyperGroup
from typer.main import get_group

from serve.settings import ServeSettings
from shared.cli import app
from shared.settings import Settings

ROOT = Path(__file__).parents[1]
FUNCTIONS = ("check", "train", "generate")
DOCKERFILES = {name: ROOT / "functions" / name / "Dockerfile" for name in FUNCTIONS} | {
    "serve": ROOT / "serve/Dockerfile"
}


def understood(words: Sequence[str]) -> None:
    """Fail unless `photog WORDS` is a verb with arguments and options that it has; nothing is run."""
    group = get_group(app)
    context = group.make_context("photog", ["doctor"])
    name, *rest = words
    verb = group.get_command(context, name)
    assert verb is not None, f"photog has no verb {name}; it has {', '.join(group.list_commands(context))}"
    while isinstance(verb, TyperGroup):
        if verb.invoke_without_command and (not rest or rest[0].startswith("-")):
            break
        name, *rest = rest
        assert name in verb.commands, f"there is no {name} among {', '.join(verb.commands)}"
        verb = verb.commands[name]
    verb.make_context(name, list(rest))


def is_setting(variable: str, value: str | None = None) -> None:
    """Fail unless a PHOTOG_ variable is read by something, and its value, where it is known, accepted."""
    assert variable.startswith("PHOTOG_"), variable
    if variable == "PHOTOG_TOKEN":
        return
    model: Any = ServeSettings if variable.startswith("PHOTOG_SERVE__") else Settings
    variable = variable.replace("PHOTOG_SERVE__", "PHOTOG_")
    *groups, leaf = variable.removeprefix("PHOTOG_").lower().split("__")
    for group in groups:
        assert group in model.model_fields, f"{variable}: there are no settings {group}"
        model = model.model_fields[group].annotation
    assert leaf in model.model_fields, f"{variable}: there is no setting {leaf}"
    if value is not None:
        read = json.loads(value) if value.startswith(("[", "{")) else value
        model.__pydantic_validator__.validate_assignment(model.model_construct(), leaf, read)


class _Cloud(yaml.SafeLoader):
    """A YAML loader for CloudFormation's short tags; `!Ref x` is {"Ref": "x"}, any other `!Name` {"Fn::Name": ...}."""


def _tag(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, object]:
    if isinstance(node, yaml.ScalarNode):
        made = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        made = loader.construct_sequence(node, deep=True)
    else:
        made = loader.construct_mapping(node, deep=True)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": made}


_Cloud.add_multi_constructor("!", _tag)


def documents(path: Path) -> list[dict[str, object]]:
    """Return the documents of a YAML file of the repository."""
    return [one for one in yaml.load_all(path.read_text(), _Cloud) if one is not None]


def instructions(dockerfile: Path) -> Iterator[tuple[str, str]]:
    """Return the instructions of a Dockerfile, without comments and with continued lines joined."""
    joined = dockerfile.read_text().replace("\\\n", " ")
    for line in joined.splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, rest = line.strip().partition(" ")
            yield name.upper(), rest.strip()


def last_stage(dockerfile: Path) -> dict[str, list[str]]:
    """Return the instructions that make the image itself, after the last FROM, by name."""
    stage: dict[str, list[str]] = {}
    for name, rest in instructions(dockerfile):
        if name == "FROM":
            stage = {}
        stage.setdefault(name, []).append(rest)
    return stage


def environment(dockerfile: Path) -> dict[str, str]:
    """Return the image's ENV, with `${NAME}` replaced by the argument's default."""
    stage = last_stage(dockerfile)
    defaults = dict(one.split("=", 1) for one in stage.get("ARG", []))
    pairs = [word for line in stage["ENV"] for word in shlex.split(line)]
    made = dict(pair.split("=", 1) for pair in pairs)
    for name, default in defaults.items():
        made = {key: value.replace(f"${{{name}}}", default) for key, value in made.items()}
    return made


def command(dockerfile: Path) -> list[str]:
    """Return ENTRYPOINT and CMD, which must be in exec form: a shell in between would swallow SIGTERM."""
    stage = last_stage(dockerfile)
    return [*json.loads(stage["ENTRYPOINT"][-1]), *json.loads(stage["CMD"][-1])]


def health_command(dockerfile: Path) -> list[str]:
    """Return the command of HEALTHCHECK, in exec form."""
    return json.loads(last_stage(dockerfile)["HEALTHCHECK"][-1].partition("CMD ")[2])
