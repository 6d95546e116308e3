"""generate as a function: models loaded once, requests answered."""

from collections.abc import Callable

from functions.generate.models import GenerateModels
from functions.generate.portrait import make_portrait
from shared.contract.function import Answer, Function
from shared.contract.manifests import Json
from shared.contract.workspace import Workspace
from shared.devices import once_more_with_less
from shared.faces.loading import load_engine
from shared.models import controls, diffusion, distillation_lora
from shared.models.planned_peak import portraits
from shared.models.shapes import configured
from shared.settings import Settings

LORA_RANK, LORA_TARGETS = 16, ("to_q", "to_k", "to_v", "to_out.0")  # of the users' LoRAs, as train makes them


class GenerateFunction:
    """Implements `shared.contract.function.Function`."""

    name = "generate"

    def __init__(self, models: GenerateModels) -> None:
        self._models = models

    def answer(self, body: Json, workspace: Workspace) -> Answer:
        """Make one portrait."""
        return once_more_with_less(
            lambda: make_portrait(body, workspace, self._models),
            lambda: make_portrait(body, workspace, self._models.sparing()),
        )

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Drop the LoRAs whose objects are gone, and all that was not used for a while: LoRAs, faces, words."""
        self._models.evict(exists)

    def pointers(self, data: Json) -> dict[str, Json]:
        """A portrait leaves nothing behind that later requests look up."""
        return {}


def planned_peak(settings: Settings) -> Json:
    """Bytes of memory that a portrait of as many faces as go at once takes at most; ControlNets are taken to be large.

    Each is counted as the way down of the base's UNet, which it is a copy of.
    """
    _, working, shape = configured(settings.model)
    guided = working.guidance > 1 and settings.model.few_step is None
    nets = [shape.unet.down_blocks, shape.unet.mid_block] * len(settings.model.controls)
    planned = portraits(shape, settings.generate.faces_at_once, guided, LORA_RANK, LORA_TARGETS, nets)
    return {"generate": planned.total}


def load(settings: Settings) -> Function:
    """The function with face engine and base model loaded."""
    model = distillation_lora.fuse_distillation_lora(diffusion.load_model(settings.model), settings.model.few_step)
    return GenerateFunction(
        GenerateModels(
            settings, load_engine(settings.faces), model, controls.load_controls(settings.model.controls, model)
        )
    )
