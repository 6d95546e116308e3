"""Loads the configured base model, once per process, for diffusion and training."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.utils.logging import disable_progress_bar as disable_diffusers_bars
from pydantic import ValidationError
from transformers.utils.logging import disable_progress_bar as disable_transformers_bars

from shared.devices.gpu import computes_in_bfloat16, require_gpu
from shared.models import determinism, model_loading
from shared.models.architectures import ARCHITECTURES
from shared.models.base_model import DiffusionModel
from shared.models.conditioning import TextEncoder
from shared.models.flux2_klein import Flux2KleinModel
from shared.models.licenses import find_license
from shared.models.model_loading import EMBEDDED_FOLDER, BaseModelMissing
from shared.models.model_name import EMBEDDED
from shared.models.packed_layers import pack_layers
from shared.models.profile import PROFILE_FILE, ModelProfile
from shared.models.quantization import require_quantization
from shared.models.rectified_flow import FlowModel
from shared.models.unet_model import UNetModel
from shared.models.z_image import ZImageModel
from shared.settings import ModelSettings

__all__ = [
    "EMBEDDED",
    "EMBEDDED_FOLDER",
    "PROFILE_FILE",
    "BaseModelMissing",
    "DiffusionModel",
    "ModelProfile",
    "folder_of",
    "load_model",
]

log = logging.getLogger(__name__)

FLOW_MODELS: dict[str, type[FlowModel]] = {"z-image": ZImageModel, "flux2-klein": Flux2KleinModel}
DISTILLED_STEPS = 4  # of FLUX.2 klein, by its model card


def load_model(settings: ModelSettings) -> DiffusionModel:
    """Load the configured base model; BaseModelMissing if it is not there or cannot be read."""
    where = model_loading.resolve_source(settings)
    kind = model_loading.read_architecture(where)
    device = resolve_device(settings.device)
    require_quantization(settings.quantization, kind, device, where.kind == "file")
    determinism.prepare(device)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    dtype = choose_precision(device)
    for bars in (disable_diffusers_bars, disable_transformers_bars):
        bars()  # progress bars would garble the log
    if kind in model_loading.FLOWS:
        return _load_flow(settings, where, kind, device, dtype)
    return _load_unet(settings, where, kind, device, dtype)


def _load_flow(
    settings: ModelSettings, where: model_loading.ModelSource, kind: str, device: torch.device, dtype: torch.dtype
) -> FlowModel:
    if dtype == torch.float16:
        raise BaseModelMissing(
            f"{where.name} computes in bfloat16, which {device} cannot: take a GPU since Ampere, or set "
            "PHOTOG_MODEL__DEVICE=cpu"
        )
    pipeline = model_loading.open_flow(settings, where, kind, dtype, device)
    for part in (pipeline.transformer, pipeline.vae, pipeline.text_encoder):
        part.eval().requires_grad_(False)
    for part in (pipeline.vae, *([pipeline.transformer] if settings.quantization is None else [])):
        part.to(device)  # the text encoder goes there when there are words, and what is quantized is there already
    arrange_weights(pipeline.vae)
    profile = apply_distillation(working(where, kind), pipeline.config)
    model = FLOW_MODELS[kind](
        where.name, kind, profile, pipeline, pipeline.scheduler, device, dtype, settings.quantization
    )
    if profile.size % model.patch:
        raise BaseModelMissing(
            f"the photog.json of {where.name} has a size of {profile.size}: set one that {model.patch} divides"
        )
    return model


def _load_unet(
    settings: ModelSettings, where: model_loading.ModelSource, kind: str, device: torch.device, dtype: torch.dtype
) -> UNetModel:
    pipeline = model_loading.open_model(settings, where, kind, dtype).to(device)
    _check(pipeline.unet, where.name)
    if dtype == torch.float16 and pipeline.vae.config.get("force_upcast"):
        pipeline.vae.float()  # in float16 the activations of SDXL's autoencoder overflow, and pictures come out black
    second = TextEncoder(pipeline.text_encoder_2, pipeline.tokenizer_2) if kind == "sdxl" else None
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder, *((second.encoder,) if second else ())):
        part.eval().requires_grad_(False)
    fit_denoiser(device, pipeline.unet)
    arrange_weights(pipeline.vae)
    return UNetModel(
        name=where.name,
        working=working(where, kind),
        unet=pipeline.unet,
        vae=pipeline.vae,
        text_encoder=pipeline.text_encoder,
        tokenizer=pipeline.tokenizer,
        scheduler=DDIMScheduler.from_config(pipeline.scheduler.config),
        device=device,
        dtype=dtype,
        second=second,
        architecture=kind,
    )


def apply_distillation(profile: ModelProfile, config: Mapping[str, Any]) -> ModelProfile:
    """Return the profile for a pipeline with this configuration; a distilled one has no guidance and few steps."""
    if not config.get("is_distilled"):
        return profile
    return profile.model_copy(update={"guidance": 1.0, "most_steps": profile.most_steps or DISTILLED_STEPS})


def fit_denoiser(device: torch.device, denoiser: torch.nn.Module) -> None:
    """Fit a frozen denoiser or ControlNet to the device: channels-last, and on a CPU layers that oneDNN computes."""
    arrange_weights(denoiser)
    if device.type == "cpu":
        pack_layers(denoiser)


def arrange_weights(*parts: torch.nn.Module) -> None:
    """Store convolutions' weights as channels-last: a GPU's need not transpose then, a CPU's are a tenth faster.

    An autoencoder's are not packed as well: its pictures are large and its channels few, and it took a fifth longer.
    """
    for part in parts:
        part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def choose_precision(device: torch.device) -> torch.dtype:
    """Return float32 for a CPU, where it is fastest, bfloat16 for CUDA, and float16 for GPUs before Ampere."""
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if computes_in_bfloat16(device) else torch.float16


def folder_of(settings: ModelSettings) -> Path:
    """Return the folder of the configured base model; BaseModelMissing if it is a file or on the hub."""
    where = model_loading.resolve_source(settings)
    if where.kind != "folder":
        raise BaseModelMissing(f"{where.place} is not a folder: set PHOTOG_MODEL__PATH to a diffusers folder")
    return Path(where.place)


def resolve_device(name: str) -> torch.device:
    """Return the device of that name; `auto` is a GPU if there is one, else the CPU.

    Raises:
        DeviceMissing: the named GPU is not there or cannot compute.
    """
    if name == "auto":
        found = torch.cuda.is_available()
        if not found and torch.version.cuda is not None:
            log.warning(
                "torch is built for CUDA but finds no GPU, so models run on the CPU; PHOTOG_MODEL__DEVICE=cuda makes "
                "this an error"
            )
        return torch.device("cuda" if found else "cpu")
    device = torch.device(name)
    if device.type != "cpu":
        require_gpu(device)
    return device


def _check(unet: UNet2DConditionModel, name: str) -> None:
    """Refuse inpainting checkpoints, whose UNet expects a mask and a picture that nothing here passes to it."""
    entering, leaving = unet.config.in_channels, unet.config.out_channels
    if entering != leaving:
        raise BaseModelMissing(
            f"{name} is an inpainting checkpoint: its UNet takes {entering} channels and returns {leaving}; "
            "use the ordinary checkpoint that it was made from"
        )


def working(where: model_loading.ModelSource, kind: str) -> ModelProfile:
    """Return the model's profile with the license that is known.

    Fields that its `photog.json` leaves out are those of the architecture.
    """
    file = Path(where.place) / PROFILE_FILE
    told = model_loading.read_json(file) if file.is_file() else {}
    try:
        profile = ModelProfile.model_validate(dict(ARCHITECTURES[kind].profile) | told)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise BaseModelMissing(f"{file}: {field}: {first['msg']}") from error
    return profile.model_copy(update={"license": profile.license or find_license(where, kind)})
