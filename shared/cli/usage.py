"""The verb `usage`: what each user has used."""

import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from shared.cli.ages import parse_age
from shared.cli.console import AsJson, existing_bucket, fail, show
from shared.cli.workers import ExistingBucket
from shared.contract.function import NAMES
from shared.contract.manifests import NOBODY, USER_ID
from shared.operations.usage import Usage, sum_usage
from shared.settings import Settings

UNITS = ("B", "kB", "MB", "GB")


def usage(
    bucket: ExistingBucket,
    user: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this user; none: the requests that name nobody.")
    ] = None,
    since: Annotated[
        str, typer.Option(metavar="AGE", help="Only what ended within 12h, 30d, 8w or 1y; by default 30d.")
    ] = "30d",
    as_json: AsJson = False,
) -> None:
    """Add up what each user has used.

    Requests, seconds of a device and bytes, from the records that workers write with
    PHOTOG_USAGE__RECORD=true, or with a quota (PHOTOG_QUOTA__...).

    \b
    Examples:
      photog usage s3://portraits
      photog usage BUCKET --user ann --since 24h --json
    """
    if user is not None and not USER_ID.fullmatch(user):
        fail(f"{user} is no user id: 1 to 64 of A-Z a-z 0-9 . _ -")
    place, begin = existing_bucket(bucket), max(0.0, time.time() - parse_age("--since", since))
    users, total = sum_usage(place, begin, user or "")
    if as_json:
        told = {user_id: asdict(one) for user_id, one in users.items()}
        show({"since": datetime.fromtimestamp(begin, UTC).isoformat(), "users": told, "total": asdict(total)})
        return
    for user_id, one in users.items():
        typer.echo(f"{'(nobody)' if user_id == NOBODY else user_id:<24} {_describe(one)}")
    if len(users) > 1:
        typer.echo(f"{'(all)':<24} {_describe(total)}")
    if not users:
        settings = Settings()
        recorded = settings.usage.record or settings.quota.limited
        hint = "" if recorded else "; workers record it with PHOTOG_USAGE__RECORD=true"
        typer.echo(f"photog: no usage is recorded in {place.address} of the last {since}{hint}", err=True)


def _describe(one: Usage) -> str:
    counts = "  ".join(f"{one.requests.get(function, 0):>5} {function}" for function in NAMES)
    moved = f"{_size(one.bytes_read)} read, {_size(one.bytes_written)} written, {_size(one.bytes_kept)} kept"
    return f"{counts}  {one.device_seconds:>10.1f} s of a device  {moved}"


def _size(count: float) -> str:
    for unit in UNITS[:-1]:
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} {UNITS[-1]}"
