"""The report of a training in its answer, and the metadata in the header of the adapter's file."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from functions.train.plan import TrainingPlan
from functions.train.request import TrainRequest
from functions.train.selection import CheckpointSelection, ChosenCheckpoint
from functions.train.stopping import EarlyStop
from functions.train.training_inputs import TRIGGER, build_prompt
from shared.contract.users import ReferenceRecord
from shared.errors import TrainingDiverged
from shared.faces import FaceEngine
from shared.models.base_model import DiffusionModel
from shared.models.model_name import EMBEDDED

PACKAGES = ("torch", "diffusers", "peft", "transformers")


def lora_metadata(model: DiffusionModel, plan: TrainingPlan, request: TrainRequest, step: int) -> dict[str, Any]:
    """Return the metadata for the adapter file's header; it does not name the person's photos."""
    return {
        "base_model": model.name,
        "architecture": model.architecture,
        "prompt": build_prompt(model),
        "trigger": TRIGGER,
        "sex": request.configure.sex,
        "size": model.working.size,
        "framing": model.working.framing,
        "step": step,
        "steps": request.configure.max_train_steps,
        "plan": plan.model_dump(mode="json"),
        "versions": {name: version(name) for name in PACKAGES},
    }


def training_scores(
    selection: CheckpointSelection, chosen: ChosenCheckpoint, pictures: Mapping[int, str]
) -> dict[str, Any]:
    """Return the chosen checkpoint's step and the scores of every checkpoint; step 0 is the base model.

    Args:
        pictures: keys of the validation pictures by step.
    """
    return {
        "best_step": chosen.trial.step,
        "similarity": _round(chosen.trial.similarity),
        "similarity_before": _round(selection.trials[0].similarity),
        "checkpoints": [
            {
                "step": trial.step,
                "similarity": _round(trial.similarity),
                "faces": trial.faces,
                "copying": _round(trial.copying),
                "diversity": _round(trial.diversity),
                "held_out_loss": _round(trial.held_out_loss),
                "score": _round(selection.score(trial)),
                "pictures": pictures[trial.step],
            }
            for trial in selection.trials
        ],
    }


def early_stop(stop: EarlyStop | None) -> dict[str, Any] | None:
    """Return `stopped` of the answer: step, reason and message, and for a divergence its error; None if not stopped."""
    if stop is None:
        return None
    told: dict[str, Any] = {"step": stop.step, "reason": stop.reason, "message": stop.message}
    if stop.reason == "diverged":
        told["error"] = TrainingDiverged(stop.message).as_dict()
    return told


def divergence(stop: EarlyStop | None, best_step: int) -> list[str]:
    """Return the warning of a training that diverged; empty for any other."""
    if stop is None or stop.reason != "diverged":
        return []
    return [
        f"the training diverged at step {stop.step}: {stop.message}; step {best_step} was kept. A lower "
        "PHOTOG_TRAIN__LEARNING_RATE on the worker prevents it"
    ]


def base_model_warnings(model: DiffusionModel) -> list[str]:
    """Return the warning that a training on the embedded base model is not worth its time; empty on any other."""
    if model.name != EMBEDDED:
        return []
    return [
        f"a LoRA of {EMBEDDED} adds less likeness to portraits than another seed changes it (docs/portraits.md): their "
        "likeness comes from the photos. Train on a Stable Diffusion base model"
    ]


def user_record(
    request: TrainRequest, model: DiffusionModel, engine: FaceEngine, references: Sequence[ReferenceRecord]
) -> dict[str, Any]:
    """Return what generate needs to know about the user besides the adapter's key."""
    return {
        "user_id": request.configure.user_id,
        "request_id": request.request_id,
        "base_model": model.name,
        "face_engine": engine.name,
        "trigger": TRIGGER,
        "references": [reference.model_dump(mode="json") for reference in references],
    }


def _round(score: float | None) -> float | None:
    return None if score is None else round(score, 4)
