"""What waits, runs and is done in a bucket."""

import hashlib

from shared.attempt import progress_key
from shared.buckets.base import Bucket, MissingObject, ObjectInfo
from shared.errors import RequestError
from shared.function import NAMES
from shared.invocation import is_request
from shared.manifests import Json, decode, invalid_id, parse
from shared.settings import Limits


def overview(bucket: Bucket, limits: Limits) -> Json:
    """Per function the ids of the requests that wait, run, and are answered with OK or with error."""
    return {function: _function(bucket, function, limits) for function in NAMES}


def history(bucket: Bucket, request_id: str) -> Json:
    """All that the bucket knows of one request: its claims, progress, answer and conflicts, per function."""
    found: Json = {}
    for function in NAMES:
        claims = [decode(bucket.get(info.key)) for info in bucket.list(f"claims/{function}/{request_id}/")]
        folder = f"results/{function}/{request_id}/"
        conflicts = [info.key for info in bucket.list(folder + "conflict-")]
        progress, answer = _read(bucket, progress_key(function, request_id)), _read(bucket, folder + "result.json")
        if claims or answer or conflicts:
            found[function] = {"claims": claims, "progress": progress, "answer": answer, "conflicts": conflicts}
    return found


def _function(bucket: Bucket, function: str, limits: Limits) -> Json:
    manifests = [info for info in bucket.list(f"requests/{function}/") if is_request(info.key, function)]
    ids = {_request_id(bucket, info, limits) for info in manifests}
    states: Json = {"waiting": [], "running": [], "ok": [], "error": []}
    for request_id in sorted(ids):
        answer = _read(bucket, f"results/{function}/{request_id}/result.json")
        if answer is not None:
            states["ok" if answer["code"] == "OK" else "error"].append(request_id)
        elif any(True for _ in bucket.list(f"claims/{function}/{request_id}/")):
            states["running"].append(request_id)
        else:
            states["waiting"].append(request_id)
    return states


def _request_id(bucket: Bucket, info: ObjectInfo, limits: Limits) -> str:
    if info.size > limits.manifest_bytes:
        return f"{info.key} (too large)"
    text = bucket.get(info.key)
    try:
        return parse(text).request_id
    except RequestError:
        return invalid_id(hashlib.sha256(text).hexdigest())


def _read(bucket: Bucket, key: str) -> Json | None:
    try:
        return decode(bucket.get(key))
    except MissingObject:
        return None
