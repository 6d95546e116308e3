"""The generate function: loads its models once, then answers requests."""

from collections.abc import Callable

from functions.generate.kept_people import REPLACES
from functions.generate.models import GenerateModels
from functions.generate.portrait import make_portrait
from functions.generate.preparation import prepare_portrait
from shared.contract import keys
from shared.contract.function import Answer, Function
from shared.contract.manifests import Json
from shared.contract.users import UserModel
from shared.contract.workspace import Workspace
from shared.devices import once_more_with_less
from shared.faces.loading import load_engine
from shared.models import controls, diffusion, distillation_lora
from shared.models.architectures import ARCHITECTURES, ATTENTION
from shared.models.shapes import read_configured
from shared.settings import Settings

LORA_RANK = 16  # of the LoRAs that train makes, at most


class GenerateFunction:
    """The generate function; implements `shared.contract.function.Function`."""

    name = "generate"

    def __init__(self, models: GenerateModels) -> None:
        self._models = models

    def answer(self, body: Json, workspace: Workspace) -> Answer:
        """Make one portrait; if memory runs out, try once more with one face per batch."""
        return once_more_with_less(
            lambda: make_portrait(body, workspace, self._models),
            lambda: make_portrait(body, workspace, self._models.sparing()),
        )

    def prepare(self, body: Json, workspace: Workspace) -> None:
        """Make a request ready while another portrait is made; see `shared/lifecycle/ready_request.py`."""
        prepare_portrait(body, workspace, self._models)

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Drop what was cached of people whose objects are gone, and what has not been used for a while.

        Args:
            exists: whether the bucket has an object with this key.
        """
        self._models.evict(exists)

    def pointers(self, data: Json) -> dict[str, Json]:
        """Return the model records of the people whose references this portrait keeps, if any."""
        users = [(UserModel.model_validate(kept), kept.get(REPLACES)) for kept in data.get("kept", [])]
        return {
            keys.model(user.user_id): user.model_dump(mode="json") | {REPLACES: replaces} for user, replaces in users
        }


def planned_peak(settings: Settings) -> Json:
    """Return the peak memory of a portrait of `generate.faces_at_once` faces, in bytes, under the key "generate"."""
    kind, working, footprint = read_configured(settings.model)
    guided = working.guidance > 1 and settings.model.few_step is None
    faces, controls = settings.generate.faces_at_once, len(settings.model.controls)
    targets = ARCHITECTURES[kind].training.get("targets", ATTENTION)
    return {"generate": footprint.portraits(faces, guided, LORA_RANK, targets, controls).total}


def load(settings: Settings) -> Function:
    """Load the face engine and the base model, warm them up, and return the function."""
    model = distillation_lora.fuse_distillation_lora(diffusion.load_model(settings.model), settings.model.few_step)
    models = GenerateModels(
        settings, load_engine(settings.faces), model, controls.load_controls(settings.model.controls, model)
    )
    models.diffuser.warm_up(models.prompt_cache.of(trigger="")[0])
    return GenerateFunction(models)
