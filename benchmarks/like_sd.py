"""A base model with the proportions of Stable Diffusion 1.5, small enough to train on a laptop's CPU.

Encoding a picture takes 1.3 times the FLOPs of the UNet's forward pass at 256 px; for the real model at 512 px it is
1.4 times. Its attention heads are 32 or 64 channels wide, those of the real model 40 to 160: with narrower heads a CPU
would spend most of a step on softmax, which is not so with the real model.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel

from tests.tiny_base import TEXT_WIDTH, make_tiny_base


def make(folder: Path, size: int) -> Path:
    """Write the pipeline with random weights to `folder`, and return `folder`."""
    tiny = StableDiffusionPipeline.from_pretrained(make_tiny_base(folder / "text", size), local_files_only=True)
    torch.manual_seed(0)
    assert isinstance(tiny.text_encoder, CLIPTextModel)
    StableDiffusionPipeline(
        unet=UNet2DConditionModel(
            sample_size=size // 8,
            block_out_channels=(64, 128),
            layers_per_block=2,
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=TEXT_WIDTH,
            attention_head_dim=2,  # the number of heads, despite its name
        ),
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(24, 48, 72, 72),
            layers_per_block=2,
            norm_num_groups=24,
            latent_channels=4,
            sample_size=size,
        ),
        text_encoder=tiny.text_encoder,
        tokenizer=tiny.tokenizer,
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    (folder / "photog.json").write_text(f'{{"size": {size}, "guidance": 5.0}}')
    return folder
