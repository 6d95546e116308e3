"""A Stable-Diffusion-shaped base model, loaded once per process and handed to whoever diffuses or trains."""

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

from shared.devices.card import computes_in_bfloat16, require_card
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

CARD = "photog.json"
Scheduler: TypeAlias = DDIMScheduler | LCMScheduler | TCDScheduler | EulerDiscreteScheduler
# where no card says otherwise: pixels that the architecture was trained at, and SDXL's interval of guidance
DEFAULTS: dict[str, dict[str, object]] = {"sd15": {}, "sdxl": {"size": 1024, "guided": (0.28, 5.42)}}


class ModelProfile(BaseModel):
    """How a base model wants its faces: `photog.json` beside `model_index.json`; the defaults suit SD 1.5."""

    model_config = ConfigDict(frozen=True)

    size: int = Field(512, description="side in pixels of the square that the model works on")
    framing: float = Field(2.2, description="side of that square over the longer side of the face's box")
    guidance: float = Field(5.0, description="classifier-free guidance scale; 1 means none")
    guided: tuple[float, float] | None = Field(
        (0.7, 5.42), description="noise over signal above which, and up to which, guidance matters; None is everywhere"
    )
    most_steps: int | None = Field(None, description="steps of a distilled model's whole schedule; None is any number")
    prompt: str = Field("photo of {trigger} person", description="{trigger} is the user's word, or nothing")
    negative_prompt: str = Field("blurry, deformed, lowres", description="nothing here that takes glasses or age away")


@dataclass(frozen=True)
class TextEncoder:
    """A text encoder and the tokens that it reads."""

    encoder: CLIPTextModel | CLIPTextModelWithProjection
    tokenizer: CLIPTokenizer


@dataclass(frozen=True)
class DiffusionModel:
    """The parts of a pipeline, in evaluation mode and without gradients, on one device.

    Attributes:
        second: SDXL's other text encoder; None for SD 1.5.
        dtype: of the UNet; an autoencoder that overflows in half precision keeps its own.
        architecture: `sd15` or `sdxl`; portrait-tiny is shaped as the first.
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
        """What makes text states of words."""
        return [self.text_encoder, *([self.second.encoder] if self.second else [])]


def load_model(settings: ModelSettings) -> DiffusionModel:
    """Load the configured base model; BaseModelMissing where there is none."""
    where = model_loading.resolve_source(settings)
    kind = model_loading.read_architecture(where)
    device = resolve_device(settings.device)
    determinism.prepare(device)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    dtype = choose_precision(device)
    for bars in (disable_diffusers_bars, disable_transformers_bars):
        bars()  # logs are for lines
    pipeline = model_loading.open_model(settings, where, kind, dtype).to(device)
    _check(pipeline.unet, where.name)
    if dtype == torch.float16 and pipeline.vae.config.get("force_upcast"):
        pipeline.vae.float()  # SDXL's activations leave half precision's range and come out black
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
    """On a card, lay weights out as its half-precision convolutions take them without turning them around."""
    if device.type == "cuda":
        for part in parts:
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def choose_precision(device: torch.device) -> torch.dtype:
    """CPU float32, which it computes fastest in; CUDA bfloat16, or float16 on cards before Ampere."""
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if computes_in_bfloat16(device) else torch.float16


def folder_of(settings: ModelSettings) -> Path:
    """Where the configured base model lies as a folder; BaseModelMissing where it does not."""
    where = model_loading.resolve_source(settings)
    if where.kind != "folder":
        raise BaseModelMissing(f"{where.place} is no folder")
    return Path(where.place)


def resolve_device(name: str) -> torch.device:
    """`auto` as the device that is there; any other name as it is, DeviceMissing where that cannot compute."""
    if name == "auto":
        found = torch.cuda.is_available()
        if not found and torch.version.cuda is not None:
            log.warning("torch is built for CUDA and sees no card: on the CPU, unless PHOTOG_MODEL__DEVICE=cuda")
        return torch.device("cuda" if found else "cpu")
    device = torch.device(name)
    if device.type != "cpu":
        require_card(device)
    return device


def _check(unet: UNet2DConditionModel, name: str) -> None:
    """Inpainting checkpoints look at mask and picture beside the latents, which nobody here gives them."""
    seen, made = unet.config.in_channels, unet.config.out_channels
    if seen != made:
        raise BaseModelMissing(
            f"{name} is an inpainting checkpoint: its UNet takes {seen} channels where {made} are made; "
            "take the plain checkpoint that it was made of"
        )


def working(where: model_loading.ModelSource, kind: str) -> ModelProfile:
    """The card beside the model, or the architecture's defaults."""
    card = Path(where.place) / CARD
    return ModelProfile.model_validate(json.loads(card.read_text()) if card.is_file() else DEFAULTS[kind])
