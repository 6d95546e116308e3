"""Counts what a training step and a portrait cost with each base model at its own size, beside diffusers' own.

    python -m benchmarks.base_models [MODEL...]

It runs on the meta device, where tensors have shapes but no values, so it needs neither weights nor memory. The script
is diffusers' example for LoRAs: `train_text_to_image_lora.py` for SD 1.5, `train_dreambooth_lora_*.py` for the others,
with their defaults, batch 1, our rank. The pipeline is that for inpainting, called twice with the contract's default
knobs, 50 steps x 0.45 and 20 x 0.30. Ours are counted by running `Diffuser` itself, without ControlNets, for a person
whose words are known. Memory is what `photog doctor` plans, in bfloat16; theirs has the parts that they leave on the
GPU.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, ModelMixin, UNet2DConditionModel
from peft import LoraConfig
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from benchmarks.portrait_flops import scheduler
from functions.generate.diffusion.img2img import Denoising, Diffuser
from functions.generate.diffusion.inpaint_region import InpaintRegion
from functions.train.plan import TrainingPlan
from shared.faces import Box
from shared.models.architectures import ARCHITECTURES
from shared.models.base_model import Conditioning, DiffusionModel
from shared.models.conditioning import TextEncoder, TextStates
from shared.models.planned_peak import weights
from shared.models.profile import ModelProfile
from shared.models.rectified_flow import WORDS, FlowModel
from shared.models.shapes import FLOW_PARTS, PARTS, build_flow_model
from shared.models.transformer_footprint import TransformerFootprint
from shared.models.unet_model import UNetModel

TERA, GIGA = 1e12, 1e9
BFLOAT16 = torch.bfloat16
CLIP_WORDS = 77
KNOBS = ((50, 0.45), (20, 0.30))  # steps and strength of the two diffusions
PHOTO = "flux2-klein, photo"  # with the person's photo beside the template
MODELS = ("sd15", "sdxl", "flux2-klein", PHOTO, "z-image")
EACH_STEP = {"sd15"}  # whose training script encodes the words in every step
MASKED = {"sd15", "sdxl", "z-image"}  # whose inpainting pipelines also encode the masked picture


@dataclass(frozen=True, eq=False)
class Subject:
    """A base model without weights, and what is asked of it.

    Attributes:
        name: one of MODELS.
        model: its parts are on the meta device.
    """

    name: str
    model: DiffusionModel

    @property
    def size(self) -> int:
        """Side of its pictures in pixels."""
        return self.model.working.size

    @property
    def latents(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture's latents."""
        if isinstance(self.model, FlowModel):
            return self.model.latent_shape
        return 4, self.size // 8, self.size // 8

    def words(self, count: int) -> Conditioning:
        """Return a conditioning of `count` pictures, on the default device."""
        if isinstance(self.model, FlowModel):
            return self.model.blank(count, WORDS)
        width = self.model.denoiser.config.cross_attention_dim
        added = {"text_embeds": torch.zeros(count, 1280), "time_ids": torch.zeros(count, 6)}
        return TextStates(torch.zeros(count, CLIP_WORDS, width), added if self.name == "sdxl" else None)

    def referring(self, count: int, pictures: int) -> Conditioning:
        """Return a conditioning of `count` pictures that refer to so many others."""
        words = self.words(count)
        for _ in range(pictures):
            words = self.model.referring(words, torch.zeros(count, *self.latents))
        return words


def main(arguments: list[str]) -> int:
    """Count and print both tables, and why ours cost less."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), metavar="MODEL", help=f"of {', '.join(MODELS)}")
    subjects = [make_subject(name) for name in parser.parse_args(arguments).models]
    print(
        f"{'a training step':<28}{'network':>9}{'encode':>8}{'words':>8}{'script':>9}{'ours':>9}{'ratio':>7}   TFLOP",
        end="",
    )
    print(f"{'script':>10}{'ours':>7}{'recomputed':>12}   GB planned")
    for subject in subjects:
        print_training(subject)
    print()
    print(f"{'a portrait, each face':<28}{'evaluations':>14}{'pipeline':>11}{'ours':>9}{'ratio':>7}   TFLOP", end="")
    print(f"{'pipeline':>10}{'ours':>7}   GB planned")
    for subject in subjects:
        print_portrait(subject)
    print(EXPLANATION)
    return 0


EXPLANATION = """
why a training step costs less: pictures and words are encoded once, before the first step, and their encoders leave the
GPU; the script keeps its autoencoder there, and encodes in each step. No gradient goes into frozen weights in either.
Layers are recomputed by themselves where the GPU's memory is short, which costs one more forward pass.

a portrait: words are encoded once for all requests; the masked picture, which networks without channels for it never
see, is not encoded; SD is guided between two levels of noise only, see docs/models.md. The unchanged picture is decoded
too, so that only the difference is brought back, which is why transformers, guided everywhere, cost the same. Faces of
one picture are one batch: four take as many calls of the network as one. The language model leaves the GPU, where the
pipeline's stays."""


def make_subject(name: str) -> Subject:
    """Make a base model of its published shape on the meta device."""
    kind = name.partition(",")[0]
    profile = ModelProfile.model_validate(dict(ARCHITECTURES[kind].profile) | {"reference": name == PHOTO})
    if kind in FLOW_PARTS:
        flow = build_flow_model(kind, FLOW_PARTS[kind], profile, BFLOAT16)
        shifted = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=kind == "flux2-klein")
        return Subject(name, replace(flow, scheduler=shifted))
    parts = PARTS[kind]
    with torch.device("meta"):
        text = CLIPTextModel(CLIPTextConfig(**parts["text_encoder"]))
        second = CLIPTextModelWithProjection(CLIPTextConfig(**parts["text_encoder_2"])) if kind == "sdxl" else None
        unet, vae = UNet2DConditionModel.from_config(parts["unet"]), AutoencoderKL.from_config(parts["vae"])
    tokenizer: Any = None
    unet_model = UNetModel(
        name=name,
        working=profile,
        unet=unet.eval(),
        vae=vae.eval(),
        text_encoder=text,
        tokenizer=tokenizer,
        scheduler=scheduler(),
        device=torch.device("cpu"),
        dtype=BFLOAT16,
        second=None if second is None else TextEncoder(second, tokenizer),
        architecture=kind,
    )
    return Subject(name, unet_model)


def count_flops(work: Callable[[], object]) -> float:
    """Return the TFLOP of a call on the meta device."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / TERA


@torch.no_grad()
def network_flops(subject: Subject, count: int, pictures: int = 0) -> float:
    """Return the TFLOP of one evaluation of the network for `count` pictures that refer to so many others."""
    return count_flops(lambda: subject.model.predict(*_noisy(subject, count), subject.referring(count, pictures)))


@torch.no_grad()
def encode_flops(subject: Subject) -> float:
    """Return the TFLOP of encoding one picture."""
    side = subject.size
    return count_flops(lambda: subject.model.autoencoder.encode(torch.zeros(1, 3, side, side)))


@torch.no_grad()
def decode_flops(subject: Subject) -> float:
    """Return the TFLOP of decoding one picture."""
    vae = subject.model.autoencoder
    side = subject.size // 8
    return count_flops(lambda: vae.decode(torch.zeros(1, vae.config.latent_channels, side, side)))


@torch.no_grad()
def words_flops(subject: Subject) -> float:
    """Return the TFLOP of encoding one prompt."""
    length = WORDS if isinstance(subject.model, FlowModel) else CLIP_WORDS
    tokens = torch.zeros(1, length, dtype=torch.long, device="meta")
    return sum(count_flops(lambda one=one: one(tokens)) for one in subject.model.encoders)  # type: ignore[misc]


def training_flops(subject: Subject) -> float:
    """Return the TFLOP of one forward and backward pass with an adapter."""
    plan = TrainingPlan.for_model(subject.model.working, subject.model.architecture)
    denoiser: ModelMixin = subject.model.denoiser.requires_grad_(False)
    denoiser.add_adapter(LoraConfig(r=plan.rank, lora_alpha=plan.alpha, target_modules=list(plan.targets)))

    def step() -> None:
        predicted = subject.model.predict(*_noisy(subject, 1), subject.words(1))
        torch.autograd.backward(predicted.square().mean())

    made = count_flops(step)
    denoiser.unload_lora()
    return made


def _noisy(subject: Subject, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(count, *subject.latents), torch.ones(count)


def print_training(subject: Subject) -> None:
    """Print the row of a training step."""
    model, plan = subject.model, TrainingPlan.for_model(subject.model.working, subject.model.architecture)
    network, encode = training_flops(subject), encode_flops(subject)
    words = words_flops(subject) if subject.name in EACH_STEP else 0.0
    script = network + encode + words
    peaks = [model.footprint().training(1, plan.rank, plan.targets, again).total / GIGA for again in (False, True)]
    held = [model.autoencoder, *(model.encoders if subject.name in EACH_STEP else [])]
    theirs = peaks[0] + sum(weights(part, BFLOAT16) for part in held) / GIGA
    print(f"{title(subject):<28}{network:>9.2f}{encode:>8.2f}{words:>8.2f}{script:>9.2f}{network:>9.2f}", end="")
    print(f"{network / script:>7.2f}{'':>8}{theirs:>10.1f}{peaks[0]:>7.1f}{peaks[1]:>12.1f}", flush=True)


def print_portrait(subject: Subject) -> None:
    """Print the row of a portrait with one face."""
    model, plan = subject.model, TrainingPlan.for_model(subject.model.working, subject.model.architecture)
    pictures = getattr(model, "pictures", 1) - 1
    counted = count_ours(subject)
    per_call = {count: network_flops(subject, count, pictures) for kind, count in counted if kind == "network"}
    encode, decode, words = encode_flops(subject), decode_flops(subject), words_flops(subject)
    ours = sum(per_call[count] * calls for (kind, count), calls in counted.items() if kind == "network")
    ours += encode * counted["encode", 1] + decode * counted["decode", 1]
    steps = sum(Denoising(*knobs, count=model.step_count).effective for knobs in KNOBS)
    encoded = 1 + (subject.name in MASKED) + max(0, pictures - 1)
    theirs = steps * network_flops(subject, 2, pictures) + len(KNOBS) * (encoded * encode + decode + 2 * words)
    evaluations = sum(count * calls for (kind, count), calls in counted.items() if kind == "network")
    footprint = model.footprint()
    planned = footprint.portraits(1, True, plan.rank, plan.targets)
    peak = planned.total
    if isinstance(footprint, TransformerFootprint):  # ours has the language model there only while nothing else works
        alone = replace(footprint, encoders=[]).portraits(1, True, plan.rank, plan.targets)
        peak = alone.total + sum(weights(part, BFLOAT16) for part in model.encoders)
    told = f"{2 * steps} / {evaluations}"
    print(f"{title(subject):<28}{told:>14}{theirs:>11.1f}{ours:>9.1f}{ours / theirs:>7.2f}{'':>8}", end="")
    print(f"{peak / GIGA:>10.1f}{planned.total / GIGA:>7.1f}", flush=True)


def count_ours(subject: Subject) -> Counter[tuple[str, int]]:
    """Run `Diffuser` for one face, and count network calls by their batch, and pictures encoded and decoded."""
    counted: Counter[tuple[str, int]] = Counter()
    model, side = subject.model, subject.size

    def predict(latents: torch.Tensor, *others: Any) -> torch.Tensor:
        counted["network", len(latents)] += 1
        return torch.zeros_like(latents)

    def encode(pixels: torch.Tensor) -> tuple[torch.Tensor, None]:
        counted["encode", 1] += len(pixels)
        return torch.zeros(len(pixels), *subject.latents), None

    def decode(latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        counted["decode", 1] += len(latents)
        return torch.zeros(len(latents), 3, side, side), torch.ones(len(latents), dtype=torch.bool)

    for method in (predict, encode, decode):
        object.__setattr__(model, method.__name__, method)
    picture, words = np.zeros((side, side, 3), np.uint8), subject.words(1)
    canvas = InpaintRegion(
        picture,
        Box(0, 0, side, side),
        np.ones((side, side), np.float32),
        np.zeros((68, 2)),
        (words, words),
        seed=0,
        reference=picture,
    )
    diffuser = Diffuser(model)
    for diffusion, (steps, strength) in zip(("first", "second"), KNOBS, strict=True):
        diffuser.repaint([canvas], Denoising(steps, strength, diffusion, model.step_count))  # type: ignore[arg-type]
    for method in (predict, encode, decode):
        object.__delattr__(model, method.__name__)
    return counted


def title(subject: Subject) -> str:
    """Return the model's name with its size."""
    return f"{subject.name}, {subject.size} px"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
