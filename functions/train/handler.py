"""The `train` function: request body in, answer out."""

from collections.abc import Callable

from functions.train.people import keep_person
from functions.train.plan import TrainingPlan
from functions.train.request import TrainRequest
from functions.train.training import Trainer, train_person
from shared.contract import keys
from shared.contract.function import Answer, Function
from shared.contract.manifests import Json
from shared.contract.users import model_of
from shared.contract.validation import validate
from shared.contract.workspace import Workspace
from shared.devices import once_more_with_less
from shared.faces.loading import load_engine
from shared.models import diffusion
from shared.models.shapes import read_configured
from shared.settings import Settings


class TrainFunction:
    """Implements `shared.contract.function.Function`."""

    name = "train"

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    def answer(self, body: Json, workspace: Workspace) -> Answer:
        """Train a LoRA of the person in the photos, or with 0 steps only keep the photos.

        A RequestError becomes the failed answer.
        """
        request, warnings = validate(TrainRequest, body)
        serve = train_person if request.configure.max_train_steps else keep_person
        answer = once_more_with_less(
            lambda: serve(request, workspace, self._trainer),
            lambda: serve(request, workspace, self._trainer.sparing()),
        )
        return Answer(answer.data | {"warnings": warnings + answer.data["warnings"]}, answer.message)

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Do nothing: a training leaves nothing in memory."""

    def pointers(self, data: Json) -> dict[str, Json]:
        """Return the user's model record, which now names this training, or the photos of a request with 0 steps."""
        user = model_of(data)
        return {keys.model(user.user_id): user.model_dump(mode="json")}


def planned_peak(settings: Settings) -> Json:
    """Return the peak memory in bytes of a training of the configured model, with and without recomputing."""
    kind, working, footprint = read_configured(settings.model)
    plan = TrainingPlan.for_model(working, kind, settings.train)
    start = footprint.encoding().total
    keeping, repeating = (
        max(start, footprint.training(plan.batch, plan.rank, plan.targets, recomputing).total)
        for recomputing in (False, True)
    )
    return {"train": keeping, "train_recomputing": repeating}


def load(settings: Settings) -> Function:
    """Load the face engine and the base model; called once per process."""
    return TrainFunction(
        Trainer(
            diffusion.load_model(settings.model),
            load_engine(settings.faces),
            settings.limits,
            wanted=settings.train,
            ignored_face=settings.faces.ignored_face,
        )
    )
