"""Words for the diffusion: text states, computed once per wording."""

from collections import OrderedDict

from functions.generate.canvas import Words
from shared.models.conditioning import Conditioning, conditioned
from shared.models.diffusion import DiffusionModel

SCENE = "photo of a background, natural light, realistic, detailed"
WORDINGS = 64  # kept in memory; 118 kB each for SD 1.5


class Prompts:
    """Text states of a base model."""

    def __init__(self, model: DiffusionModel, wordings: int = WORDINGS) -> None:
        self._model, self._most = model, wordings
        self._states: OrderedDict[str, Conditioning] = OrderedDict()

    def of(self, trigger: str, additional: str = "") -> Words:
        """The states of the model's prompt with the user's word and the sender's additions, and of its negative one.

        Each of one picture, on the model's device.
        """
        working = self._model.working
        wording = " ".join(working.prompt.format(trigger=trigger).split())
        if additional.strip():
            wording = f"{wording}, {additional.strip()}"
        return self._state(wording), self._state(working.negative_prompt)

    def scene(self, additional: str = "") -> Words:
        """The states for a picture's background, in which nobody is to be painted, and of the negative prompt."""
        wording = f"{SCENE}, {additional.strip()}" if additional.strip() else SCENE
        return self._state(wording), self._state(self._model.working.negative_prompt)

    def _state(self, wording: str) -> Conditioning:
        if wording not in self._states:
            self._states[wording] = conditioned(self._model, wording)
            while len(self._states) > self._most:
                self._states.popitem(last=False)
        self._states.move_to_end(wording)
        return self._states[wording]
