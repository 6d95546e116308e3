"""generate as a function: models loaded once, requests answered."""

from collections.abc import Callable

from functions.generate.models import Studio
from functions.generate.portrait import run
from shared.contract.function import Answer, Function
from shared.contract.manifests import Json
from shared.contract.workspace import Workspace
from shared.devices import once_more_with_less
from shared.faces.loading import load_engine
from shared.models import controls, diffusion, distillation_lora
from shared.settings import Settings


class GenerateFunction:
    """Implements `shared.contract.function.Function`."""

    name = "generate"

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def answer(self, body: Json, workspace: Workspace) -> Answer:
        """Make one portrait."""
        return once_more_with_less(
            lambda: run(body, workspace, self._studio), lambda: run(body, workspace, self._studio.sparing())
        )

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Drop the LoRAs whose objects are gone, and all that was not used for a while: LoRAs, faces, words."""
        self._studio.evict(exists)

    def pointers(self, data: Json) -> dict[str, Json]:
        """A portrait leaves nothing behind that later requests look up."""
        return {}


def load(settings: Settings) -> Function:
    """The function with face engine and base model loaded."""
    model = distillation_lora.fused(diffusion.load(settings.model), settings.model.few_step)
    return GenerateFunction(
        Studio(settings, load_engine(settings.faces), model, controls.load(settings.model.controls, model))
    )
