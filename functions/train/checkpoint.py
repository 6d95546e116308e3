"""The state of an unfinished training as a file.

The next attempt resumes from it and ends with the same result as an attempt that was never interrupted.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from functions.train.dataset import Photo
from functions.train.lora import Weights
from functions.train.loss_history import Curve
from functions.train.optimizer_steps import Tensors
from functions.train.plan import TrainingPlan
from functions.train.selection import CheckpointSelection, ChosenCheckpoint
from functions.train.validation import Evaluation
from shared.contract.keys import SCRATCH
from shared.models.base_model import DiffusionModel

NAME = SCRATCH + "checkpoint.safetensors"
HEADER = "photog-checkpoint"
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, RecursionError, StopIteration, SafetensorError)

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TrainingCheckpoint:
    """The state of a training after some of its updates.

    Attributes:
        step: number of updates made.
        state: everything that the next update depends on, see `OptimizerSteps.state`.
        selection: the evaluations so far, and the weights that may still be chosen.
        curve: the losses so far.
    """

    step: int
    state: Tensors
    selection: CheckpointSelection
    curve: Curve


def fingerprint(
    photos: Sequence[Photo], aside: Sequence[int], model: DiffusionModel, plan: TrainingPlan, steps: int, spacing: int
) -> str:
    """Return a digest that is the same for two attempts that make the same updates and validations, and differs else.

    It covers the photos, the settings, the base model, its precision, the library versions and the kind of GPU.
    """
    digest = hashlib.sha256()
    for photo in photos:
        digest.update(photo.material[0].tobytes())
    facts = {
        "aside": list(aside),
        "model": [model.name, model.working.model_dump(mode="json")],
        "computed": [str(model.dtype), *([model.quantization] if model.quantization else []), *computer(model.device)],
        "plan": plan.model_dump(mode="json"),
        "steps": [steps, spacing],
        "versions": {name: version(name) for name in ("torch", "diffusers", "peft")},
    }
    digest.update(json.dumps(facts, sort_keys=True).encode())
    return digest.hexdigest()


def computer(device: torch.device) -> list[str]:
    """Return what identifies a device's arithmetic: other kinds of GPUs choose kernels that round differently."""
    if device.type != "cuda":
        return [device.type]
    major, minor = torch.cuda.get_device_capability(device)
    return [device.type, torch.cuda.get_device_name(device), f"{major}.{minor}"]


def write_checkpoint(checkpoint: TrainingCheckpoint, mark: str) -> bytes:
    """Serialize a checkpoint, with the fingerprint `mark` that a training must have to resume from it."""
    selection = checkpoint.selection
    tensors = {f"state.{name}": tensor for name, tensor in checkpoint.state.items()}
    for index, trial in enumerate(selection.trials):
        for row, picture in enumerate(trial.pictures):
            tensors[f"trials.{index}.{row}"] = torch.from_numpy(picture)
    kept = {"best": selection.best, "last": None if selection.last is selection.best else selection.last}
    for name, chosen in kept.items():
        tensors |= _add_prefix(f"{name}.", chosen.weights if chosen else {})
    trials = [asdict(replace(trial, pictures=[])) | {"count": len(trial.pictures)} for trial in selection.trials]
    header = {"mark": mark, "step": checkpoint.step, "curve": checkpoint.curve, "trials": trials}
    header |= {name: chosen.trial.step if chosen else None for name, chosen in kept.items()}
    return safetensors.torch.save(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, {HEADER: json.dumps(header)}
    )


def read_checkpoint(data: bytes, mark: str) -> TrainingCheckpoint | None:
    """Parse a checkpoint; return None if its fingerprint is not `mark`, or if it cannot be read."""
    try:
        return _read(data, mark)
    except UNREADABLE as error:
        log.warning("cannot read the checkpoint of an earlier attempt, so the training starts over: %r", error)
        return None


def _read(data: bytes, mark: str) -> TrainingCheckpoint | None:
    size = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][HEADER])
    if header["mark"] != mark:
        return None
    tensors = safetensors.torch.load(data)
    trials = [_trial(index, fields, tensors) for index, fields in enumerate(header["trials"])]
    selection = CheckpointSelection(trials[0])
    selection.trials = trials
    selection.best = _read_choice("best", header, trials, tensors)
    selection.last = _read_choice("last", header, trials, tensors) or selection.best
    curve = [(int(step), float(loss)) for step, loss in header["curve"]]
    return TrainingCheckpoint(header["step"], _take_prefix("state.", tensors), selection, curve)


def _trial(index: int, fields: dict[str, Any], tensors: Tensors) -> Evaluation:
    pictures = [tensors[f"trials.{index}.{row}"].numpy() for row in range(fields.pop("count"))]
    return Evaluation(**fields | {"pictures": pictures})


def _read_choice(
    name: str, header: dict[str, Any], trials: list[Evaluation], tensors: Tensors
) -> ChosenCheckpoint | None:
    if header[name] is None:
        return None
    return ChosenCheckpoint(
        next(trial for trial in trials if trial.step == header[name]), _take_prefix(f"{name}.", tensors)
    )


def _add_prefix(prefix: str, weights: Weights) -> Tensors:
    return {prefix + name: tensor for name, tensor in weights.items()}


def _take_prefix(prefix: str, tensors: Tensors) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
