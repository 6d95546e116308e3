"""People who are kept without a training: their photos are judged and kept, and no LoRA is made.

generate takes such a user's face from the photos alone, as it does for `references` in its own requests.
"""

from functools import partial

from functions.train.request import TrainRequest
from functions.train.stopwatch import Stopwatch
from functions.train.training import Trainer
from shared.contract.function import Answer
from shared.contract.workspace import Workspace
from shared.errors import TooFewPhotos
from shared.photos.known_person import compare_with_known, judge_replacement
from shared.photos.person_photos import describe_rejected, gather_person_photos, judge_reference, save_close_up


def keep_person(request: TrainRequest, workspace: Workspace, trainer: Trainer) -> Answer:
    """Judge the photos of a request with `max_train_steps` 0, and keep the best ones for face fusion.

    The answer has the members of a training's, those that only a training has as null or empty.

    Raises:
        TooFewPhotos: no photo is usable; the message says why each was rejected.
        AnotherPerson: the photos show somebody else than the person who is known, and the request refuses that.
    """
    watch, engine = Stopwatch(), trainer.engine
    judge = partial(judge_reference, engine=engine, limits=trainer.limits, ignored_face=trainer.ignored_face)
    with watch("photos"):
        found = gather_person_photos(request.images, workspace, engine, judge)
    if not found.photos:
        error = TooFewPhotos(f"no photo can be used. {describe_rejected(found.rejected)}", "images")
        raise error.retry_in(found.retry_after)
    with watch("photos"):
        vectors = [photo.embedding for photo in found.photos]
        known = compare_with_known(request.configure.user_id, vectors, workspace, engine, trainer.limits)
        doubts = judge_replacement(known, request.configure.another_person, "images")
    workspace.progress("saving", 0, 1)
    with watch("saving"):
        references = [
            save_close_up(f"references/{index}.png", photo.close_up, photo.embedding, workspace)
            for index, photo in enumerate(found.photos)
        ]
    return Answer(
        {
            "user_id": request.configure.user_id,
            "request_id": request.request_id,
            "trained": False,
            "base_model": trainer.model.name,
            "face_engine": engine.name,
            "trigger": "",
            "references": [reference.model_dump(mode="json") for reference in references],
            **dict.fromkeys(("lora", "lora_kohya", "validation", "report", "best_step", "similarity", "stopped")),
            "checkpoints": [],
            "steps": 0,
            "resumed_at": 0,
            "images_used": len(found.photos),
            "images_held_out": 0,
            "images_rejected": found.rejected,
            "similarity_to_known": known.likeness,
            "warnings": doubts,
            "seconds": {stage: round(spent, 3) for stage, spent in watch.seconds.items()},
            "cost_time": round(watch.total(), 3),
        }
    )
