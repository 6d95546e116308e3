"""Turns a base model into a few-step model by fusing a distillation LoRA, with the scheduler that it was made for."""

import dataclasses
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, LCMScheduler, TCDScheduler, UNet2DConditionModel

from shared.devices import device_errors
from shared.models.base_model import DiffusionModel
from shared.models.model_loading import PIPELINES, BaseModelMissing
from shared.models.residency import release
from shared.models.unet_model import Scheduler, UNetModel
from shared.settings import FewStepSettings

SCHEDULERS: dict[str, type[Scheduler]] = {
    "lcm": LCMScheduler,
    "tcd": TCDScheduler,
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
}
ADAPTER, PREFIX = "few-step", "unet."
DEPTH = 4  # name levels of a part, as in down_blocks.2.attentions.1: ten transformer layers of SDXL, 1.4 GB in float32

Value = TypeVar("Value")


def fuse_distillation_lora(model: DiffusionModel, settings: FewStepSettings | None) -> DiffusionModel:
    """Add the LoRA to the weights of the model's UNet and return the model without guidance, which is distilled in.

    The LoRA is fused and not a second adapter: that would cost about a quarter of each evaluation, and in a batch of
    several people each picture can have only one adapter. The sum is computed in float32 whatever the precision of the
    weights, one part of the UNet after the other, since SDXL's UNet as a whole would take 10 GB of the GPU. Only the
    UNet of this process changes; the files do not, and trainings load their own.

    Args:
        model: the base model.
        settings: the LoRA's file, scale, scheduler and steps; None returns the model unchanged.

    Raises:
        BaseModelMissing: the file cannot be read or does not fit the model.
    """
    if settings is None:
        return model
    if not isinstance(model, UNetModel):
        raise BaseModelMissing(
            f"{model.name} takes no few-step LoRA: unset PHOTOG_MODEL__FEW_STEP, and use the distilled checkpoint"
        )
    state, alphas = _read(settings, model)
    for name in sorted({_part(model.unet, tensor) for tensor in state}):
        _fuse(model, name, _below(name, state), alphas and _below(name, alphas), settings)
    model.unet.eval().requires_grad_(False)
    release(model.device)
    scheduler = SCHEDULERS[settings.scheduler].from_config(model.scheduler.config, timestep_spacing="trailing")
    working = model.working.model_copy(update={"guidance": 1.0, "most_steps": settings.steps, "pass_span": None})
    return dataclasses.replace(model, scheduler=scheduler, working=working)


def _part(unet: UNet2DConditionModel, tensor: str) -> str:
    """Return the name of the part of the UNet that a tensor belongs to: a group of layers, or a single layer."""
    pieces = tensor.removeprefix(PREFIX).split(".")
    part: torch.nn.Module = unet
    found: list[str] = []
    for piece in pieces[:DEPTH]:
        below = dict(part.named_children()).get(piece)
        if below is None:
            break
        part, found = below, [*found, piece]
    return ".".join(found)


def _below(part: str, named: dict[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in named.items() if name.startswith(f"{PREFIX}{part}." if part else "")}


def _fuse(
    model: UNetModel,
    part: str,
    state: dict[str, torch.Tensor],
    alphas: dict[str, float] | None,
    settings: FewStepSettings,
) -> None:
    """Add the LoRA's tensors for one part of the UNet to its weights; BaseModelMissing if they do not fit."""
    layers = model.unet.get_submodule(part).float()
    try:
        with device_errors():
            model.unet.load_lora_adapter(state, prefix="unet", adapter_name=ADAPTER, network_alphas=alphas)
    except (ValueError, RuntimeError, KeyError) as error:
        raise BaseModelMissing(f"the few-step LoRA {settings.path} does not fit {model.name}: {error}") from error
    model.unet.fuse_lora(lora_scale=settings.scale, adapter_names=[ADAPTER])
    model.unet.unload_lora()
    # a part that is a single layer was wrapped by the adapter; unloading has put the layer itself back
    layers.to(model.dtype)


def _read(settings: FewStepSettings, model: UNetModel) -> tuple[dict[str, torch.Tensor], dict[str, float] | None]:
    path = Path(settings.path).expanduser()
    if not path.is_file():
        raise BaseModelMissing(f"no few-step LoRA at {path}: set PHOTOG_MODEL__FEW_STEP__PATH to its .safetensors file")
    try:
        # diffusers needs the UNet's configuration to map the block names of SDXL LoRAs in kohya's format
        with device_errors():
            state, alphas = PIPELINES[model.architecture].lora_state_dict(
                str(path), unet_config=model.unet.config, local_files_only=True
            )
    except (ValueError, OSError, KeyError) as error:
        raise BaseModelMissing(f"the few-step LoRA {path} cannot be read: {error}") from error
    if not any(name.startswith("unet.") for name in state):
        raise BaseModelMissing(
            f"the few-step LoRA {path} has no weights for a UNet: set PHOTOG_MODEL__FEW_STEP__PATH to another file"
        )
    return state, alphas or None
