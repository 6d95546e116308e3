"""A base model made one of few steps by a LoRA of its kind, with the scheduler that this was distilled for."""

import dataclasses
from pathlib import Path

import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, LCMScheduler, TCDScheduler

from shared.devices import device_errors
from shared.models.diffusion import DiffusionModel, Scheduler
from shared.models.model_loading import PIPELINES, BaseModelMissing
from shared.settings import FewStepSettings

SCHEDULERS: dict[str, type[Scheduler]] = {
    "lcm": LCMScheduler,
    "tcd": TCDScheduler,
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
}
ADAPTER = "few-step"


def fused(model: DiffusionModel, settings: FewStepSettings | None) -> DiffusionModel:
    """The model with the LoRA added into its UNet's weights, once, and without guidance, which is distilled into it.

    Fused and not a second adapter, since that would cost about a quarter of each evaluation, and pictures of a mixed
    batch can wear one adapter only. The sum is formed in float32 whatever the weights' precision. It is this process's
    UNet that changes: the files do not, and trainings load their own.

    Raises BaseModelMissing where the file cannot be read or does not fit.
    """
    if settings is None:
        return model
    state, alphas = _read(settings, model)
    unet = model.unet.float()
    try:
        with device_errors():
            unet.load_lora_adapter(state, prefix="unet", adapter_name=ADAPTER, network_alphas=alphas)
    except (ValueError, RuntimeError, KeyError) as error:
        raise BaseModelMissing(f"the few-step LoRA {settings.path} does not fit {model.name}: {error}") from error
    unet.fuse_lora(lora_scale=settings.scale, adapter_names=[ADAPTER])
    unet.unload_lora()
    unet.to(model.dtype).eval().requires_grad_(False)
    scheduler = SCHEDULERS[settings.scheduler].from_config(model.scheduler.config, timestep_spacing="trailing")
    working = model.working.model_copy(update={"guidance": 1.0, "most_steps": settings.steps})
    return dataclasses.replace(model, scheduler=scheduler, working=working)


def _read(settings: FewStepSettings, model: DiffusionModel) -> tuple[dict[str, torch.Tensor], dict[str, float] | None]:
    path = Path(settings.path).expanduser()
    if not path.is_file():
        raise BaseModelMissing(f"no few-step LoRA at {path}: set PHOTOG_MODEL__FEW_STEP__PATH to its .safetensors file")
    try:
        # the UNet's configuration maps the names of SDXL's blocks in kohya's files
        state, alphas = PIPELINES[model.architecture].lora_state_dict(
            str(path), unet_config=model.unet.config, local_files_only=True
        )
    except (ValueError, OSError, KeyError) as error:
        raise BaseModelMissing(f"the few-step LoRA {path} cannot be read: {error}") from error
    if not any(name.startswith("unet.") for name in state):
        raise BaseModelMissing(f"the few-step LoRA {path} holds nothing for a UNet")
    return state, alphas or None
