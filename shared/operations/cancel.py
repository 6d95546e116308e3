"""Cancellation: a request that waits or runs is answered with an error, and its worker loses the claim.

| the request | what happens |
|---|---|
| waits | its answer is there before any worker begins; workers skip what is answered |
| runs | the same, and a claim above its worker's makes the worker stop at its next beat, within a third of a lease |
| is answered at this moment | nothing: whoever creates `result.json` first wins |
"""

from shared.buckets import Bucket
from shared.contract import keys
from shared.contract.manifests import encode, failure
from shared.errors import RequestError
from shared.lifecycle.claims import Claims
from shared.settings import Lease


class Canceled(RequestError):
    """The request was canceled before it was answered; send it under a new id to have it done after all."""


def cancel(bucket: Bucket, function: str, request_id: str, lease: Lease) -> bool:
    """Answer a request with `Canceled` unless it has an answer already; returns whether it was canceled."""
    error = Canceled("the request was canceled before it was answered")
    envelope = encode(failure(request_id, error, {"cost_time": 0.0}))
    if not bucket.put_if_absent(keys.result(function, request_id), envelope):
        return False
    Claims(bucket, function, lease, "canceling").supersede(request_id)
    return True
