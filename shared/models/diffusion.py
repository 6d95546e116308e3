"""A Stable-Diffusion-shaped base model, loaded once per process and handed to whoever diffuses or trains."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils.logging import disable_progress_bar as disable_diffusers_bars
from pydantic import BaseModel, ConfigDict, Field
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils.logging import disable_progress_bar as disable_transformers_bars

from shared.settings import ModelSettings

EMBEDDED = "portrait-tiny"
EMBEDDED_FOLDER = Path(__file__).parent / "portrait_tiny" / "weights"
CARD = "photog.json"


class BaseModelMissing(Exception):
    """The configured base model is not there; the message says how to get it."""


class Working(BaseModel):
    """How a base model wants its faces: `photog.json` beside `model_index.json`; the defaults suit SD 1.5."""

    model_config = ConfigDict(frozen=True)

    size: int = Field(512, description="side in pixels of the square that the model works on")
    framing: float = Field(2.2, description="side of that square over the longer side of the face's box")
    guidance: float = Field(5.0, description="classifier-free guidance scale; 1 means none")
    prompt: str = Field("photo of {trigger} person", description="{trigger} is the user's word, or nothing")
    negative_prompt: str = Field("blurry, deformed, lowres", description="nothing here that takes glasses or age away")


@dataclass(frozen=True)
class DiffusionModel:
    """The parts of a pipeline, in evaluation mode and without gradients, on one device."""

    name: str
    working: Working
    unet: UNet2DConditionModel
    vae: AutoencoderKL | AutoencoderTiny
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: DDIMScheduler
    device: torch.device
    dtype: torch.dtype
    architecture: str = "sd15"


def load(settings: ModelSettings) -> DiffusionModel:
    """Load the configured base model; BaseModelMissing where there is none."""
    folder = folder_of(settings)
    device = resolve_device(settings.device)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    for bars in (disable_diffusers_bars, disable_transformers_bars):
        bars()  # logs are for lines
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder,
        dtype=dtype,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        local_files_only=True,
    ).to(device)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.eval().requires_grad_(False)
    card = folder / CARD
    return DiffusionModel(
        name=settings.path if settings.path == EMBEDDED else folder.name,
        working=Working.model_validate(json.loads(card.read_text()) if card.exists() else {}),
        unet=pipeline.unet,
        vae=pipeline.vae,
        text_encoder=pipeline.text_encoder,
        tokenizer=pipeline.tokenizer,
        scheduler=DDIMScheduler.from_config(pipeline.scheduler.config),
        device=device,
        dtype=dtype,
    )


def folder_of(settings: ModelSettings) -> Path:
    """Where the configured base model lies; BaseModelMissing where it does not."""
    folder = EMBEDDED_FOLDER if settings.path == EMBEDDED else Path(settings.path).expanduser()
    if not (folder / "model_index.json").is_file():
        raise BaseModelMissing(
            f"no diffusers model at {folder}: set PHOTOG_MODEL__PATH to a folder with model_index.json"
        )
    return folder


def resolve_device(name: str) -> torch.device:
    """`auto` as the device that is there; any other name as it is."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)
