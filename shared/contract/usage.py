"""What a request uses: counted by its attempt, told in its answer, recorded by day and user.

    usage/<day>/<user>/<function>.<figures>.<request_id>.json     a record, one per user whom the answered request names
    usage/<day>/<user>/slots/<function>-000001.json               a quota's slot, one per admitted request

| question | answer |
|---|---|
| when is a record written | after the commit, by everybody who completes the answer (`lifecycle/usage_records.py`) |
| what makes it exactly once | its key follows from the committed answer alone, and there is one answer |
| what of attempts without an answer | no record, as no user wasted it; `photog_device_seconds_total` counts it |
| what adds them up | a listing of some days, a thousand per call: the figures are in the keys |
| whose is a portrait of several | each has one request, and an equal share of its seconds and bytes |
| what admits a request | a slot that it creates if absent (`lifecycle/quota.py`), before its work and after its claim |
| what erases them | `photog forget`: the user's name is a folder of the keys |

By default nothing is recorded and no quota is set: then none of this costs a store call.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.contract import keys
from shared.contract.manifests import NOBODY, USER_ID, Json

MOST_USERS = 64  # of one request that are told: as many as a template may have faces
MILLISECONDS = 1000.0
MOST = 1e11  # of bytes, seconds, and seconds since 1970, until the year 5138; more was not counted by photog
AMOUNTS = ("device_seconds", "bytes_read", "bytes_written", "bytes_kept", "ended")
RECORD = re.compile(
    keys.USAGE + r"\d{4}-\d\d-\d\d/(?P<user_id>[^/]+)/(?P<function>[^/.]+)"
    r"\.(?P<ended>\d+)-(?P<device>\d+)-(?P<read>\d+)-(?P<written>\d+)-(?P<kept>\d+)\.(?P<request_id>[^/]+)\.json",
    re.ASCII,
)


class Meter:
    """Counts what one attempt moves.

    Attributes:
        read: bytes of the pictures and objects that the function was given.
        saved: bytes of each artifact, by its name; also of those that are removed after the answer.
    """

    def __init__(self) -> None:
        self.read = 0
        self.saved: dict[str, int] = {}

    def usage(self, seconds: float, users: Iterable[str], ended: float, answered: bool) -> Json:
        """Return the `usage` of an answer's data.

        Args:
            seconds: for which the attempt had the device.
            ended: seconds since 1970.
            answered: whether the artifacts are kept, as those of an error are not.
        """
        saved = self.saved.copy()  # a deadline is told while the function goes on saving
        kept = [size for name, size in saved.items() if answered and not name.startswith(keys.SCRATCH)]
        return {
            "device_seconds": round(seconds, 3),
            "bytes_read": self.read,
            "bytes_written": sum(saved.values()),
            "bytes_kept": sum(kept),
            "user_ids": list(users),
            "ended": round(ended, 3),
        }


def read_users(body: Json) -> tuple[str, ...]:
    """Return the users whom a request names, each once, without those that cannot be one."""
    configure = body.get("configure")
    named = _ids(configure) if isinstance(configure, dict) else []
    usable = (one for one in named or _ids(body) if isinstance(one, str) and USER_ID.fullmatch(one) and one != NOBODY)
    return tuple(dict.fromkeys(usable))[:MOST_USERS]


def _ids(told: Json) -> list[object]:
    given = told.get("model_id") if told.get("user_id") is None else told.get("user_id")
    return given if isinstance(given, list) else [given] if given is not None else []


def day_of(moment: float) -> str:
    """Return the day of UTC, as in 2026-01-31."""
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


@dataclass(frozen=True)
class UsageRecord:
    """What one request used for one user.

    Attributes:
        user_id: `none` for a request that names nobody.
        ended: seconds since 1970, by the clock of the worker that answered.
    """

    user_id: str
    function: str
    request_id: str
    ended: float
    device_seconds: float
    bytes_read: int
    bytes_written: int
    bytes_kept: int

    @property
    def key(self) -> str:
        """Key of the record."""
        moment, device = round(self.ended * MILLISECONDS), round(self.device_seconds * MILLISECONDS)
        figures = f"{self.function}.{moment}-{device}-{self.bytes_read}-{self.bytes_written}-{self.bytes_kept}"
        return keys.usage_record(day_of(self.ended), self.user_id, figures, self.request_id)


def parse_record(key: str) -> UsageRecord | None:
    """Return the record that a key tells; None for any other key."""
    found = RECORD.fullmatch(key)
    if found is None:
        return None
    return UsageRecord(
        found["user_id"],
        found["function"],
        found["request_id"],
        int(found["ended"]) / MILLISECONDS,
        int(found["device"]) / MILLISECONDS,
        int(found["read"]),
        int(found["written"]),
        int(found["kept"]),
    )


def records_of(function: str, envelope: Json) -> list[UsageRecord]:
    """Return the records of a committed answer, one per user; none if it does not tell what was used.

    The answer may be read back from the bucket, where anybody may have overwritten it.
    """
    told = envelope["data"].get("usage")
    if not (isinstance(told, dict) and all(_is_amount(told.get(name)) for name in AMOUNTS)):
        return []
    given = told.get("user_ids")
    users = [one for one in given if isinstance(one, str) and USER_ID.fullmatch(one)] if isinstance(given, list) else []
    users = list(dict.fromkeys(users))[:MOST_USERS] or [NOBODY]
    milliseconds = _share(round(told["device_seconds"] * MILLISECONDS), len(users))
    shares = [_share(int(told[name]), len(users)) for name in ("bytes_read", "bytes_written", "bytes_kept")]
    return [
        UsageRecord(user_id, function, envelope["request_id"], float(told["ended"]), device / MILLISECONDS, *moved)
        for user_id, device, *moved in zip(users, milliseconds, *shares, strict=True)
    ]


def _share(amount: int, people: int) -> list[int]:
    """Return equal shares of an amount, as near as whole numbers are; they add up to it."""
    return [(amount + number) // people for number in range(people)]


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MOST
