"""Answers as they are read back from a bucket, where anybody may have overwritten them, and as they are handed out.

`result.json` has what a worker needs to point to a user's model, also one that finishes what another has begun, and in
a copy of the results alone: the record of each person who is kept, with landmarks and face vectors. These are
biometric data that nobody else needs, so whoever reads an answer for somebody else uses `read_outgoing_answer`.
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
    envelope = parse_answer(key, request_id, text)
    data = envelope["data"]
    told = {name: _leave_out_measurements(data[name]) for name in RECORDS if name in data}
    return envelope | {"data": data | told} if told else envelope


def _leave_out_measurements(value: Any) -> Any:
    if isinstance(value, list):
        return [_leave_out_measurements(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: _leave_out_measurements(one) for name, one in value.items() if name not in MEASUREMENTS}
