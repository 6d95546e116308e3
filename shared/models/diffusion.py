"""A base model of Stable Diffusion's form, loaded once per process and shared by diffusion and training."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    TCDScheduler,
    UNet2DConditionModel,
)
from diffusers.utils.logging import disable_progress_bar as disable_diffusers_bars
from pydantic import BaseModel, ConfigDict, Field
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.utils.logging import disable_progress_bar as disable_transformers_bars

from shared.devices.gpu import computes_in_bfloat16, require_gpu
from shared.models import determinism, model_loading
from shared.models.model_loading import EMBEDDED, EMBEDDED_FOLDER, BaseModelMissing
from shared.settings import ModelSettings

__all__ = [
    "EMBEDDED",
    "EMBEDDED_FOLDER",
    "BaseModelMissing",
    "DiffusionModel",
    "ModelProfile",
    "TextEncoder",
    "folder_of",
    "load_model",
]

log = logging.getLogger(__name__)

PROFILE_FILE = "photog.json"
Scheduler: TypeAlias = DDIMScheduler | LCMScheduler | TCDScheduler | EulerDiscreteScheduler
# for models without a photog.json: the size that the architecture was trained at, and SDXL's interval of guidance
DEFAULTS: dict[str, dict[str, object]] = {"sd15": {}, "sdxl": {"size": 1024, "guided": (0.28, 5.42)}}


class ModelProfile(BaseModel):
    """How to use a base model for faces: `photog.json` beside its `model_index.json`; the defaults suit SD 1.5."""

    model_config = ConfigDict(frozen=True)

    size: int = Field(512, description="side in pixels of the square that the model works on")
    framing: float = Field(2.2, description="side of that square over the longer side of the face's box")
    guidance: float = Field(5.0, description="classifier-free guidance scale; 1 means none")
    guided: tuple[float, float] | None = Field(
        (0.7, 5.42), description="lowest and highest ratio of noise to signal with guidance; None means all"
    )
    most_steps: int | None = Field(None, description="steps of a distilled model's schedule; None means any number")
    prompt: str = Field("photo of {trigger} person", description="{trigger} stands for the user's trigger, or is empty")
    negative_prompt: str = Field(
        "blurry, deformed, lowres", description="must not contain words that would remove glasses or age"
    )


@dataclass(frozen=True)
class TextEncoder:
    """A text encoder and its tokenizer."""

    encoder: CLIPTextModel | CLIPTextModelWithProjection
    tokenizer: CLIPTokenizer


@dataclass(frozen=True)
class DiffusionModel:
    """The parts of a pipeline, in evaluation mode and without gradients, on one device.

    Attributes:
        name: what answers and adapters call the model.
        working: its working size, framing, guidance and prompts.
        dtype: precision of the UNet; an autoencoder that overflows in half precision stays in float32.
        second: SDXL's second text encoder; None for SD 1.5.
        architecture: `sd15` or `sdxl`; portrait-tiny has the form of `sd15`.
    """

    name: str
    working: ModelProfile
    unet: UNet2DConditionModel
    vae: AutoencoderKL | AutoencoderTiny
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: Scheduler
    device: torch.device
    dtype: torch.dtype
    second: TextEncoder | None = None
    architecture: str = "sd15"

    @property
    def first(self) -> TextEncoder:
        """The text encoder that both architectures have."""
        return TextEncoder(self.text_encoder, self.tokenizer)

    @property
    def encoders(self) -> list[CLIPTextModel | CLIPTextModelWithProjection]:
        """All text encoders of the model."""
        return [self.text_encoder, *([self.second.encoder] if self.second else [])]


def load_model(settings: ModelSettings) -> DiffusionModel:
    """Load the configured base model; BaseModelMissing if it is not there or cannot be read."""
    where = model_loading.resolve_source(settings)
    kind = model_loading.read_architecture(where)
    device = resolve_device(settings.device)
    determinism.prepare(device)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    dtype = choose_precision(device)
    for bars in (disable_diffusers_bars, disable_transformers_bars):
        bars()  # progress bars would garble the log
    pipeline = model_loading.open_model(settings, where, kind, dtype).to(device)
    _check(pipeline.unet, where.name)
    if dtype == torch.float16 and pipeline.vae.config.get("force_upcast"):
        pipeline.vae.float()  # in float16 the activations of SDXL's autoencoder overflow, and pictures come out black
    second = TextEncoder(pipeline.text_encoder_2, pipeline.tokenizer_2) if kind == "sdxl" else None
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder, *((second.encoder,) if second else ())):
        part.eval().requires_grad_(False)
    fit_convolutions(device, pipeline.unet, pipeline.vae)
    return DiffusionModel(
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


def fit_convolutions(device: torch.device, *parts: torch.nn.Module) -> None:
    """On a GPU, store weights as channels-last, which its half-precision convolutions use without transposing."""
    if device.type == "cuda":
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
    """Return the profile in the model's `photog.json`, or the architecture's default."""
    profile = Path(where.place) / PROFILE_FILE
    return ModelProfile.model_validate(json.loads(profile.read_text()) if profile.is_file() else DEFAULTS[kind])
