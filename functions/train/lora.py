"""The LoRA adapter: added to a base model for one training, removed afterwards, and saved in diffusers' format."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from functions.train.plan import TrainingPlan
from functions.train.safetensors_bytes import serialize_tensors
from shared.models.base_model import DiffusionModel
from shared.models.transfers import copy_all_to_cpu

NAME = "photog"

Weights = dict[str, torch.Tensor]


class LoraAdapter:
    """A LoRA on a base model's denoiser.

    Attributes:
        parameters: the trainable parameters, float32.
    """

    def __init__(self, model: DiffusionModel, config: LoraConfig) -> None:
        self._model, self._denoiser, self._config = model, model.denoiser, config
        self.parameters = [parameter for parameter in model.denoiser.parameters() if parameter.requires_grad]

    def weights(self) -> Weights:
        """Copy the adapter's current weights to the CPU, under diffusers' names."""
        state = self._model.name_lora(get_peft_model_state_dict(self._denoiser, adapter_name=NAME))
        return dict(zip(state, copy_all_to_cpu(list(state.values())), strict=True))

    @contextmanager
    def off(self) -> Iterator[None]:
        """Disable the adapter within the block, where the denoiser computes as the base model does."""
        self._denoiser.disable_adapters()
        try:
            yield
        finally:
            self._denoiser.enable_adapters()

    def serialize(self, weights: Weights, facts: dict[str, Any]) -> bytes:
        """Return a .safetensors file for `load_lora_weights` of diffusers' pipelines, with `facts` in its header."""
        prefix = f"{self._model.lora_prefix}."
        config = {prefix + name: _plain(value) for name, value in self._config.to_dict().items()}
        header = {"format": "pt", LORA_ADAPTER_METADATA_KEY: json.dumps(config), "photog": json.dumps(facts)}
        return serialize_tensors(weights, header)


@contextmanager
def add_adapter(model: DiffusionModel, plan: TrainingPlan) -> Iterator[LoraAdapter]:
    """Add a new adapter to the base model's denoiser for the length of the block.

    When the block ends, also by an exception, the adapter is removed and the base model is bit for bit as before.
    """
    denoiser = model.denoiser
    config = LoraConfig(
        r=plan.rank, lora_alpha=plan.alpha, target_modules=list(plan.targets), init_lora_weights="gaussian"
    )
    devices = [model.device] if model.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(plan.seed)
            denoiser.add_adapter(config, adapter_name=NAME)
        for parameter in denoiser.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()  # in half precision most updates would round to zero
        yield LoraAdapter(model, config)
    finally:
        denoiser.unload_lora()


def is_finite(weights: Weights) -> bool:
    """Return whether all weights are finite; after a training that diverged, some are not."""
    return all(bool(torch.isfinite(value).all()) for value in weights.values())


def _plain(value: object) -> object:
    if isinstance(value, set | frozenset | tuple):
        return sorted(value)
    return getattr(value, "value", value)
