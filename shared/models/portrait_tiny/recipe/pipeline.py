"""Exports the finished pipeline: checkpoints in, an ordinary diffusers folder in half precision out."""

import json
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from shared.models.diffusion import EMBEDDED_FOLDER, PROFILE_FILE, ModelProfile
from shared.models.portrait_tiny.recipe import text
from shared.models.portrait_tiny.recipe.autoencoder import Components, build_untrained
from shared.models.portrait_tiny.recipe.denoiser import Denoiser
from shared.models.portrait_tiny.recipe.portraits import FRAMING, SIZE, Portraits, crop_center, tensor
from shared.models.portrait_tiny.recipe.schedule import scheduler

WEIGHTS = EMBEDDED_FOLDER
WORKING = ModelProfile(
    size=SIZE,
    framing=FRAMING,
    guidance=1.5,
    pass_span=0.6,  # docs/models.md, "Not each step takes a pass"
    prompt="portrait photo of a {trigger} person",
    negative_prompt="",
)


def assemble(portraits: Portraits, work: Path) -> StableDiffusionPipeline:
    """Build a pipeline from the averaged weights of the checkpoints in `work`."""
    training = tensor([crop_center(image) for image in portraits.canvases[: portraits.training : 3]])
    tokens = text.tokenizer()
    vae, denoiser = build_untrained(Components.of(training)), Denoiser(tokens)
    vae.load_state_dict(torch.load(work / "decoder.pt", weights_only=True)["averaged"])
    denoiser.load_state_dict(torch.load(work / "denoiser.pt", weights_only=True)["averaged"])
    return StableDiffusionPipeline(
        vae=vae.to(memory_format=torch.contiguous_format),
        text_encoder=denoiser.text,
        tokenizer=tokens,
        unet=denoiser.unet,
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def export(portraits: Portraits, work: Path, out: Path) -> None:
    """Write the pipeline and its `photog.json` to `out`."""
    assemble(portraits, work).to(torch.float16).save_pretrained(out)
    (out / PROFILE_FILE).write_text(json.dumps(WORKING.model_dump(), indent=1) + "\n")
    _drop_derived(out / "vae" / "config.json")


def _drop_derived(path: Path) -> None:
    """Remove a key that AutoencoderTiny writes but warns about when it reads it; it computes the value anyway."""
    config = json.loads(path.read_text())
    config.pop("block_out_channels", None)
    path.write_text(json.dumps(config, indent=2) + "\n")
