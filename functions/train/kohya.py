"""The adapter in the file formats that A1111, ComfyUI and kohya's scripts read."""

import json
from typing import Any

from functions.train.lora import Weights
from functions.train.plan import TrainingPlan
from functions.train.safetensors_bytes import serialize_tensors
from shared.models.architectures import ARCHITECTURES
from shared.models.base_model import DiffusionModel


def serialize_kohya(model: DiffusionModel, weights: Weights, plan: TrainingPlan, facts: dict[str, Any]) -> bytes:
    """Return the adapter as a .safetensors file with kohya's metadata.

    Args:
        model: the base model that it was trained for.
        weights: the adapter's weights, under diffusers' names.
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
    return serialize_tensors(model.rename_lora(weights, plan.alpha), header)
