"""All verbs of `photog`; importing them takes a while, so `shared.cli` does it when the program begins."""

from typing import Annotated

import typer

from shared.cli import (
    cancel,
    container,
    doctor,
    forget,
    people,
    portrait,
    prune,
    queues,
    requests,
    schema,
    usage,
    workers,
)
from shared.cli.extensions import Extensible
from shared.contract.release import VERSION

app = typer.Typer(
    cls=Extensible,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # our help texts contain [/PREFIX] and [BUCKET] literally
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"photog {VERSION}")
        raise typer.Exit


@app.callback()
def photog(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print photog's release.")
    ] = False,
) -> None:
    """AI portraits out of a bucket.

    \b
    Begin with:
      photog portrait me --template poster.jpg     me is a folder of photos
      photog VERB --help                           examples and all options
    """


app.command("portrait")(portrait.portrait)
app.add_typer(people.people, name="people")
app.command("forget")(forget.forget)
app.command("up")(workers.up)
app.command("check")(requests.check)
app.command("train")(requests.train)
app.command("generate")(requests.generate)
app.command("submit")(requests.submit)
app.command("status")(requests.status)
app.command("doctor")(doctor.doctor)
app.command("worker")(workers.worker)
app.command("cancel")(cancel.cancel)
app.command("prune")(prune.prune)
app.command("usage")(usage.usage)
app.command("invoke")(workers.invoke)
app.command("job")(queues.job)
app.command("sweep")(queues.sweep)
app.command("dead-letters")(queues.dead_letters)
app.command("redrive")(queues.redrive)
app.command("http")(container.http)
app.command("health")(container.health)
app.command("schema")(schema.schema)
