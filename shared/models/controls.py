"""ControlNets beside a base model: loaded once, those that say nothing not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import ControlNetModel

from shared.devices import device_errors
from shared.models.diffusion import DiffusionModel, fit_convolutions
from shared.models.model_loading import HUB_ID, BaseModelMissing
from shared.settings import ControlSettings

# scales in the first and the second diffusion, as EasyPhoto's recipe has them
SCALES = {"canny": (0.5, 1.0), "pose": (0.5, 0.0), "tile": (0.0, 1.0)}


@dataclass(frozen=True, eq=False)
class Control:
    """A loaded ControlNet.

    Attributes:
        kind: `canny`, `pose` or `tile`: what it is shown.
        net: takes its picture embedded, so that this is done once and not in each step.
        embed: does it; of (B, 3, S, S) in 0..1.
        first, second: scale in the first and the second diffusion.
        start, end: shares of a diffusion's steps between which it counts.
    """

    kind: str
    net: ControlNetModel
    embed: torch.nn.Module
    first: float
    second: float
    start: float
    end: float

    def scale(self, diffusion: str, step: int, steps: int) -> float:
        """Its scale at a step of the `first` or `second` diffusion; 0 where it need not be run.

        A step counts when it lies inside of the interval as a whole, which is diffusers' reading of
        `control_guidance_start` and `control_guidance_end`.
        """
        inside = step / steps >= self.start and (step + 1) / steps <= self.end
        return (self.first if diffusion == "first" else self.second) if inside else 0.0


def load_controls(settings: Sequence[ControlSettings], model: DiffusionModel) -> list[Control]:
    """The configured ControlNets on the base model's device; BaseModelMissing where one is missing or does not fit."""
    found = []
    for one in settings:
        first, second = (
            own if asked is None else asked
            for own, asked in zip(SCALES[one.kind], (one.first, one.second), strict=True)
        )
        if (first or second) and one.end > one.start:
            net = open_control(one.path, model.dtype).to(model.device).eval().requires_grad_(False)
            _check(one, net, model)
            fit_convolutions(model.device, net)
            found.append(prepare_control(net, one, first, second))
    return found


def prepare_control(net: ControlNetModel, settings: ControlSettings, first: float, second: float) -> Control:
    """A ControlNet with the embedding of its picture taken apart."""
    embed: torch.nn.Module = net.controlnet_cond_embedding
    net.controlnet_cond_embedding = torch.nn.Identity()
    return Control(settings.kind, net, embed, first, second, settings.start, settings.end)


def open_control(place: str, dtype: torch.dtype) -> ControlNetModel:
    """A ControlNet of a folder, a .safetensors file or the hub; BaseModelMissing where there is none.

    OutOfMemory where there is no room for it.
    """
    path = Path(place).expanduser()
    try:
        with device_errors():
            if path.is_file():
                return ControlNetModel.from_single_file(str(path), torch_dtype=dtype)
            if path.is_dir():
                return ControlNetModel.from_pretrained(path, torch_dtype=dtype, local_files_only=True)
            if HUB_ID.fullmatch(place):
                return ControlNetModel.from_pretrained(place, torch_dtype=dtype)
    except (OSError, ValueError) as error:
        raise BaseModelMissing(f"the ControlNet {place} cannot be loaded: {error}") from error
    raise BaseModelMissing(
        f"no ControlNet at {path}: set its path in PHOTOG_MODEL__CONTROLS to a diffusers folder, a .safetensors file "
        "or a hub id such as owner/name"
    )


def _check(settings: ControlSettings, net: ControlNetModel, model: DiffusionModel) -> None:
    own, base = net.config, model.unet.config
    for name in ("cross_attention_dim", "block_out_channels", "in_channels"):
        ours, theirs = getattr(own, name), getattr(base, name)
        if (list(ours) if isinstance(ours, list | tuple) else ours) != (
            list(theirs) if isinstance(theirs, list | tuple) else theirs
        ):
            raise BaseModelMissing(
                f"the {settings.kind} ControlNet {settings.path} was made for another kind of base model: its {name} "
                f"is {ours}, that of {model.name} is {theirs}"
            )
