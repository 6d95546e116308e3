"""The shape of a base model that is only configured, by which its memory is planned without reading its weights."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderTiny,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
)

from shared.models import model_loading
from shared.models.diffusion import FLOW_MODELS, apply_distillation, choose_precision, resolve_device, working
from shared.models.licenses import KLEIN_4B, read_klein_width
from shared.models.model_loading import FLOWS
from shared.models.planned_peak import Footprint
from shared.models.profile import ModelProfile
from shared.models.quantization import Quantization, require_quantization
from shared.models.rectified_flow import FlowModel
from shared.models.transformer_footprint import TransformerFootprint
from shared.models.unet_footprint import UNetFootprint
from shared.settings import ModelSettings

VAE: dict[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
}
CLIP_L: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
CLIP_BIG_G: dict[str, Any] = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
}
# as in runwayml/stable-diffusion-v1-5 and stabilityai/stable-diffusion-xl-base-1.0, and in the models derived from them
PARTS: dict[str, dict[str, dict[str, Any]]] = {
    "sd15": {
        "unet": {"cross_attention_dim": 768, "attention_head_dim": 8},
        "vae": VAE,
        "text_encoder": CLIP_L,
    },
    "sdxl": {
        "unet": {
            "sample_size": 128,
            "block_out_channels": (320, 640, 1280),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": (1, 2, 10),
            "attention_head_dim": (5, 10, 20),
            "cross_attention_dim": 2048,
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
        "vae": VAE | {"force_upcast": True},
        "text_encoder": CLIP_L,
        "text_encoder_2": CLIP_BIG_G,
    },
}

QWEN3_4B: dict[str, Any] = {
    "vocab_size": 151_936,
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "tie_word_embeddings": True,
}
# as in the repositories that ARCHITECTURES names; what is left out is the default of diffusers' class
FLOW_PARTS: dict[str, dict[str, dict[str, Any]]] = {
    "z-image": {
        "transformer": {},
        "vae": VAE | {"latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False},
        "text_encoder": QWEN3_4B,
    },
    "flux2-klein": {
        "transformer": {
            "num_layers": 5,
            "num_single_layers": 20,
            "num_attention_heads": 24,
            "joint_attention_dim": 7680,
            "guidance_embeds": False,
        },
        "vae": {},
        "text_encoder": QWEN3_4B,
    },
}
QWEN3_8B = QWEN3_4B | {"hidden_size": 4096, "intermediate_size": 12_288, "tie_word_embeddings": False}
# as in black-forest-labs/FLUX.2-klein-base-9B; single files of both have the same names
KLEIN_9B: dict[str, dict[str, Any]] = FLOW_PARTS["flux2-klein"] | {
    "transformer": {
        "num_layers": 8,
        "num_single_layers": 24,
        "num_attention_heads": 32,
        "joint_attention_dim": 12_288,
        "guidance_embeds": False,
    },
    "text_encoder": QWEN3_8B,
}
FLOW_ENCODERS = {"z-image": Qwen3Model, "flux2-klein": Qwen3ForCausalLM}
FLOW_VAES = {"z-image": AutoencoderKL, "flux2-klein": AutoencoderKLFlux2}


def read_configured(settings: ModelSettings) -> tuple[str, ModelProfile, Footprint]:
    """Return architecture, profile and footprint of the configured model without loading it.

    A folder's configurations are read, a hub id's fetched; a single file is assumed to have those of its architecture.

    Raises:
        BaseModelMissing: the model is not there, or its configurations do not fit together.
        QuantizationUnavailable: its weights cannot be quantized as configured.
    """
    where = model_loading.resolve_source(settings)
    kind = model_loading.read_architecture(where)
    folder = Path(where.place) if where.kind == "folder" else settings.config
    parts, profile = (PARTS | FLOW_PARTS)[kind], working(where, kind)
    if folder is not None:
        folder = folder.expanduser()
        parts = {name: model_loading.read_json(folder / name / "config.json") for name in parts}
        profile = apply_distillation(profile, model_loading.read_json(folder / "model_index.json"))
    elif kind == "flux2-klein" and where.kind == "file" and read_klein_width(where) > KLEIN_4B:
        parts = KLEIN_9B
    elif where.kind == "hub":
        with model_loading.name_model(where.place):
            # any class of diffusers' models fetches any part's config.json
            parts = {name: AutoencoderKL.load_config(where.place, subfolder=name) for name in parts}
            profile = apply_distillation(profile, DiffusionPipeline.load_config(where.place))
    device = resolve_device(settings.device)
    dtype = choose_precision(device)
    require_quantization(settings.quantization, kind, device, where.kind == "file")
    with model_loading.name_model(where.place):
        if kind in FLOW_PARTS:
            return kind, profile, build_flow_footprint(kind, parts, profile, dtype, settings.quantization)
        return kind, profile, build_footprint(parts, profile.size, dtype)


def build_flow_footprint(
    kind: str,
    parts: dict[str, dict[str, Any]],
    profile: ModelProfile,
    dtype: torch.dtype,
    quantization: Quantization | None = None,
) -> TransformerFootprint:
    """Return the footprint of a model of rectified flow by its parts' configurations."""
    return build_flow_model(kind, parts, profile, dtype, quantization).footprint()


def build_flow_model(
    kind: str,
    parts: dict[str, dict[str, Any]],
    profile: ModelProfile,
    dtype: torch.dtype,
    quantization: Quantization | None = None,
) -> FlowModel:
    """Return a model of rectified flow by its parts' configurations; they are on the meta device."""
    with torch.device("meta"):
        pipeline = SimpleNamespace(
            transformer=FLOWS[kind][1].from_config(parts["transformer"]),
            vae=FLOW_VAES[kind].from_config(parts["vae"]),
            text_encoder=FLOW_ENCODERS[kind](Qwen3Config(**parts["text_encoder"])),
        )
    scheduler = FlowMatchEulerDiscreteScheduler()  # which takes no memory worth planning
    return FLOW_MODELS[kind](kind, kind, profile, pipeline, scheduler, torch.device("cpu"), dtype, quantization)


def build_footprint(parts: dict[str, dict[str, Any]], size: int, dtype: torch.dtype) -> UNetFootprint:
    """Return the footprint of what the parts' configurations describe; the parts are on the meta device."""
    vae_class = AutoencoderTiny if parts["vae"].get("_class_name") == "AutoencoderTiny" else AutoencoderKL
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(parts["unet"])
        vae = vae_class.from_config(parts["vae"])
        encoders: list[torch.nn.Module] = [CLIPTextModel(CLIPTextConfig(**parts["text_encoder"]))]
        if "text_encoder_2" in parts:
            encoders.append(CLIPTextModelWithProjection(CLIPTextConfig(**parts["text_encoder_2"])))
    upcast = dtype == torch.float16 and vae.config.get("force_upcast")
    return UNetFootprint(unet, vae, encoders, size, dtype, torch.float32 if upcast else dtype)
