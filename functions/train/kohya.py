"""The adapter in kohya's file format, which A1111, ComfyUI and kohya's scripts read."""

import json
from typing import Any

import torch
from diffusers.utils import convert_state_dict_to_kohya, convert_unet_state_dict_to_peft

from functions.train.lora import Weights
from functions.train.plan import TrainingPlan
from functions.train.safetensors_bytes import serialize_tensors
from shared.models.architectures import ARCHITECTURES


def serialize_kohya(weights: Weights, plan: TrainingPlan, facts: dict[str, Any]) -> bytes:
    """Return the adapter as a .safetensors file in kohya's format.

    Args:
        weights: the adapter's weights for the UNet, under diffusers' names.
        plan: the settings that the adapter was trained with.
        facts: metadata for the file's header, next to the entries that readers of the format look for.
    """
    header = {
        "format": "pt",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(plan.rank),
        "ss_network_alpha": str(plan.alpha),
        "ss_base_model_version": ARCHITECTURES[facts["architecture"]].kohya,
        "ss_sd_model_name": str(facts["base_model"]),
        "ss_learning_rate": str(plan.learning_rate),
        "ss_seed": str(plan.seed),
        "ss_steps": str(facts["step"]),
        "photog": json.dumps(facts),
    }
    return serialize_tensors(rename_keys(weights, plan.alpha), header)


def rename_keys(weights: Weights, alpha: float) -> Weights:
    """Rename weights to kohya's keys and add an alpha for each module.

    `unet.a.b.to_q.lora.down.weight` becomes `lora_unet_a_b_to_q.lora_down.weight`.
    """
    named: Weights = convert_state_dict_to_kohya(convert_unet_state_dict_to_peft(weights))
    # diffusers writes the rank as the alpha of every module, no matter what alpha the adapter was trained with
    return named | {name: torch.tensor(float(alpha)) for name in named if name.endswith(".alpha")}
