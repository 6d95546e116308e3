"""Cancels a request: answers it with an error before its worker does, and takes it from that worker.

| the request | what canceling does | what its worker does |
|---|---|---|
| waits | claims it, answers it, releases the claim | nothing: it finds the answer |
| runs | answers it, creates the next claim, released | stops at its next beat, and removes what it has saved |
| is answered | nothing | |

The answer is created only if there is none, like every answer, so a request that is done a moment before stays done.
"""

from collections.abc import Sequence

from shared.buckets.base import Bucket
from shared.contract import keys
from shared.contract.hooks import AttemptHook, Hooks
from shared.contract.manifests import Json, Manifest, failure, parse
from shared.contract.request import read_metadata
from shared.errors import PhotogError, RequestCanceled, RequestError
from shared.lifecycle.answers import read_outgoing_answer
from shared.lifecycle.claims import STALE_LEASES, Claims
from shared.lifecycle.publisher import Publisher
from shared.operations.dead_letters import DeadLetterFunction
from shared.operations.status import find_manifest
from shared.settings import Settings

OWNER = "cancel"


class UnknownRequest(PhotogError):
    """There is no such request; the message names it."""


class Cancellation:
    """Cancels requests of one function in one bucket.

    Args:
        hooks: called around the answer, as those that send completion events.
    """

    def __init__(self, bucket: Bucket, function: str, settings: Settings, hooks: Sequence[AttemptHook] = ()) -> None:
        self._bucket, self._function, self._settings = bucket, function, settings
        self._claims = Claims(bucket, function, settings.lease, OWNER)
        stand_in = DeadLetterFunction(function, settings)  # an error answer asks its function for nothing
        patience = settings.lease.seconds * STALE_LEASES
        self._publisher = Publisher(bucket, stand_in, Hooks(hooks), self._claims, patience)

    def cancel(self, request_id: str) -> Json:
        """Cancel a request and return its answer: RequestCanceled, unless it was answered before.

        Raises UnknownRequest.
        """
        if (answer := self._answer(request_id)) is not None:
            return answer
        manifest, key = self._manifest(request_id)
        claim = self._claims.acquire_first(request_id, key, manifest.sha256) if manifest else None
        error = RequestCanceled("the request was canceled; nothing is kept of it")
        metadata = read_metadata(manifest.body) if manifest else {}
        envelope = failure(request_id, error, {"cost_time": 0.0}, metadata)
        written = False
        try:
            written = self._publisher.refuse(envelope)
        finally:
            if claim is not None:
                self._claims.release(request_id, claim.record)
            elif written:
                self._claims.supersede(request_id)
        return self._answer(request_id) or envelope

    def _answer(self, request_id: str) -> Json | None:
        key = keys.result(self._function, request_id)
        text = self._bucket.find(key)
        return None if text is None else read_outgoing_answer(key, request_id, text)

    def _manifest(self, request_id: str) -> tuple[Manifest | None, str]:
        """Return the request's manifest and its key; None for a manifest that is gone while a worker serves it."""
        first = self._claims.first(request_id)
        named = first.manifest if first else None
        key = named or find_manifest(self._bucket, self._function, request_id, self._settings.limits)
        if key is None:
            raise UnknownRequest(f"there is no {self._function} request {request_id} in {self._bucket.address}")
        text = self._bucket.find(key)
        try:
            return (None if text is None else parse(text)), key
        except RequestError:
            return None, key
