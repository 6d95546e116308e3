"""The models that a process loads once to make portraits: the face engine, the base model, LoRAs and networks."""

import copy
from collections.abc import Callable, Sequence

from functions.generate.decoded_ahead import DecodedAhead
from functions.generate.diffusion.img2img import Diffuser
from functions.generate.diffusion.lora_cache import LoraCache
from functions.generate.diffusion.prompt import PromptCache
from functions.generate.face_cache import CachedFaceEngine
from functions.generate.fusion import fuser
from functions.generate.glasses.network import load_network
from functions.generate.networks.enhancers import Enhancers
from functions.generate.occlusion.network import OccluderNetwork
from functions.generate.portrayal_cache import PortrayalCache
from functions.generate.reference_cache import ReferenceCache
from shared.faces import FaceEngine
from shared.models.base_model import DiffusionModel
from shared.models.controls import Control
from shared.models.licenses import warn_of_license
from shared.settings import Settings


class GenerateModels:
    """The resident models.

    Attributes:
        settings: the settings of the process.
        engine: detects and compares faces.
        cached_engine: the same engine with a cache, for templates, which are often used again.
        reference_cache: references of requests that were judged before.
        portrayal_cache: photos of users who had a portrait before.
        decoded_ahead: the template of the next request, if it was made ready.
        base_model: name of the base model.
        framing: side of the square that the base model works on, in longer sides of the face's box.
        step_count: the rule by which the base model counts the steps of a diffusion.
        refers_to_person: whether the base model looks at the person's photo.
        license_warnings: what an answer says of a base model whose license forbids commercial use.
        lora_cache, prompt_cache, diffuser: all three work on the one base model.
        fuser: fuses faces.
        occluders: finds what lies before a face.
        enhancers: the networks of photo_fix, super_resolution and background_restore, as far as they are configured.
    """

    def __init__(
        self, settings: Settings, engine: FaceEngine, model: DiffusionModel, controls: Sequence[Control] = ()
    ) -> None:
        self.settings, self.engine = settings, engine
        self.cached_engine = CachedFaceEngine(engine)
        self.reference_cache = ReferenceCache()
        self.portrayal_cache = PortrayalCache()
        self.decoded_ahead = DecodedAhead()
        self.base_model, self.framing = model.name, model.working.framing
        self.step_count, self.refers_to_person = model.step_count, model.refers_to_person
        self.license_warnings = warn_of_license(model.name, model.working.license)
        self.lora_cache = LoraCache(model.denoiser, prefix=model.lora_prefix, unadaptable=model.unadaptable)
        self.prompt_cache = PromptCache(model)
        self.diffuser = Diffuser(model, controls)
        self.fuser = fuser.load_fuser(settings)
        load_network()  # of glasses: now, because a worker that cannot load it must not start
        self.occluders = OccluderNetwork(settings.faces)
        self.enhancers = Enhancers.load(settings.enhance, model.device, settings.faces)

    def sparing(self) -> "GenerateModels":
        """Return the same models with one face per batch, for a request that ran out of memory with more."""
        alone = copy.copy(self)
        one = self.settings.generate.model_copy(update={"faces_at_once": 1})
        alone.settings = self.settings.model_copy(update={"generate": one})
        return alone

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Drop what belongs to objects that are gone, and what has not been used for a while.

        That is LoRAs by their objects, references by the answers that they were judged for, and users' photos by the
        users' records; faces of templates and prompts by their time alone.

        Args:
            exists: whether the bucket has an object with this key.
        """
        self.decoded_ahead.drop()
        self.cached_engine.expire()
        self.prompt_cache.expire()
        self.reference_cache.evict(exists)
        self.portrayal_cache.evict(exists)
        self.lora_cache.evict(exists)
