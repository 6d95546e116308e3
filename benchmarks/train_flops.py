"""Counts the FLOPs of a training step at the real sizes of SD 1.5 and SDXL, for photog and for diffusers' scripts.

    python -m benchmarks.train_flops

It runs on the meta device, where tensors have shapes but no values. The scripts encode the picture in each step, and
the one for SD 1.5 also the prompt; photog encodes both once. Batch 1, rank 16 on the attention projections, forward and
backward pass.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from peft import LoraConfig
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel

from functions.train.plan import TrainingPlan

SD15: dict[str, Any] = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
SDXL: dict[str, Any] = {
    "sample_size": 128,
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}
CLIP_L: dict[str, Any] = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
TERA = 1e12


def main() -> int:
    """Count and print the table."""
    print(f"{'':<22}{'UNet':>9}{'VAE encode':>12}{'words':>8}{'script':>9}{'ours':>8}{'ratio':>7}   TFLOP a step")
    for name, config, size, said in (("SD 1.5, 512 px", SD15, 512, True), ("SDXL, 1024 px", SDXL, 1024, False)):
        unet, picture = count_flops(partial(train_once, config)), count_flops(partial(encode_picture, size))
        text = count_flops(words) if said else 0.0
        script = unet + picture + text
        print(
            f"{name:<22}{unet:>9.3f}{picture:>12.3f}{text:>8.3f}{script:>9.3f}{unet:>8.3f}{script / unet:>7.2f}",
            flush=True,
        )
    return 0


def count_flops(work: Callable[[], None]) -> float:
    """Return the TFLOP of a call on the meta device."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / TERA


def train_once(config: dict[str, Any]) -> None:
    """Run one forward and backward pass of a UNet with an adapter."""
    unet = UNet2DConditionModel(**config).requires_grad_(False)
    plan = TrainingPlan()
    unet.add_adapter(LoraConfig(r=plan.rank, lora_alpha=plan.alpha, target_modules=list(plan.targets)))
    side = config["sample_size"]
    added = (
        {"text_embeds": torch.randn(1, 1280), "time_ids": torch.randn(1, 6)}
        if "addition_embed_type" in config
        else None
    )
    states = torch.randn(1, 77, config["cross_attention_dim"])
    predicted = unet(torch.randn(1, 4, side, side), torch.ones(1), states, added_cond_kwargs=added).sample
    torch.autograd.backward(predicted.square().mean())


@torch.no_grad()
def encode_picture(size: int) -> None:
    """Run the autoencoder's encoder on one picture."""
    AutoencoderKL(**VAE).encode(torch.randn(1, 3, size, size))


@torch.no_grad()
def words() -> None:
    """Run SD 1.5's text encoder on one prompt."""
    CLIPTextModel(CLIPTextConfig(**CLIP_L, num_attention_heads=12))(torch.zeros(1, 77, dtype=torch.long))


if __name__ == "__main__":
    sys.exit(main())
