"""Answers as they are read back from a bucket, where anybody may have overwritten them, and as they are handed out.

`result.json` has what a worker needs to point to a user's model, also one that finishes what another has begun, and in
a copy of the results alone: the record of each person who is kept, with landmarks and face vectors. These are
biometric data that nobody else needs, so whoever reads an answer for somebody else uses `read_outgoing_answer`, and
whoever shows what is stored `leave_out_measurements`.
"""

from typing import Any

from shared.buckets.base import BucketError
from shared.contract.manifests import Json, decode

RECORDS = ("references", "kept")  # members of `data` that have records of photos
MEASUREMENTS = ("landmarks", "box", "embedding")  # of a face in such a record


class DamagedAnswer(BucketError):
    """An answer was not written by photog, or not for this request; only this one fails."""


def parse_answer(key: str, request_id: str, text: bytes) -> Json:
    """Return the answer to a request; raises DamagedAnswer if photog cannot have written it."""
    try:
        envelope = decode(text)
    except ValueError:
        envelope = {}
    written = envelope.get("code") in ("OK", "error") and envelope.get("request_id") == request_id
    if not (written and isinstance(envelope.get("data"), dict) and isinstance(envelope.get("message"), str)):
        raise DamagedAnswer(f"{key} is no answer of photog's to this request; restore it, or remove it")
    return envelope


def read_outgoing_answer(key: str, request_id: str, text: bytes) -> Json:
    """Return the answer to a request without what was measured in faces; raises DamagedAnswer as `parse_answer`."""
    return leave_out_measurements(parse_answer(key, request_id, text))


def leave_out_measurements(envelope: Json) -> Json:
    """Return an answer, or what is stored in its place, without what was measured in faces."""
    data = envelope.get("data")
    if not isinstance(data, dict):
        return envelope
    told = {name: _strip(data[name]) for name in RECORDS if name in data}
    return envelope | {"data": data | told} if told else envelope


def _strip(value: Any) -> Any:
    if isinstance(value, list):
        return [_strip(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: _strip(one) for name, one in value.items() if name not in MEASUREMENTS}
