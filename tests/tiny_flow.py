"""Z-Image and FLUX.2 klein with random weights: the very classes, tokenizers too, small enough to build in a second."""

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from tokenizers import pre_tokenizers
from transformers import Qwen2Tokenizer, Qwen3Config, Qwen3ForCausalLM, Qwen3Model

from shared.models.profile import PROFILE_FILE, ModelProfile

WIDTH = 16  # of the language model's states
KLEIN_TAPS = 3  # layers of the language model that klein reads: 9, 18 and 27
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LEVELS = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
NARROW = {"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 4}


def make_tiny_z_image(folder: Path, size: int = 64, guidance: float = 1.0) -> Path:
    """Write a pipeline of Z-Image with random weights, the same ones every time; returns `folder`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer = _tokenizer()
        pipeline = ZImagePipeline(
            transformer=ZImageTransformer2DModel(
                in_channels=16,
                dim=32,
                n_layers=2,
                n_refiner_layers=1,
                n_heads=2,
                n_kv_heads=2,
                cap_feat_dim=WIDTH,
                axes_dims=[4, 6, 6],
                axes_lens=[1024, 64, 64],
            ),
            vae=_trained(
                AutoencoderKL(
                    **LEVELS,
                    **NARROW,
                    latent_channels=16,
                    scaling_factor=0.3611,
                    shift_factor=0.1159,
                    use_quant_conv=False,
                    use_post_quant_conv=False,
                )
            ),
            text_encoder=Qwen3Model(_language(tokenizer, layers=2)).eval(),
            tokenizer=tokenizer,
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        )
    return _save(pipeline, folder, size, guidance)


def make_tiny_klein(folder: Path, size: int = 64, guidance: float = 1.0, is_distilled: bool = False) -> Path:
    """Write a pipeline of FLUX.2 klein with random weights, the same ones every time; returns `folder`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer = _tokenizer()
        vae = _trained(AutoencoderKLFlux2(**LEVELS, **NARROW, latent_channels=8))
        vae.bn.running_mean.normal_()
        vae.bn.running_var.uniform_(0.5, 2.0)
        pipeline = Flux2KleinPipeline(
            transformer=Flux2Transformer2DModel(
                in_channels=32,
                num_layers=1,
                num_single_layers=2,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=KLEIN_TAPS * WIDTH,
                timestep_guidance_channels=32,
                axes_dims_rope=(4, 4, 4, 4),
                guidance_embeds=False,
            ),
            vae=vae,
            text_encoder=Qwen3ForCausalLM(_language(tokenizer, layers=28)).eval(),
            tokenizer=tokenizer,
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
            is_distilled=is_distilled,
        )
    return _save(pipeline, folder, size, guidance)


MAKERS = {"z-image": make_tiny_z_image, "flux2-klein": make_tiny_klein}


def _save(pipeline: ZImagePipeline | Flux2KleinPipeline, folder: Path, size: int, guidance: float) -> Path:
    pipeline.save_pretrained(folder)
    profile = ModelProfile(size=size, framing=1.75, guidance=guidance, guided=None, negative_prompt="")
    (folder / PROFILE_FILE).write_text(json.dumps(profile.model_dump()))
    return folder


def _trained(vae: AutoencoderKL | AutoencoderKLFlux2) -> AutoencoderKL | AutoencoderKLFlux2:
    """Bring latents of photos to a deviation of about 1, as those of trained autoencoders have."""
    with torch.no_grad():
        vae.encoder.conv_out.weight.mul_(4)
    return vae


def _language(tokenizer: Qwen2Tokenizer, layers: int) -> Qwen3Config:
    return Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=1024,
        initializer_range=0.3,  # states of the size that trained ones have, so that words matter
    )


def _tokenizer() -> Qwen2Tokenizer:
    """Byte level without merges: every letter is a token."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Qwen2Tokenizer(vocab={word: index for index, word in enumerate(words)}, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CHAT
    return tokenizer
