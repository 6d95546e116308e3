"""Commands of other packages: the entry point group `photog.commands`, each loaded only when it is called."""

import os
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from shared.cli.console import fail
from shared.cli.environment import unknown_variables
from shared.cli.failures import one_line
from shared.cli.nearest import MEANT
from shared.errors import how_to_install

GROUP = "photog.commands"
FOLLOWS = "--follow-parent"
ANYTHING = {"ignore_unknown_options": True, "allow_extra_args": True}


class Extensible(TyperGroup):
    """The verbs of photog itself and of the installed extensions."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return all names, the extensions' last."""
        return [*super().list_commands(ctx), *(entry.name for entry in entry_points(group=GROUP))]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | None:  # type: ignore[override]
        """Return the verb; an extension is imported only here."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own  # type: ignore[return-value]
        for entry in entry_points(group=GROUP, name=cmd_name):
            return _load(entry)
        return None

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Run the verb; known failures outside it end the program with one line."""
        with one_line():
            if FOLLOWS not in [*ctx._protected_args, *ctx.args]:  # the parent of such a worker has already printed them
                _refuse_misspelled(os.environ)
            return super().invoke(ctx)


def _refuse_misspelled(environment: Mapping[str, str]) -> None:
    """Exit if a variable is a setting's name misspelled; those that resemble none are only told of."""
    lines = unknown_variables(environment, GROUP)
    misspelled = [line for line in lines if MEANT in line]
    for line in lines:
        typer.echo(f"photog: {'' if line in misspelled else 'warning: '}{line}", err=True)
    if misspelled:
        raise typer.Exit(2)


def _load(entry: EntryPoint) -> TyperCommand:
    """Return an extension's function as a command; if its packages are missing, the command says which."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    try:
        app.command(entry.name)(entry.load())
    except ModuleNotFoundError as error:
        say = app.command(entry.name, help=f"Not installed: {how_to_install(entry.name)}.", context_settings=ANYTHING)
        say(_make_refusal(entry, error))
    command: TyperCommand = get_command(app)  # type: ignore[assignment]
    return command


def _make_refusal(entry: EntryPoint, error: ModuleNotFoundError) -> Callable[[], NoReturn]:
    reason = f"{entry.name} needs {error.name}: {how_to_install(entry.name)}"

    def refuse() -> NoReturn:
        fail(reason)

    return refuse
