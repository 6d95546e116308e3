"""A base model for tests: the shape of Stable Diffusion, random weights, small enough to build in a second."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, ControlNetModel, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from shared.models.diffusion import PROFILE_FILE, ModelProfile

TEXT_WIDTH = 32
TEXT_LENGTH = 77
LATENT_CHANNELS = 16
AMPLIFIED = 20.0  # brings what the random encoder makes of photos to a deviation of about 1, as trained ones have


def make_tiny_base(folder: Path, size: int = 64, channels: int = LATENT_CHANNELS) -> Path:
    """Write a pipeline with random weights, the same ones every time, that `shared.models.diffusion.load_model` loads.

    UNet of about 1 M parameters with cross attention, AutoencoderTiny that halves three times (64 px to 8 x 8 x 16),
    v-prediction and zero terminal SNR as portrait-tiny has them.

    Returns:
        `folder`, so that the call can stand where a path is wanted.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer = _tokenizer()
        pipeline = StableDiffusionPipeline(
            unet=_unet(size, channels),
            vae=_autoencoder(channels),
            text_encoder=_text_encoder(tokenizer),
            tokenizer=tokenizer,
            scheduler=_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.save_pretrained(folder)
    profile = ModelProfile(size=size, framing=1.75, guidance=1.0, prompt="photo of {trigger} person")
    (folder / PROFILE_FILE).write_text(json.dumps(profile.model_dump()))
    return folder


def make_tiny_control(folder: Path, unet: UNet2DConditionModel, seed: int = 0) -> Path:
    """Write a ControlNet for this UNet with random weights, those that begin as zeros too; returns `folder`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8, 8, 8))
        for part in (*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out):
            torch.nn.init.normal_(part.weight, std=0.1)
    net.save_pretrained(folder)
    return folder


def _unet(size: int, channels: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=size // 8,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def _autoencoder(channels: int = LATENT_CHANNELS) -> AutoencoderTiny:
    autoencoder = AutoencoderTiny(
        encoder_block_out_channels=(16, 16, 16, 16),
        decoder_block_out_channels=(16, 16, 16, 16),
        latent_channels=channels,
        num_encoder_blocks=(0, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
        scaling_factor=1.0,
    )
    with torch.no_grad():
        autoencoder.encoder.layers[-1].weight.mul_(AMPLIFIED)
    return autoencoder


def _tokenizer() -> CLIPTokenizer:
    """Byte level without merges: every word becomes its letters."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: index for index, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=TEXT_LENGTH)


def _text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TEXT_LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
    )
