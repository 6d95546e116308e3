"""The architectures of base models that are known: how each is recognized, and what suits it where nothing is set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

PREFIX = "model.diffusion_model."  # of the denoiser's tensors in files that hold other parts too, and in some others


@dataclass(frozen=True)
class Architecture:
    """What is known of an architecture without its weights.

    Attributes:
        title: its name for people.
        pipelines: classes of diffusers' pipelines whose folders have it, by the name in `model_index.json`.
        tensors: beginnings of names of tensors that a single file has all of, apart from PREFIX.
        profile: fields of `ModelProfile` for models without a `photog.json`.
        training: fields of the training plan that differ from Stable Diffusion 1.5's.
        quantizable: whether its denoiser may be quantized, see `quantization`.
        kohya: its name in the metadata of LoRA files in kohya's format.
        hub: the published model, whose other parts a single file of a transformer is completed with.
    """

    title: str
    pipelines: tuple[str, ...]
    tensors: tuple[str, ...]
    kohya: str
    hub: str | None = None
    profile: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    training: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    quantizable: bool = False


# pipelines of rectified flow guide everywhere, with an empty negative prompt unless they are told another one
FLOW_PROFILE: dict[str, Any] = {"size": 1024, "guided": None, "negative_prompt": ""}
# batch and rate of diffusers' scripts train_dreambooth_lora_z_image.py and ..._flux2_klein.py
FLOW_TRAINING: dict[str, Any] = {"rank": 16, "alpha": 16, "batch": 1, "learning_rate": 1e-4}
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
KLEIN_LAYERS = 24  # single-stream blocks of the larger klein; the smaller one has 20

# a single file is of the first architecture here whose tensors it has
ARCHITECTURES = {
    "sdxl": Architecture(
        "Stable Diffusion XL",
        ("StableDiffusionXLPipeline",),
        ("time_embed.", "conditioner.embedders.1."),  # the second text encoder, which only SDXL has
        "sdxl_base_v1-0",
        profile={"size": 1024, "guided": (0.28, 5.42)},  # the size of its training, its interval of guidance
        training={
            "rank": 8,  # 70 attention blocks instead of 16: as many weights as rank 28 on SD 1.5
            "alpha": 8,
            "batch": 1,  # 13 GB at 1024 px in bfloat16; four need a GPU of 40 GB
            "learning_rate": 1e-4,  # the rate of diffusers and kohya for a batch of one at this size
        },
    ),
    "sd15": Architecture("Stable Diffusion 1.5", ("StableDiffusionPipeline",), ("time_embed.",), "sd_v1"),
    "z-image": Architecture(
        "Z-Image",
        ("ZImagePipeline", "ZImageImg2ImgPipeline", "ZImageInpaintPipeline"),
        ("noise_refiner.", "layers.0.adaLN_modulation.0.weight"),
        "zimage",
        "Tongyi-MAI/Z-Image",
        profile=FLOW_PROFILE | {"guidance": 5.0},  # the model card's 4, which diffusers counts from 0
        training=FLOW_TRAINING | {"targets": ATTENTION},
        quantizable=True,
    ),
    "flux2-klein": Architecture(
        "FLUX.2 klein",
        ("Flux2KleinPipeline", "Flux2KleinInpaintPipeline"),
        ("single_stream_modulation.", "double_stream_modulation_img."),
        "flux2",
        "black-forest-labs/FLUX.2-klein-base-4B",
        profile=FLOW_PROFILE | {"guidance": 4.0},  # the model card's
        training=FLOW_TRAINING
        | {
            "targets": (
                *ATTENTION,
                "to_qkv_mlp_proj",
                # by their whole names: "attn.to_out" would also name the list around the other blocks' "to_out.0"
                *(f"single_transformer_blocks.{index}.attn.to_out" for index in range(KLEIN_LAYERS)),
            )
        },
        quantizable=True,
    ),
}
