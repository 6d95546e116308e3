"""LoRAs of random weights for base models of rectified flow, as training leaves them."""

import torch

from functions.train.lora import add_adapter
from functions.train.plan import TrainingPlan
from shared.models.base_model import DiffusionModel


def flow_plan(model: DiffusionModel, rank: int = 4, **changes: object) -> TrainingPlan:
    """The plan that suits the model, with a small rank."""
    plan = TrainingPlan.for_model(model.working, model.architecture)
    return plan.model_copy(update={"rank": rank, "alpha": float(rank)} | changes)


def disturb(parameters: list[torch.nn.Parameter], seed: int, scale: float = 0.3) -> None:
    """Change an adapter's weights as a training would, in one go."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)


def flow_lora(model: DiffusionModel, rank: int, seed: int, **changes: object) -> bytes:
    """A LoRA file for a model, strong enough to be seen; the model is left as it was."""
    with add_adapter(model, flow_plan(model, rank, **changes)) as adapter:
        disturb(adapter.parameters, seed)
        return adapter.serialize(adapter.weights(), {})
