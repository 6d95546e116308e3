"""Prompts for the diffusion, encoded once per wording."""

import time

from functions.generate.diffusion.inpaint_region import PromptPair
from shared.models.base_model import Conditioning, DiffusionModel
from shared.models.expiring_cache import Clock, ExpiringCache

SCENE = "photo of a background, natural light, realistic, detailed"
WORDINGS = 64  # prompts kept in memory; 118 kB each for SD 1.5


class PromptCache:
    """A cache of prompts encoded by a base model.

    The sender's words may name a person, so they are kept for a short time only.

    Args:
        model: the base model, whose text encoders are used.
        wordings: number of prompts to keep.
        clock: replaced in tests.
    """

    def __init__(self, model: DiffusionModel, wordings: int = WORDINGS, clock: Clock = time.monotonic) -> None:
        self._model = model
        self._states: ExpiringCache[str, Conditioning] = ExpiringCache(wordings, clock=clock)

    def of(self, trigger: str, additional: str = "") -> PromptPair:
        """Encode the base model's prompt and negative prompt for a person.

        Args:
            trigger: the user's trigger word, which replaces the prompt's placeholder.
            additional: words to append to the prompt, from the request.

        Returns:
            Both encoded, batch 1, on the model's device.
        """
        working = self._model.working
        wording = " ".join(working.prompt.format(trigger=trigger).split())
        if additional.strip():
            wording = f"{wording}, {additional.strip()}"
        return self._state(wording), self._state(working.negative_prompt)

    def scene(self, additional: str = "") -> PromptPair:
        """Encode a prompt for a background without people, and the negative prompt; see `of`."""
        wording = f"{SCENE}, {additional.strip()}" if additional.strip() else SCENE
        return self._state(wording), self._state(self._model.working.negative_prompt)

    def expire(self) -> None:
        """Drop the prompts that have not been used for a while."""
        self._states.expire()

    def _state(self, wording: str) -> Conditioning:
        states: Conditioning | None = self._states.get(wording)
        if states is None:
            states = self._states[wording] = self._model.condition(wording)
        return states
