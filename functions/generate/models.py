"""What a process needs to make portraits, loaded once: face engine, base model, its adapters and words."""

import copy
from collections.abc import Callable, Sequence

from functions.generate.diffusion.img2img import Diffuser
from functions.generate.diffusion.lora_cache import LoraCache
from functions.generate.diffusion.prompt import PromptCache
from functions.generate.face_cache import CachedFaceEngine
from functions.generate.fusion import fuser
from functions.generate.networks.enhancers import Enhancers
from shared.faces import FaceEngine
from shared.models.controls import Control
from shared.models.diffusion import DiffusionModel
from shared.settings import Settings


class GenerateModels:
    """The resident models.

    Attributes:
        settings: of the process.
        engine: finds and compares faces.
        cached_engine: the same for templates, which it knows again.
        base_model: name of the base model.
        framing: side of the square that it wants to see over the longer side of a face's box.
        most_steps: of its schedule, if it is one of few steps.
        lora_cache, prompt_cache, diffuser: around the one base model.
        fuser: what fuses faces.
        enhancers: networks of photo_fix, super_resolution and background_restore, where any are configured.
    """

    def __init__(
        self, settings: Settings, engine: FaceEngine, model: DiffusionModel, controls: Sequence[Control] = ()
    ) -> None:
        self.settings, self.engine = settings, engine
        self.cached_engine = CachedFaceEngine(engine)
        self.base_model, self.framing = model.name, model.working.framing
        self.most_steps = model.working.most_steps
        self.lora_cache = LoraCache(model.unet)
        self.prompt_cache = PromptCache(model)
        self.diffuser = Diffuser(model, controls)
        self.fuser = fuser.load_fuser(settings)
        self.enhancers = Enhancers.load(settings.enhance, model.device, settings.faces)

    def sparing(self) -> "GenerateModels":
        """The same models, with one face in a batch: for what ran out of memory with more."""
        alone = copy.copy(self)
        one = self.settings.generate.model_copy(update={"faces_at_once": 1})
        alone.settings = self.settings.model_copy(update={"generate": one})
        return alone

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Drop the LoRAs whose objects are gone, and all that was not used for a while: LoRAs, faces, words."""
        self.cached_engine.expire()
        self.prompt_cache.expire()
        self.lora_cache.evict(exists)
