"""The verb `prune`, which removes what has been kept for longer than it is to be kept."""

from collections import Counter
from typing import Annotated

import typer

from shared.cli.ages import DAY, parse_age
from shared.cli.console import AsJson, existing_bucket, fail, show
from shared.cli.nearest import did_you_mean
from shared.cli.workers import ExistingBucket
from shared.contract.visible import visible
from shared.operations.erasure import Erasure
from shared.operations.retention import KINDS, Expired, Retention
from shared.settings import RetentionSettings, Settings

SHORTEST = 3600.0  # seconds: a photo is uploaded before the request that names it
SHORTEST_USAGE = 2 * DAY  # a request that began before midnight has its slot in the records of the day before
WITHOUT_ASKING = tuple(kind for kind in KINDS if kind not in ("users", "usage"))  # what --older alone means


def prune(
    bucket: ExistingBucket,
    older: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="30d, 12h, 8w or 1y; by default PHOTOG_RETENTION__..., a setting per kind."),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(KINDS)}; may be repeated. --older alone means all of them but users and usage."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what is older than it is to be kept.

    Never what an unanswered request or a user's model needs.

    \b
    Examples:
      photog prune s3://portraits --older 30d --dry-run
      photog prune BUCKET --older 8w --kind photos --kind results
    """
    settings = Settings()
    seconds = _choose(older, kind or [], settings.retention)
    place = existing_bucket(bucket)
    retention = Retention(place, settings.buckets)
    expired = retention.find(seconds)
    outcome: dict[str, str | None] = {}
    if not dry_run:
        outcome = retention.remove(expired)
        for user in expired.users:
            if user not in retention.find(seconds).users:
                continue  # somebody has named them since: forgetting the others takes its time
            erasure = Erasure(place, settings.lease, named=settings.buckets)
            outcome |= dict.fromkeys(erasure.forget(user))
            outcome |= dict.fromkeys(erasure.holdings(user).remaining(), f"{user} is not forgotten whole")
    removed, remaining = [key for key, why in outcome.items() if why is None], {k: v for k, v in outcome.items() if v}
    if as_json:
        listed = {"expired": list(expired.objects), "users": expired.users, "removed": removed}
        show(listed | {"remaining": remaining, "faults": expired.faults})
    else:
        _tell(expired, removed, dry_run)
    for key, why in (expired.faults | remaining).items():
        typer.echo(f"photog: {visible(key)}: {visible(why)}", err=True)
    if expired.faults:
        typer.echo("photog: nothing is removed, because what cannot be read may need it", err=True)
    if expired.faults or remaining:
        raise typer.Exit(1)


def _choose(older: str | None, kinds: list[str], kept: RetentionSettings) -> dict[str, float]:
    """Return how many seconds each kind is kept; end the program where nothing says so."""
    for kind in kinds:
        if kind not in KINDS:
            fail(f"there is no kind {kind}; there are {', '.join(KINDS)}{did_you_mean(kind, KINDS)}")
    if older is not None:
        seconds = _require_age(older)
        if "usage" in kinds and seconds < SHORTEST_USAGE:
            fail(f"--older {older} would give back to users what they have used of today's quota; the least is 2d")
        return dict.fromkeys(kinds or WITHOUT_ASKING, seconds)
    days: dict[str, float | None] = kept.model_dump()
    chosen = {kind: value * DAY for kind, value in days.items() if value is not None and (not kinds or kind in kinds)}
    if not chosen:
        fail(
            "nothing says how long to keep what; give --older, such as --older 30d, or set PHOTOG_RETENTION__PHOTOS=30"
        )
    return chosen


def _require_age(text: str) -> float:
    """Return an age in seconds; end the program if it is none, or too short."""
    seconds = parse_age("--older", text)
    if seconds < SHORTEST:
        fail(f"--older {text} would take photos whose request is still to come; the least is 1h")
    return seconds


def _tell(expired: Expired, removed: list[str], dry_run: bool) -> None:
    word = "would remove" if dry_run else "removed"
    for key in expired.objects if dry_run else removed:
        typer.echo(f"{word} {visible(key)}")
    for user in expired.users:
        typer.echo(f"{'would forget' if dry_run else 'forgot'} {visible(user)}")
    counts = Counter(expired.objects.values())
    kinds = ", ".join(f"{counts[kind]} of {kind}" for kind in KINDS if counts[kind])
    total = len(expired.objects) if dry_run else len(removed)
    typer.echo(f"{total} objects {'would be removed' if dry_run else 'removed'}{f': {kinds}' if kinds else ''}")
