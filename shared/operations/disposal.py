"""Removal of answered requests by whoever has sent them and alone knows of them: nothing has to be searched for."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from shared.buckets.base import Bucket
from shared.contract import keys
from shared.events import completion_event
from shared.lifecycle.answers import DamagedAnswer, parse_answer
from shared.operations.retention import READ_SECONDS, Identity


def discard_requests(
    bucket: Bucket, requests: Iterable[Identity], wait: Callable[[float], None] = time.sleep
) -> list[Identity]:
    """Remove these requests with everything that is stored for them; return those that were removed.

    One without an answer stays, and one whose completion event is not delivered yet. A manifest goes a moment before
    its answer, since a worker that has just read it would serve it again.
    """
    done = [one for one in requests if _is_done(bucket, *one)]
    for function, request_id in done:
        bucket.delete(keys.request(function, request_id))
    if done:
        wait(READ_SECONDS)
    for function, request_id in done:
        _delete_stored(bucket, function, request_id)
    return done


def _is_done(bucket: Bucket, function: str, request_id: str) -> bool:
    left = keys.outbox(function, request_id), keys.progress(function, request_id)
    return bucket.head(keys.result(function, request_id)) is not None and not any(map(bucket.head, left))


def _delete_stored(bucket: Bucket, function: str, request_id: str) -> None:
    """Delete the event, the artifacts, the answer and then the claims."""
    result = keys.result(function, request_id)
    with suppress(DamagedAnswer):  # of which nobody was told
        answer = parse_answer(result, request_id, bucket.get(result))
        event = completion_event(function, answer, bucket.address, result)
        bucket.delete(keys.notification(function, event["id"]))
    for info in list(bucket.list(keys.result_folder(function, request_id))):
        if info.key != result:
            bucket.delete(info.key)
    bucket.delete(result)
    for info in list(bucket.list(keys.claims(function, request_id))):
        bucket.delete(info.key)
