"""Words for the diffusion: text states, computed once per wording."""

from collections import OrderedDict

import torch

from shared.models.diffusion import DiffusionModel

WORDINGS = 64  # kept in memory; 118 kB each for SD 1.5


class Prompts:
    """Text states of a base model."""

    def __init__(self, model: DiffusionModel, wordings: int = WORDINGS) -> None:
        self._model, self._most = model, wordings
        self._states: OrderedDict[str, torch.Tensor] = OrderedDict()

    def of(self, trigger: str, additional: str = "") -> tuple[torch.Tensor, torch.Tensor]:
        """The states of the model's prompt with the user's word and the sender's additions, and of its negative one.

        Each (1, tokens, width) on the model's device.
        """
        working = self._model.working
        wording = " ".join(working.prompt.format(trigger=trigger).split())
        if additional.strip():
            wording = f"{wording}, {additional.strip()}"
        return self._state(wording), self._state(working.negative_prompt)

    def _state(self, wording: str) -> torch.Tensor:
        if wording not in self._states:
            self._states[wording] = self._encode(wording)
            while len(self._states) > self._most:
                self._states.popitem(last=False)
        self._states.move_to_end(wording)
        return self._states[wording]

    @torch.no_grad()
    def _encode(self, wording: str) -> torch.Tensor:
        tokens = self._model.tokenizer(
            wording,
            padding="max_length",
            max_length=self._model.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        state: torch.Tensor = self._model.text_encoder(tokens.input_ids.to(self._model.device))[0]
        return state.to(self._model.dtype)
