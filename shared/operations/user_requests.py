"""The requests of one user, and what has become of them."""

from shared.buckets.base import Bucket
from shared.contract.manifests import Json
from shared.operations.status import describe_state
from shared.operations.user_data import UserDataSearch
from shared.settings import Settings


def list_requests(bucket: Bucket, user_id: str, settings: Settings) -> list[Json]:
    """Return `function`, `request_id` and `state` (waiting, running, ok, error) of each request of a user, sorted.

    They are the requests that forgetting the user would remove: those that name the user, and those that only their
    photos show to be the user's. The whole bucket is read for that. Raises InvalidKey for an invalid id.
    """
    held = UserDataSearch(bucket, settings.lease, settings.buckets).find(user_id)
    return [
        {"function": function, "request_id": request_id, "state": describe_state(bucket, function, request_id)}
        for function, request_id in sorted(held.requests)
    ]
