"""`photog people --stale`: who was trained for another base model, and their retraining."""

from itertools import islice

import typer

from shared.buckets import Bucket, BucketError, StoreUnavailable
from shared.cli.console import show
from shared.cli.requests import count_of
from shared.contract.manifests import Json
from shared.errors import RequestError
from shared.models.model_name import name_base_model
from shared.operations.people import list_people
from shared.operations.stale_people import NotRetrainable, StalePerson, find_stale, plan_retraining, retrain
from shared.settings import Settings


def list_stale(bucket: Bucket, after: str, limit: int | None, train: bool, as_json: bool) -> None:
    """List the stale people of a bucket, with what would retrain each; with `train`, ask for that.

    Args:
        limit: how many are listed, or asked for; those whose retraining waits or runs do not count then.
    """
    from shared.faces.loading import name_engine  # with numpy, which other verbs start without

    settings = Settings()
    base_model, engine = name_base_model(settings.model.path), name_engine(settings.faces)
    found = find_stale(list_people(bucket, after), base_model, engine)
    told: list[Json] = []
    asked = 0
    for one in islice(found, None if train else limit):
        told.append(_plan(bucket, one, train))
        asked += told[-1]["retraining"] == "asked for"
        if not as_json:
            typer.echo(f"{one.person.user_id:<24} {one.explain()}; {_describe(told[-1])}")
        if train and asked == limit:
            break
    more = next(found, None) is not None
    if as_json:
        show({"base_model": base_model, "face_engine": engine, "stale": told, "more": more})
    else:
        _sum_up(told, asked, more, f"{base_model} and {engine}", train)


def _plan(bucket: Bucket, one: StalePerson, train: bool) -> Json:
    """Return what is told of a person, once the retraining is asked for, if it is to be."""
    told: Json = {
        "user_id": one.person.user_id,
        "trained": one.person.trained,
        "base_model": one.person.base_model,
        "face_engine": one.person.face_engine,
    }
    try:
        planned = plan_retraining(bucket, one)
        state = "asked for" if train and retrain(bucket, planned) else planned.state
    except StoreUnavailable:
        raise
    except (NotRetrainable, BucketError, RequestError) as error:  # of this person; the others go on
        return told | {"retraining": "impossible", "why": str(error)}
    return told | {"retraining": state, "request_id": planned.request_id, "source": planned.source}


def _describe(told: Json) -> str:
    state = told["retraining"]
    if state == "impossible":
        return f"cannot be retrained: {told['why']}"
    if state == "none":
        how = "retrained on" if told["trained"] else "kept anew from"
        return f"would be {how} {told['source']}"
    return f"retraining {told['request_id']} on {told['source']}: {state}"


def _sum_up(told: list[Json], asked: int, more: bool, current: str, train: bool) -> None:
    """Say what to do next."""
    if not told:
        typer.echo(f"photog: nobody is stale: all models are for {current}", err=True)
        return
    last = told[-1]["user_id"]
    if more:
        typer.echo(f"photog: there are more; the same command with --after {last} goes on", err=True)
    if train:
        typer.echo(f"photog: asked for {count_of(asked, 'training')}, which workers take in turn", err=True)
    elif any(one["retraining"] == "none" for one in told):
        typer.echo("photog: --train asks for these trainings, --limit NUMBER for so many at a time", err=True)
