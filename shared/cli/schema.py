"""The verb that prints the JSON Schemas of requests, answers, progress and events."""

import json
from pathlib import Path
from typing import Annotated

import typer

from shared.cli.console import fail, show
from shared.cli.nearest import did_you_mean
from shared.runtime.schemas import all_schemas


def schema(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="As in check.answer; without it, the names are printed.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write all of them into this folder instead.")] = None,
) -> None:
    """Print a JSON Schema of what crosses the wire.

    Also prints the table of errors.

    \b
    Examples:
      photog schema
      photog schema check.answer
      photog schema errors
    """
    found = all_schemas()
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for one, content in found.items():
            (out / f"{one}.json").write_text(json.dumps(content, indent=1) + "\n")
        return
    if name is None:
        typer.echo("\n".join(found))
        return
    if name not in found:
        fail(f"there is no schema {name}{did_you_mean(name, found)}")
    show(found[name])
