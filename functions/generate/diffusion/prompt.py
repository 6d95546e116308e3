"""Words for the diffusion: text states, computed once per wording."""

import time

from functions.generate.diffusion.inpaint_region import PromptPair
from shared.models.conditioning import Conditioning, encode_prompt
from shared.models.diffusion import DiffusionModel
from shared.models.expiring_cache import Clock, ExpiringCache

SCENE = "photo of a background, natural light, realistic, detailed"
WORDINGS = 64  # kept in memory; 118 kB each for SD 1.5


class PromptCache:
    """Text states of a base model. The sender's words may name somebody: they are kept for a short time only."""

    def __init__(self, model: DiffusionModel, wordings: int = WORDINGS, clock: Clock = time.monotonic) -> None:
        self._model = model
        self._states: ExpiringCache[str, Conditioning] = ExpiringCache(wordings, clock=clock)

    def of(self, trigger: str, additional: str = "") -> PromptPair:
        """The states of the model's prompt with the user's word and the sender's additions, and of its negative one.

        Each of one picture, on the model's device.
        """
        working = self._model.working
        wording = " ".join(working.prompt.format(trigger=trigger).split())
        if additional.strip():
            wording = f"{wording}, {additional.strip()}"
        return self._state(wording), self._state(working.negative_prompt)

    def scene(self, additional: str = "") -> PromptPair:
        """The states for a picture's background, in which nobody is to be painted, and of the negative prompt."""
        wording = f"{SCENE}, {additional.strip()}" if additional.strip() else SCENE
        return self._state(wording), self._state(self._model.working.negative_prompt)

    def expire(self) -> None:
        """Forget the wordings that have not come for long."""
        self._states.expire()

    def _state(self, wording: str) -> Conditioning:
        states: Conditioning | None = self._states.get(wording)
        if states is None:
            states = self._states[wording] = encode_prompt(self._model, wording)
        return states
