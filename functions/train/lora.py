"""The adapter: put on a UNet for the length of a training, taken off again, and written as a file others can read."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from functions.train.plan import TrainingPlan
from functions.train.safetensors_bytes import serialize_tensors
from shared.models.transfers import fetched

NAME = "photog"
PREFIX = "unet."  # diffusers tells the UNet's adapter from a text encoder's by it

Weights = dict[str, torch.Tensor]


class LoraAdapter:
    """A LoRA on a UNet.

    Attributes:
        parameters: what is trained, float32.
    """

    def __init__(self, unet: UNet2DConditionModel, config: LoraConfig) -> None:
        self._unet, self._config = unet, config
        self.parameters = [parameter for parameter in unet.parameters() if parameter.requires_grad]

    def weights(self) -> Weights:
        """A copy of the adapter's weights as they are now, on the CPU, under diffusers' names."""
        state = convert_state_dict_to_diffusers(get_peft_model_state_dict(self._unet, adapter_name=NAME))
        return {PREFIX + name: value for name, value in zip(state, fetched(list(state.values())), strict=True)}

    @contextmanager
    def off(self) -> Iterator[None]:
        """Inside of the block the UNet is the base model's; nothing is learned there."""
        self._unet.disable_adapters()
        try:
            yield
        finally:
            self._unet.enable_adapters()

    def serialize(self, weights: Weights, facts: dict[str, Any]) -> bytes:
        """A .safetensors that `load_lora_weights` of a diffusers pipeline accepts; `facts` go into its header."""
        config = {PREFIX + name: _plain(value) for name, value in self._config.to_dict().items()}
        header = {"format": "pt", LORA_ADAPTER_METADATA_KEY: json.dumps(config), "photog": json.dumps(facts)}
        return serialize_tensors(weights, header)


@contextmanager
def add_adapter(unet: UNet2DConditionModel, plan: TrainingPlan) -> Iterator[LoraAdapter]:
    """A fresh adapter on the UNet; whatever ends the block takes it off and leaves the base as it was, bit for bit."""
    config = LoraConfig(
        r=plan.rank, lora_alpha=plan.alpha, target_modules=list(plan.targets), init_lora_weights="gaussian"
    )
    devices = [unet.device] if unet.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(plan.seed)
            unet.add_adapter(config, adapter_name=NAME)
        for parameter in unet.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()  # in half precision most updates round to nothing
        yield LoraAdapter(unet, config)
    finally:
        unet.unload_lora()


def is_finite(weights: Weights) -> bool:
    """Whether every weight is a number; a training that ran away leaves some that are not."""
    return all(bool(torch.isfinite(value).all()) for value in weights.values())


def _plain(value: object) -> object:
    if isinstance(value, set | frozenset | tuple):
        return sorted(value)
    return getattr(value, "value", value)
