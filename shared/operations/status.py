"""Status of the requests in a bucket: waiting, running, failing, answered."""

import hashlib

from shared.buckets.base import Bucket, BucketError, ObjectInfo
from shared.contract import keys
from shared.contract.function import NAMES
from shared.contract.manifests import Json, decode, invalid_id, parse
from shared.errors import RequestError
from shared.lifecycle import unread
from shared.lifecycle.answers import leave_out_measurements
from shared.lifecycle.claims import Claims
from shared.lifecycle.manifest_reader import require_key
from shared.settings import Lease, Limits

LARGEST = 256 * 1024 * 1024  # limit in bytes of the objects that are read


def overview(bucket: Bucket, limits: Limits) -> Json:
    """Return, per function, the ids of requests that wait, run, or are answered with OK or error, and the failing keys.

    If there are strays (`unread.py`), each is listed under every function that it may be meant for.
    """
    return {function: _function(bucket, function, limits) for function in NAMES}


def history(bucket: Bucket, request_id: str, limits: Limits) -> Json:
    """Return what the bucket has about one request: claims, progress, answer and conflicts, per function.

    What was measured in faces is left out of the answer.

    A request that still waits has none of these; it is found by its manifest. Empty if there is no such request.
    """
    found: Json = {}
    for function in NAMES:
        claims = [one.model_dump() for one in Claims(bucket, function, Lease(), "status").all(request_id)]
        folder = keys.result_folder(function, request_id)
        conflicts = [info.key for info in bucket.list(folder + "conflict-")]
        progress, answer = _read(bucket, keys.progress(function, request_id)), _read(bucket, folder + "result.json")
        if answer is not None:
            answer = leave_out_measurements(answer)
        if claims or answer or conflicts:
            found[function] = {"claims": claims, "progress": progress, "answer": answer, "conflicts": conflicts}
    if found:
        return found
    nothing_yet: Json = {"claims": [], "progress": None, "answer": None, "conflicts": []}
    return {function: nothing_yet for function in NAMES if find_manifest(bucket, function, request_id, limits)}


def describe_state(bucket: Bucket, function: str, request_id: str) -> str:
    """Return `ok` or `error` of an answered request, `running` or `waiting` of another.

    A request that its worker has handed back waits, as one that no worker has begun.
    """
    answer = _read(bucket, keys.result(function, request_id))
    if answer is not None:
        return "ok" if answer.get("code") == "OK" else "error"
    attempts = Claims(bucket, function, Lease(), "status").all(request_id)
    return "running" if attempts and not attempts[-1].closed else "waiting"


def find_manifest(bucket: Bucket, function: str, request_id: str, limits: Limits) -> str | None:
    """Return the key of a manifest with this id, or None.

    Most senders name it like the request, so that one is looked at first, and the others are listed only if it is none.
    """
    usual = bucket.head(keys.request(function, request_id))
    if usual is not None and _has_id(bucket, usual, request_id, limits):
        return usual.key
    manifests = (one for one in _list_objects(bucket, function, []) if keys.is_request(one.key, function))
    return next((one.key for one in manifests if _has_id(bucket, one, request_id, limits)), None)


def _has_id(bucket: Bucket, info: ObjectInfo, request_id: str, limits: Limits) -> bool:
    """Return whether a manifest has this id; one that cannot be read has none: the overview lists it as failing."""
    try:
        return _request_id(bucket, info, limits) == request_id
    except (BucketError, OSError):
        return False


def _function(bucket: Bucket, function: str, limits: Limits) -> Json:
    states: Json = {"waiting": [], "running": [], "ok": [], "error": [], "failing": _failing(bucket, function)}
    ids = set()
    listed = _list_objects(bucket, function, states["failing"])
    if unread := _unread(bucket, function, listed, states["failing"]):
        states["unread"] = unread
    for info in listed:
        if not keys.is_request(info.key, function):
            continue
        try:
            request_id = _request_id(bucket, info, limits)
        except (BucketError, OSError) as error:
            _add_failing(states["failing"], info.key, error)
            continue
        if request_id is not None:
            ids.add(request_id)
    for request_id in sorted(ids):
        states[describe_state(bucket, function, request_id)].append(request_id)
    return states


def _list_objects(bucket: Bucket, function: str, failing: list[Json]) -> list[ObjectInfo]:
    """Return what can be listed in the function's folder; folders that cannot be are added to the failing keys."""
    found: list[ObjectInfo] = []
    try:
        for info in bucket.list(keys.requests(function)):
            found.append(info)
    except (BucketError, OSError) as error:
        _add_failing(failing, keys.requests(function), error)
    return found


def _unread(bucket: Bucket, function: str, listed: list[ObjectInfo], failing: list[Json]) -> list[Json]:
    """Return the strays, with the reasons."""
    try:
        found = [*unread.find_strays(listed), *unread.find_unlisted(bucket, function)]
    except (BucketError, OSError) as error:
        _add_failing(failing, keys.REQUESTS, error)
        return []
    return [{"key": one.key, "why": one.why} for one in found]


def _failing(bucket: Bucket, function: str) -> list[Json]:
    """Return the workers' records of keys that they cannot serve."""
    told = [_read(bucket, info.key) for info in bucket.list(keys.failing(function))]
    return [one for one in told if one is not None]


def _add_failing(failing: list[Json], key: str, error: Exception) -> None:
    """Add a key that fails for us, unless a worker has recorded it."""
    if not any(one.get("key") == key for one in failing):
        failing.append({"key": key, "error": f"{type(error).__name__}: {error}"})


def _request_id(bucket: Bucket, info: ObjectInfo, limits: Limits) -> str | None:
    """Return a manifest's request_id; None if it is gone."""
    if info.size > limits.manifest_bytes:
        return f"{info.key} (too large)"
    text = bucket.find(info.key)
    if text is None:
        return None
    try:
        require_key(info.key)
        return parse(text).request_id
    except RequestError:
        return invalid_id(hashlib.sha256(text).hexdigest())


def _read(bucket: Bucket, key: str) -> Json | None:
    """Return an object that photog wrote; if something else is in its place, say so."""
    try:
        text = bucket.find(key, LARGEST)
        return None if text is None else decode(text)
    except (BucketError, OSError, ValueError) as error:
        return {"unreadable": f"{key}: {error}"}
