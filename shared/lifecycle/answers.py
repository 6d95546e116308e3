"""Answers as they are read back from a bucket, where anybody may have overwritten them."""

from shared.buckets.base import BucketError
from shared.contract.manifests import Json, decode


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
