"""People who are not known yet, because the request that makes them known has no answer."""

from collections.abc import Iterator
from dataclasses import dataclass

from shared.buckets.base import Bucket, BucketError, StoreUnavailable
from shared.contract import keys
from shared.contract.manifests import NOBODY, Json, parse
from shared.errors import RequestError
from shared.operations.status import describe_state
from shared.settings import Limits

MOST_READ = 1000  # manifests of each function, the newest first; nobody has to wait for more
KEEPING = ("train", "generate")  # the functions whose answers make a person known


@dataclass(frozen=True)
class PendingPerson:
    """Somebody whose photos were sent in a request without an answer.

    Attributes:
        function: `train`, or `generate` for a portrait that keeps its references.
        state: `waiting` or `running`.
    """

    user_id: str
    function: str
    request_id: str
    state: str

    def explain(self) -> str:
        """Return a sentence part about the request, such as `the training r1 of them waits for a worker`."""
        what = "training" if self.function == "train" else "portrait"
        does = "waits for a worker" if self.state == "waiting" else "runs"
        return f"the {what} {self.request_id} of them {does}"


def list_pending(bucket: Bucket, limits: Limits) -> Iterator[PendingPerson]:
    """Yield whoever will be known once a request is answered, the newest requests of each function first.

    A manifest that cannot be read is nobody's. Raises StoreUnavailable.
    """
    for function in KEEPING:
        answered = set(bucket.folders(keys.results(function)))
        sent = [one for one in bucket.list(keys.requests(function)) if keys.is_request(one.key, function)]
        waiting = [one for one in sent if one.key.rpartition("/")[2].partition(".")[0] not in answered]
        for info in sorted(waiting, key=lambda one: -one.modified)[:MOST_READ]:
            if info.size > limits.manifest_bytes:
                continue
            try:
                manifest = parse(bucket.get(info.key))
                state = describe_state(bucket, function, manifest.request_id)
            except StoreUnavailable:
                raise
            except (BucketError, RequestError):
                continue
            if state in ("waiting", "running"):
                for user_id in _name_people(function, manifest.body):
                    yield PendingPerson(user_id, function, manifest.request_id, state)


def _name_people(function: str, body: Json) -> list[str]:
    """Return the ids under which a request would make people known."""
    configure = body.get("configure")
    if not isinstance(configure, dict):
        return []
    named = configure.get("user_id") or configure.get("model_id")
    ids = named if isinstance(named, list) else [named]
    if function == "generate":
        lists = configure.get("references")
        if not lists:
            return []
        if isinstance(lists, list) and len(lists) == len(ids) > 1:
            ids = [one for one, given in zip(ids, lists, strict=True) if given]
    return [one for one in ids if isinstance(one, str) and one != NOBODY]
