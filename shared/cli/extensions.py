"""Commands that other packages bring: the entry point group `photog.commands`, loaded only when one is asked for."""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from shared.buckets import BucketError, InvalidKey
from shared.cli.console import fail, unavailable

GROUP = "photog.commands"


class Extensible(TyperGroup):
    """The verbs of photog itself and those of the installed extensions."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """All names; the extensions' last."""
        return [*super().list_commands(ctx), *(entry.name for entry in entry_points(group=GROUP))]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | None:  # type: ignore[override]
        """The verb; an extension is imported here and not before."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own  # type: ignore[return-value]
        for entry in entry_points(group=GROUP, name=cmd_name):
            return _loaded(entry)
        return None

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """The verb; a store that fails under it, or a name that can be no key, ends the program with one line."""
        try:
            return super().invoke(ctx)
        except InvalidKey as error:
            fail(str(error))
        except BucketError as error:
            unavailable(str(error))


def _loaded(entry: EntryPoint) -> TyperCommand:
    """An extension's function as a command; one whose packages are missing says which when it is called."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    try:
        app.command(entry.name)(entry.load())
    except ModuleNotFoundError as error:
        app.command(entry.name, help=f"Not installed: pip install 'photog[{entry.name}]'.")(_missing(entry, error))
    command: TyperCommand = get_command(app)  # type: ignore[assignment]
    return command


def _missing(entry: EntryPoint, error: ModuleNotFoundError) -> Callable[[], NoReturn]:
    reason = f"{entry.name} needs {error.name}: pip install 'photog[{entry.name}]'"

    def refuse() -> NoReturn:
        fail(reason)

    return refuse
