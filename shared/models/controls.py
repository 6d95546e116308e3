"""ControlNets for a base model: loaded once, and skipped if their scales or interval leave them without effect."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from diffusers import ControlNetModel

from shared.devices import device_errors
from shared.models.base_model import Conditioning, DiffusionModel
from shared.models.conditioning import TextStates
from shared.models.diffusion import fit_denoiser
from shared.models.model_loading import BaseModelMissing
from shared.models.model_name import HUB_ID
from shared.models.residuals import Residuals
from shared.models.unet_model import UNetModel
from shared.settings import ControlSettings

# scales in the first and the second diffusion, as in EasyPhoto's recipe
SCALES = {"canny": (0.5, 1.0), "pose": (0.5, 0.0), "tile": (0.0, 1.0)}


@dataclass(frozen=True, eq=False)
class Control:
    """A loaded ControlNet.

    Attributes:
        kind: `canny`, `pose` or `tile`: the kind of picture that it is conditioned on.
        net: the network; it takes its picture embedded, so that it is embedded once and not in each step.
        embed: embeds a picture, (B, 3, S, S) in [0, 1].
        first, second: scales in the first and the second diffusion.
        start, end: shares of a diffusion's steps between which it is active.
    """

    kind: str
    net: ControlNetModel
    embed: torch.nn.Module
    first: float
    second: float
    start: float
    end: float

    def scale(self, diffusion: str, step: int, steps: int) -> float:
        """Return its scale at a step of the `first` or `second` diffusion; 0 if it need not be run.

        It is active in a step that lies in the interval as a whole, which is how diffusers interprets
        `control_guidance_start` and `control_guidance_end`.
        """
        inside = step / steps >= self.start and (step + 1) / steps <= self.end
        return (self.first if diffusion == "first" else self.second) if inside else 0.0

    def run(
        self, latents: torch.Tensor, times: torch.Tensor, words: Conditioning, hint: torch.Tensor, scale: float
    ) -> Residuals:
        """Run the network on noisy latents (B, C, h, w) and its embedded picture `hint`.

        Finer levels get smaller weights, as in diffusers' `guess_mode`, which is meant for nets that run with the
        prompt only and not with the negative prompt.
        """
        states = cast(TextStates, words)
        down, middle = self.net(
            latents,
            times,
            encoder_hidden_states=states.states,
            controlnet_cond=hint,
            conditioning_scale=scale,
            guess_mode=True,
            added_cond_kwargs=states.added,
            return_dict=False,
        )
        return Residuals(list(down), middle)


def load_controls(settings: Sequence[ControlSettings], model: DiffusionModel) -> list[Control]:
    """Load the configured ControlNets to the base model's device.

    Raises:
        BaseModelMissing: a ControlNet is missing, or does not fit the base model.
    """
    if settings and not isinstance(model, UNetModel):
        raise BaseModelMissing(f"{model.name} takes no ControlNets: unset PHOTOG_MODEL__CONTROLS")
    found = []
    for one in settings:
        first, second = (
            default if configured is None else configured
            for default, configured in zip(SCALES[one.kind], (one.first, one.second), strict=True)
        )
        if (first or second) and one.end > one.start:
            net = open_control(one.path, model.dtype).to(model.device).eval().requires_grad_(False)
            _check(one, net, model)
            fit_denoiser(model.device, net)
            found.append(prepare_control(net, one, first, second))
    return found


def prepare_control(net: ControlNetModel, settings: ControlSettings, first: float, second: float) -> Control:
    """Separate a ControlNet from the part that embeds its picture."""
    embed: torch.nn.Module = net.controlnet_cond_embedding
    net.controlnet_cond_embedding = torch.nn.Identity()
    return Control(settings.kind, net, embed, first, second, settings.start, settings.end)


def open_control(place: str, dtype: torch.dtype) -> ControlNetModel:
    """Open a ControlNet from a folder, a .safetensors file or the hub.

    BaseModelMissing if it cannot be opened, OutOfMemory if there is no memory for it.
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
    for name in ("cross_attention_dim", "block_out_channels", "in_channels"):
        control, base = getattr(net.config, name), getattr(model.denoiser.config, name)
        if (list(control) if isinstance(control, list | tuple) else control) != (
            list(base) if isinstance(base, list | tuple) else base
        ):
            raise BaseModelMissing(
                f"the {settings.kind} ControlNet {settings.path} was made for another kind of base model: its {name} "
                f"is {control}, that of {model.name} is {base}; set its path in PHOTOG_MODEL__CONTROLS to one that fits"
            )
