"""SDXL's shape with random weights: two text encoders, pooled states, the picture's size as a condition."""

import json
from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from shared.models.diffusion import PROFILE_FILE, ModelProfile
from tests.tiny_base import (
    LATENT_CHANNELS,
    TEXT_LENGTH,
    TEXT_WIDTH,
    _autoencoder,
    _scheduler,
    _text_encoder,
    _tokenizer,
)

SECOND_WIDTH, POOLED, SIZE_WIDTH = 48, 24, 8


def make_tiny_sdxl(folder: Path, size: int = 64) -> Path:
    """Write the pipeline, the same weights every time; returns `folder`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer = _tokenizer()
        pipeline = StableDiffusionXLPipeline(
            unet=_unet(size),
            vae=_autoencoder(),
            text_encoder=_text_encoder(tokenizer),
            text_encoder_2=_second(tokenizer),
            tokenizer=tokenizer,
            tokenizer_2=tokenizer,
            scheduler=_scheduler(),
            add_watermarker=False,
        )
    pipeline.save_pretrained(folder)
    (folder / PROFILE_FILE).write_text(json.dumps(ModelProfile(size=size, framing=1.75, guidance=3.0).model_dump()))
    return folder


def _unet(size: int) -> UNet2DConditionModel:
    """No attention at the finest level and several layers of it below, as SDXL has them."""
    return UNet2DConditionModel(
        sample_size=size // 8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
        cross_attention_dim=TEXT_WIDTH + SECOND_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
        addition_embed_type="text_time",
        addition_time_embed_dim=SIZE_WIDTH,
        projection_class_embeddings_input_dim=6 * SIZE_WIDTH + POOLED,
    )


def _second(tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=SECOND_WIDTH,
            projection_dim=POOLED,
            intermediate_size=2 * SECOND_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=TEXT_LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
