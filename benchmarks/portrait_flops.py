"""Counts the FLOPs of one face at the real sizes of SD 1.5, for photog and for EasyPhoto's recipe.

    python -m benchmarks.portrait_flops

It runs on the meta device, where tensors have shapes but no values. The first columns have equal steps and denoising
strengths, the contract's defaults: 50 x 0.45 and 20 x 0.30. EasyPhoto's recipe is that of its diffusers edition
(aigc-apps/EasyPhoto at ba2c314): three ControlNets (canny, openpose, color) in the first diffusion and two (canny,
tile) in the second, in guess mode, so with the prompt only; guidance in every step; and
StableDiffusionControlNetInpaintPipeline. Ours is counted by running `Diffuser` itself with the ControlNets that
docs/models.md names, so that work which it skips is not counted.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel

from benchmarks.train_flops import CLIP_L, SD15, TERA, VAE
from functions.generate.diffusion.img2img import Denoising, Diffuser
from functions.generate.diffusion.inpaint_region import InpaintRegion
from shared.faces import Box
from shared.models.conditioning import TextStates
from shared.models.controls import SCALES, Control, prepare_control
from shared.models.profile import ModelProfile
from shared.models.step_count import StepCount
from shared.models.unet_model import UNetModel
from shared.settings import ControlSettings, FewStepSettings

EASYPHOTO = ((50, 0.45, 3), (20, 0.30, 2))  # steps, denoising strength and ControlNets of each diffusion
PARTS = ("UNet", "ControlNets", "hints", "VAE encode", "VAE decode", "words")
TARGETS = {"equal steps": 0.7, "few-step LoRA": 0.25}


@dataclass
class Cost:
    """TFLOP and calls of each part."""

    flop: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    calls: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))

    def add(self, part: str, flop: float, pictures: float = 1) -> None:
        self.flop[part] += flop
        self.calls[part] += pictures

    @property
    def total(self) -> float:
        return sum(self.flop.values())


@dataclass(frozen=True, eq=False)
class Networks:
    """SD 1.5's networks without weights."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text: CLIPTextModel

    def control(self) -> ControlNetModel:
        with torch.device("meta"):
            return ControlNetModel(cross_attention_dim=768, attention_head_dim=8).eval()


class Watched:
    """Makes networks compute on the meta device but return zeros on the CPU, so that the code around them can run."""

    def __init__(self, cost: Cost) -> None:
        self._cost = cost

    def over(self, call: Callable[..., Any], part: str) -> Callable[..., Any]:
        """Wrap a call so that it counts as `part`; cost and result are remembered for calls with the same shapes."""
        known: dict[str, tuple[float, Any]] = {}

        def counting(*arguments: Any, **named: Any) -> Any:
            shapes, on_meta = _shapes((arguments, named)), tree_map_only(torch.Tensor, _to_meta, (arguments, named))
            if shapes not in known:
                with torch.no_grad(), FlopCounterMode(display=False) as counter:
                    answer = call(*on_meta[0], **on_meta[1])
                known[shapes] = counter.get_total_flops() / TERA, answer
            flop, answer = known[shapes]
            self._cost.add(part, flop, len(arguments[0]))
            return tree_map_only(torch.Tensor, _zeros, answer)

        return counting

    def model(self, parts: Networks, profile: ModelProfile) -> UNetModel:
        """Return the base model with counted networks; it needs no tokenizer."""
        parts.unet.forward = self.over(parts.unet.forward, "UNet")
        vae, encode, decode = parts.vae, parts.vae.encode, parts.vae.decode
        encoded = self.over(lambda pixels: encode(pixels).latent_dist.mode(), "VAE encode")
        vae.encode = lambda pixels: SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: encoded(pixels)))
        vae.decode = self.over(decode, "VAE decode")
        tokenizer: Any = None
        return UNetModel(
            "sd15", profile, parts.unet, vae, parts.text, tokenizer, scheduler(), torch.device("cpu"), torch.float32
        )

    def control(self, kind: str, net: ControlNetModel) -> Control:
        """Return a counted ControlNet with the default scales and interval of its kind."""
        settings = ControlSettings.model_validate({"kind": kind, "path": "any"})
        control = prepare_control(net, settings, *SCALES[kind])
        net.forward = self.over(net.forward, "ControlNets")
        control.embed.forward = self.over(control.embed.forward, "hints")
        return control


def main() -> int:
    """Count and print the tables; return 1 if a target is missed."""
    theirs = easyphoto()
    columns = {
        "EasyPhoto": theirs,
        "equal steps": ours(working()),
        "no controls": ours(working(), kinds=()),
        "few-step LoRA": ours(few(), kinds=()),
        "few-step, canny": ours(few(), kinds=("canny",)),
    }
    print(f"{'TFLOP a face (pictures through it)':<36}" + "".join(f"{name:>20}" for name in columns))
    for part in PARTS:
        cells = "".join(f"{cost.flop[part]:>12.2f} {f'({cost.calls[part]:.0f})':>7}" for cost in columns.values())
        print(f"{part:<36}{cells}")
    print(f"{'together':<36}" + "".join(f"{cost.total:>12.2f}        " for cost in columns.values()))
    print(f"{'of EasyPhoto':<36}" + "".join(f"{cost.total / theirs.total:>12.3f}        " for cost in columns.values()))
    explain(columns["equal steps"], theirs)
    missed = [name for name, most in TARGETS.items() if columns[name].total / theirs.total > most]
    print("missed: " + ", ".join(missed) if missed else f"all within the targets {TARGETS}")
    return 1 if missed else 0


def networks() -> Networks:
    """Make new networks on the meta device."""
    with torch.device("meta"):
        text = CLIPTextModel(CLIPTextConfig(**CLIP_L, num_attention_heads=12))
        return Networks(UNet2DConditionModel(**SD15).eval(), AutoencoderKL(**VAE).eval(), text.eval())


def working() -> ModelProfile:
    """Return the default profile of SD 1.5."""
    return ModelProfile()


def few() -> ModelProfile:
    """Return the profile of SD 1.5 with a fused few-step LoRA, which changes no shapes."""
    steps = FewStepSettings(path="any").steps
    return working().model_copy(update={"guidance": 1.0, "most_steps": steps})


def count_flops(work: Callable[[], object]) -> float:
    """Return the TFLOP of a call."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / TERA


def easyphoto() -> Cost:
    """Count the calls of EasyPhoto's pipeline.

    Each diffusion encodes the prompts, the picture and the masked picture once, and decodes once.
    """
    parts, cost = networks(), Cost()
    net = parts.control()
    latents, states = torch.zeros(1, 4, 64, 64, device="meta"), torch.zeros(1, 77, 768, device="meta")
    shown, picture = torch.zeros(1, 3, 512, 512, device="meta"), torch.zeros(1, 3, 512, 512, device="meta")
    time = torch.ones(1, device="meta")
    unet = count_flops(lambda: parts.unet(latents, time, states))
    control = count_flops(lambda: net(latents, time, states, shown))  # which embeds the picture each time
    encode, decode = count_flops(lambda: parts.vae.encode(picture)), count_flops(lambda: parts.vae.decode(latents))
    words = count_flops(lambda: parts.text(torch.zeros(1, 77, dtype=torch.long, device="meta")))
    for steps, strength, nets in EASYPHOTO:
        evaluations = Denoising(steps, strength).effective
        cost.add("UNet", 2 * evaluations * unet, 2 * evaluations)
        cost.add("ControlNets", nets * evaluations * control, nets * evaluations)
        cost.add("VAE encode", 2 * encode, 2)
        cost.add("VAE decode", decode)
        cost.add("words", 2 * words, 2)
    return cost


def ours(profile: ModelProfile, kinds: Sequence[str] = tuple(SCALES)) -> Cost:
    """Count both diffusions of a face by `Diffuser`; the prompts are cached from earlier requests."""
    parts, cost = networks(), Cost()
    watched = Watched(cost)
    controls = [watched.control(kind, parts.control()) for kind in kinds]
    diffuser = Diffuser(watched.model(parts, profile), controls)
    words = TextStates(torch.zeros(1, 77, 768))
    side = profile.size
    canvas = InpaintRegion(
        np.zeros((side, side, 3), np.uint8),
        Box(0, 0, side, side),
        np.ones((side, side), np.float32),
        np.zeros((68, 2)),
        (words, words),
        seed=0,
    )
    for first, (steps, strength, _) in zip((True, False), EASYPHOTO, strict=True):
        diffuser.repaint(
            [canvas], Denoising(steps, strength, "first" if first else "second", StepCount(profile.most_steps))
        )
    return cost


def scheduler() -> DDIMScheduler:
    """Return the scheduler of SD 1.5."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def explain(cost: Cost, theirs: Cost) -> None:
    """Print which work photog skips at equal steps, and why."""
    evaluations = theirs.calls["UNet"] / 2
    lines = (
        (
            "UNet",
            f"the negative prompt in {cost.calls['UNet'] - evaluations:.0f} of {evaluations:.0f} evaluations only: "
            f"guidance between the noise levels {working().guided}",
        ),
        (
            "ControlNets",
            "in the first 0.6 of each diffusion only; none for color, which the noised picture itself carries; "
            "pictures are embedded once",
        ),
        ("VAE encode", "not of the masked picture, which a UNet with 4 channels never sees"),
        ("VAE decode", "one more per diffusion, of the unchanged picture, so that only the difference is added back"),
        ("words", "cached between requests"),
    )
    for part, why in lines:
        print(f"{part:<12}{cost.flop[part] - theirs.flop[part]:>+8.2f}  {why}")


def _shapes(arguments: Any) -> str:
    return str([leaf.shape if isinstance(leaf, torch.Tensor) else bool(leaf) for leaf in tree_leaves(arguments)])


def _to_meta(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to("meta")


def _zeros(tensor: torch.Tensor) -> torch.Tensor:
    return torch.zeros(tensor.shape, dtype=tensor.dtype)


if __name__ == "__main__":
    sys.exit(main())
