"""The whole training as one call: photos in; an adapter, reference photos and a report out.

photos -> verdicts -> crops -> latents ----+
                                           +-> updates -> every n steps: validation -> selection -> lora.safetensors
prompt -> text states ---------------------+
"""

from dataclasses import dataclass, replace
from typing import Any

from functions.train import dataset, kohya, references, report
from functions.train.chart import draw_report
from functions.train.checkpoint import fingerprint
from functions.train.image_grid import draw_grid
from functions.train.lora import add_adapter
from functions.train.plan import TrainingPlan
from functions.train.recomputing import recomputing
from functions.train.request import TrainConfigure, TrainRequest
from functions.train.selection import ChosenCheckpoint
from functions.train.stopwatch import Stopwatch
from functions.train.training_inputs import embed_prompts, prepare_held_out_loss, prepare_inputs, prepare_validator
from functions.train.training_loop import TrainingLoop, TrainingRun
from shared.contract.function import Answer
from shared.contract.workspace import Workspace
from shared.errors import InternalError
from shared.faces import FaceEngine
from shared.models.base_model import DiffusionModel
from shared.models.determinism import deterministic
from shared.models.licenses import warn_of_license
from shared.models.residency import present
from shared.photos.known_person import compare_again, compare_with_known, judge_replacement
from shared.settings import Limits, TrainSettings

MOST_CHECKPOINTS = 50  # in one training; the validation of each costs as much as several updates


@dataclass(frozen=True, eq=False)
class Trainer:
    """The models and settings that all trainings of a process share.

    Attributes:
        model: the base model.
        engine: finds and compares faces.
        limits: limits for each photo.
        plan: None for the plan that suits the base model, with the overrides in `wanted`.
        wanted: the operator's settings, which override the plan's defaults.
        ignored_face: the setting of that name; check has the same, so that both accept the same photos.
    """

    model: DiffusionModel
    engine: FaceEngine
    limits: Limits
    plan: TrainingPlan | None = None
    wanted: TrainSettings | None = None
    ignored_face: float = 0.0

    def choose_plan(self) -> TrainingPlan:
        """Return the plan to train by."""
        return self.plan or TrainingPlan.for_model(self.model.working, self.model.architecture, self.wanted)

    def sparing(self) -> "Trainer":
        """Return a trainer with one picture per pass and equally large updates, for use after running out of memory."""
        plan = self.choose_plan()
        one = plan.model_copy(update={"batch": 1, "accumulation": plan.pictures})
        return replace(self, plan=one)


@dataclass(frozen=True, eq=False)
class _Outcome:
    ran: TrainingRun
    chosen: ChosenCheckpoint
    lora: bytes
    kohya: bytes


def train_person(request: TrainRequest, workspace: Workspace, trainer: Trainer) -> Answer:
    """Train the adapter of one person, and save it with the reference photos and the report.

    Whether it succeeds or fails, the base model is left as it was.

    Raises:
        TooFewPhotos: fewer than five photos are usable.
        AnotherPerson: they show somebody else than the person who is known, and the request refuses that.
        TrainingDiverged: the training diverged before its first checkpoint.

    Whatever `workspace.progress` raises passes through and ends the training.
    """
    watch = Stopwatch()
    with watch("photos"):
        data = dataset.prepare_dataset(
            request.images, workspace, trainer.engine, trainer.model.working, trainer.limits, trainer.ignored_face
        )
        vectors = [one.embedding for one in data.photos]
        known = compare_with_known(request.configure.user_id, vectors, workspace, trainer.engine, trainer.limits)
        judge_replacement(known, request.configure.another_person, "images")
    aside = dataset.hold_out(data.photos)
    outcome = _train_adapter(request, workspace, trainer, data.photos, aside, watch)
    selection, best = outcome.ran.selection, outcome.chosen.trial.step
    known = compare_again(known, vectors, workspace, trainer.engine, trainer.limits)
    doubts = judge_replacement(known, request.configure.another_person, "images")
    workspace.progress("saving", 0, 1)
    with watch("saving"):
        bundle = report.user_record(
            request, trainer.model, trainer.engine, references.save_references(data.photos, workspace)
        )
        keys = {
            "lora": workspace.save("lora.safetensors", outcome.lora),
            "lora_kohya": workspace.save("lora-kohya.safetensors", outcome.kohya),
            "validation": workspace.save("validation.png", draw_grid(selection.trials, best)),
            "report": workspace.save("report.png", draw_report(selection, outcome.ran.curve, best)),
        }
    rest: dict[str, Any] = {
        "trained": True,
        "steps": request.configure.max_train_steps,
        "resumed_at": outcome.ran.resumed,
        "stopped": report.early_stop(outcome.ran.stop),
        "images_used": len(data.photos),
        "images_held_out": len(aside),
        "images_rejected": data.rejected,
        "similarity_to_known": known.likeness,
        "warnings": [
            *doubts,
            *_warn_of_license(trainer.model),
            *_warn_of_spacing(request.configure),
            *report.divergence(outcome.ran.stop, best),
            *selection.warnings(),
            *report.base_model_warnings(trainer.model),
        ],
        "seconds": _round_seconds(watch.seconds),
        "seconds_to_first_step": _round_seconds(outcome.ran.first),
        "cost_time": watch.total(),
    }
    return Answer(bundle | keys | report.training_scores(selection, outcome.chosen, outcome.ran.pictures) | rest)


def _train_adapter(
    request: TrainRequest,
    workspace: Workspace,
    trainer: Trainer,
    photos: list[dataset.Photo],
    aside: list[int],
    watch: Stopwatch,
) -> _Outcome:
    model, steps = trainer.model, request.configure.max_train_steps
    spacing = _spacing(request.configure)
    plan = trainer.choose_plan()
    workspace.progress("latents", 0, 1)
    with watch("latents"):
        prompts = embed_prompts(model)
    with watch("latents"), deterministic(model.device), present(model.device, model.autoencoder):
        trained = {index: photo for index, photo in enumerate(photos) if index not in aside}
        inputs = prepare_inputs(model, trained, prompts.prompt, plan, steps)
        validator = prepare_validator(
            model, trainer.engine, photos, aside, prompts, prepare_held_out_loss(model, photos, aside, inputs, plan)
        )
        mark = fingerprint(photos, aside, model, plan, steps, spacing)
    with (
        watch("training"),
        deterministic(model.device),
        recomputing(model, plan),
        add_adapter(model, plan) as adapter,
    ):
        ran = TrainingLoop(model, adapter, inputs, plan, validator, workspace, watch, mark).run(steps, spacing)
        chosen = ran.selection.chosen
        if chosen is None:
            raise InternalError("the training ended without a checkpoint")
        facts = report.lora_metadata(model, plan, request, chosen.trial.step)
        lora = adapter.serialize(chosen.weights, facts)
        return _Outcome(ran, chosen, lora, kohya.serialize_kohya(model, chosen.weights, plan, facts))


def _round_seconds(seconds: dict[str, float]) -> dict[str, float]:
    return {stage: round(spent, 3) for stage, spent in seconds.items()}


def _spacing(configure: TrainConfigure) -> int:
    return max(configure.val_save_checkpointing_steps, -(-configure.max_train_steps // MOST_CHECKPOINTS))


def _warn_of_license(model: DiffusionModel) -> list[str]:
    return warn_of_license(model.name, model.working.license)


def _warn_of_spacing(configure: TrainConfigure) -> list[str]:
    spacing, wanted = _spacing(configure), configure.val_save_checkpointing_steps
    if spacing == wanted:
        return []
    return [f"checkpoints every {spacing} steps instead of {wanted}: a training makes at most {MOST_CHECKPOINTS}"]
