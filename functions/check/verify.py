"""The verification of a request's photos: photos in, a verdict on each out."""

import time
from collections import Counter

from functions.check.request import CheckRequest
from shared.contract.function import Answer
from shared.contract.manifests import Json
from shared.contract.validation import echo
from shared.contract.workspace import Workspace, fetch_in_turn
from shared.faces import FaceEngine
from shared.faces.base import BatchEngine
from shared.faces.batched_embedding import BatchedEmbedding
from shared.photos.assessment import PhotoAssessment, embed_later, inspect_photo, same_person
from shared.photos.references import shorten_reference, strip_secrets
from shared.settings import Limits


def verify_photos(
    request: CheckRequest,
    workspace: Workspace,
    engine: FaceEngine,
    limits: Limits,
    ignored_face: float = 0.0,
    one_by_one: bool = False,
) -> Answer:
    """Verify every photo of a request.

    Args:
        request: the validated request; says whether the photos are compared with each other.
        workspace: fetches the photos and receives the progress.
        engine: finds and compares faces.
        limits: limits for each photo.
        ignored_face: the setting of that name, see `shared.photos.assessment.count_usable`.
        one_by_one: embed one face at a time, because memory is short.

    Returns:
        The contract's `data`, with one check result per image in the order of the request. The message is `success` if
        every photo is usable, otherwise a sentence with the counts.
    """
    started = time.monotonic()
    if isinstance(engine, BatchEngine) and not one_by_one:
        later = BatchedEmbedding(engine)
        verdicts = embed_later(_inspect_all(request.images, workspace, later, limits, ignored_face), later)
    else:
        verdicts = _inspect_all(request.images, workspace, engine, limits, ignored_face)
    if request.configure.face_reconize:
        verdicts = same_person(verdicts, engine)
    results = [_result(url, verdict) for url, verdict in zip(request.images, verdicts, strict=True)]
    received = request.model_dump(mode="json", exclude_unset=True)
    images = [strip_secrets(reference) for reference in request.images]
    repeated, warnings = echo({"images": images, "configure": received.get("configure", {})})
    data = {
        "request_id": request.request_id,
        **({} if request.configure.user_id is None else {"user_id": request.configure.user_id}),
        **repeated,
        "cost_time": round(time.monotonic() - started, 3),
        "check_results": results,
        "warnings": warnings,
    }
    return Answer(data, _message(verdicts))


def _inspect_all(
    references: list[str], workspace: Workspace, engine: FaceEngine, limits: Limits, ignored_face: float
) -> list[PhotoAssessment]:
    verdicts: list[PhotoAssessment] = []
    for number, file in enumerate(fetch_in_turn(workspace, references)):
        workspace.progress("check", number, len(references))
        verdicts.append(inspect_photo(file, engine, limits, ignored_face))
    workspace.progress("check", len(references), len(references))
    return verdicts


def _result(url: str, verdict: PhotoAssessment) -> Json:
    return {
        "url": shorten_reference(url),
        "message": verdict.message,
        "code": verdict.code,
        "frontal": verdict.frontal,
        "face": list(verdict.face.box.rounded()) if verdict.face else None,
        "faces": [list(box.rounded()) for box in verdict.found],
        "width": verdict.width,
        "height": verdict.height,
        "sharpness": round(verdict.sharpness, 4),
        "brightness": round(verdict.brightness, 3),
        "yaw": round(verdict.yaw, 1),
        "pitch": round(verdict.pitch, 1),
        "roll": round(verdict.roll, 1),
        "quality": round(verdict.quality, 3),
        "similarity": None if verdict.similarity is None else round(verdict.similarity, 3),
        "warnings": verdict.warnings,
        "retryable": verdict.retry_after is not None,
        "retry_after": verdict.retry_after,
    }


def _message(verdicts: list[PhotoAssessment]) -> str:
    """Return `success`, or a sentence that says how many photos can be used and what is wrong with the others."""
    usable = sum(verdict.usable for verdict in verdicts)
    if usable == len(verdicts):
        return "success"
    reasons = Counter(verdict.message for verdict in verdicts if not verdict.usable)
    counts = ", ".join(f"{count} x {reason}" for reason, count in reasons.items())
    return f"{usable} of {len(verdicts)} photos can be used; {counts}"
