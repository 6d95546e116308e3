"""The architectures of base models that are known: how each is recognized, and what suits it where nothing is set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """What is known of an architecture without its weights.

    Attributes:
        title: its name for people.
        pipelines: classes of diffusers' pipelines whose folders have it, by the name in `model_index.json`.
        profile: fields of `ModelProfile` for models without a `photog.json`.
        training: fields of the training plan that differ from Stable Diffusion 1.5's.
        kohya: its name in the metadata of LoRA files in kohya's format.
    """

    title: str
    pipelines: tuple[str, ...]
    kohya: str
    profile: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    training: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


ARCHITECTURES = {
    "sd15": Architecture("Stable Diffusion 1.5", ("StableDiffusionPipeline",), "sd_v1"),
    "sdxl": Architecture(
        "Stable Diffusion XL",
        ("StableDiffusionXLPipeline",),
        "sdxl_base_v1-0",
        profile={"size": 1024, "guided": (0.28, 5.42)},  # the size of its training, its interval of guidance
        training={
            "rank": 8,  # 70 attention blocks instead of 16: as many weights as rank 28 on SD 1.5
            "alpha": 8,
            "batch": 1,  # 13 GB at 1024 px in bfloat16; four need a card of 40 GB
            "learning_rate": 1e-4,  # the rate of diffusers and kohya for a batch of one at this size
        },
    ),
}
