"""Masked image-to-image diffusion of faces, of which only the difference is brought back.

The crop is brought to the base model's working size, encoded, noised, denoised and decoded. What the picture gets is
decoded-after minus decoded-before, enlarged: the autoencoder's own losses cancel out, and detail of the template that
is finer than the model's pixels stays.

Several faces are one batch, each with its own noise, words, control pictures and LoRA; a face alone comes out as in
company but for the rounding of floats. Nothing is computed that counts for nothing: ControlNets run only while their
scale is above 0, on the side of the words alone (diffusers' `guess_mode`), their pictures are embedded once, what the
words are to each layer is worked out once (`recollection`), and the negative words are asked only between the noise
levels where guidance matters (`ModelProfile.guided`).
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from numpy.typing import NDArray

from functions.generate.diffusion import control_images as drawing
from functions.generate.diffusion.cross_attention_cache import cache_cross_attention
from functions.generate.diffusion.inpaint_region import InpaintRegion
from shared.errors import PhotogError
from shared.imaging.array_types import Image
from shared.imaging.quantization import ADVICE
from shared.models.conditioning import Conditioning, Residuals, predict_noise, run_controlnet
from shared.models.controls import Control
from shared.models.determinism import deterministic
from shared.models.diffusion import DiffusionModel
from shared.models.noise import noised
from shared.models.transfers import sent

FINEST_FEW = 50  # steps of the finest schedule that LCM and TCD were distilled on
DECODED_AT_ONCE = 1024 * 1024  # pixels of one pass on a card: 1.6 GB in half precision, 3.2 in float32


class DiffusionFailed(PhotogError):
    """The base model, with what it wore, made values that are no numbers.

    Attributes:
        canvases: indices of those that have them.
    """

    def __init__(self, canvases: list[int]) -> None:
        super().__init__(f"the diffusion made values that are no numbers: {ADVICE}")
        self.canvases = canvases


@dataclass(frozen=True)
class Denoising:
    """How strongly to repaint.

    Attributes:
        steps: of the whole schedule.
        strength: 0 to 1; the share of the schedule that is run.
        diffusion: which of the two it is; the ControlNets' scales depend on it.
        most: steps of a distilled model's schedule; more of them are asked for in vain.
    """

    steps: int
    strength: float
    diffusion: Literal["first", "second"] = "first"
    most: int | None = None

    @property
    def effective(self) -> int:
        """Network evaluations: steps x strength, as diffusers counts them.

        Of a distilled model min(steps, most) x strength, rounded up: 8 steps make 4 of 50 x 0.45 and 3 of 20 x 0.30.
        """
        asked = min(int(self.steps * self.strength), self.steps)
        if self.most is None or asked == 0:
            return asked
        # the difference keeps 0.3 x 10 from being 4
        return min(asked, math.ceil(min(self.steps, self.most) * self.strength - 1e-9))

    @property
    def schedule(self) -> int:
        """Steps of the schedule whose last `effective` ones are run; begins as near to `strength` as it can."""
        if self.most is None or self.effective == 0:
            return self.steps
        return min(max(round(self.effective / self.strength), self.effective), FINEST_FEW)


@dataclass(frozen=True, eq=False)
class Sample:
    """A batch of faces as the network has them.

    Attributes:
        latents, mask: (B, C, h, w) and (B, 1, h, w), float32 whatever the UNet computes in.
        words: of B pictures.
        both: the negative ones, then these, of 2 B.
        hints: embedded pictures of the ControlNets that count in this diffusion.
        generators: of the noise, one each.
    """

    latents: torch.Tensor
    mask: torch.Tensor
    words: Conditioning
    both: Conditioning
    hints: list[tuple[Control, torch.Tensor]]
    generators: list[torch.Generator]


class Diffuser:
    """A resident base model that repaints parts of pictures."""

    def __init__(self, model: DiffusionModel, controls: Sequence[Control] = ()) -> None:
        self._model, self._controls = model, controls
        # diffusers' schedulers keep the state of one run: this one is ours alone
        self._scheduler = copy.deepcopy(model.scheduler)
        self.working = model.working
        for part in (model.unet, model.vae):
            part.to(memory_format=torch.channels_last)  # what convolutions run fastest in: a tenth less on a CPU

    def repaint(
        self, canvases: Sequence[InpaintRegion], denoising: Denoising, step_done: Callable[[], None] = lambda: None
    ) -> list[Image]:
        """Repaint what lies under each canvas's mask, all of them in one batch.

        Args:
            canvases: one for each face.
            denoising: the same for all.
            step_done: called after each network evaluation.

        Returns:
            For each canvas its picture, RGB, uint8, (H, W, 3). Same inputs on one device give the same bytes.

        Raises DiffusionFailed, which says of which canvases, where the model made values that are no numbers.
        """
        if denoising.effective == 0:
            return [canvas.image.copy() for canvas in canvases]
        model = self._model
        with torch.inference_mode(), deterministic(model.device), cache_cross_attention(model.unet):
            sample = self._sample(canvases, denoising)
            difference = self._difference(self._denoise(sample, denoising, step_done), sample.latents)
        _check(difference)
        return [canvas.with_difference(part) for canvas, part in zip(canvases, difference.numpy(), strict=True)]

    def _sample(self, canvases: Sequence[InpaintRegion], denoising: Denoising) -> Sample:
        size = self._model.working.size
        patches = [canvas.patch(size) for canvas in canvases]
        latents = self._encode(np.stack(patches))
        sides = (latents.shape[3], latents.shape[2])
        masks = [cv2.resize(canvas.patch_mask(size), sides, interpolation=cv2.INTER_AREA) for canvas in canvases]
        hints = []
        for control in self._controls:
            if control.first if denoising.diffusion == "first" else control.second:
                drawn = [
                    drawing.draw_control_image(control.kind, patch, canvas.patch_landmarks(size))
                    for canvas, patch in zip(canvases, patches, strict=True)
                ]
                hints.append((control, control.embed(self._pixels(np.stack(drawn)).to(self._model.dtype))))
        words, negative = (
            reduce(Conditioning.followed_by, wordings)
            for wordings in zip(*(canvas.words for canvas in canvases), strict=True)
        )
        return Sample(
            latents,
            sent(torch.from_numpy(np.stack(masks))[:, None], latents.device),
            words,
            negative.followed_by(words),
            hints,
            [torch.Generator("cpu").manual_seed(canvas.seed) for canvas in canvases],
        )

    def _denoise(self, sample: Sample, denoising: Denoising, step_done: Callable[[], None]) -> torch.Tensor:
        scheduler, latents = self._scheduler, sample.latents
        # the schedule stays on the CPU: whatever is decided by a time would wait for the card there at each step
        scheduler.set_timesteps(denoising.schedule, device="cpu")
        times = scheduler.timesteps[len(scheduler.timesteps) - denoising.effective :]
        told = sent(times, latents.device)
        drawn = [torch.randn(latents.shape[1:], generator=generator) for generator in sample.generators]
        noise = sent(torch.stack(drawn), latents.device)
        current = noised(scheduler, latents, noise, times[:1])
        for index, time in enumerate(times):
            seen = scheduler.scale_model_input(current, time).to(self._model.dtype)
            residuals = self._controlled(sample, seen, told[index], denoising.diffusion, index, len(times))
            guided = self._guided(time)
            made = self._predicted(sample, seen, told[index], residuals, guided).float()
            current = scheduler.step(made, time, current, generator=sample.generators).prev_sample
            following = times[index + 1 : index + 2]
            unchanged = noised(scheduler, latents, noise, following) if len(following) else latents
            current = sample.mask * current + (1 - sample.mask) * unchanged
            step_done()
        return current

    def _controlled(
        self, sample: Sample, seen: torch.Tensor, time: torch.Tensor, diffusion: str, step: int, steps: int
    ) -> Residuals | None:
        scaled = [(control, hint, control.scale(diffusion, step, steps)) for control, hint in sample.hints]
        made = [run_controlnet(one.net, seen, time, sample.words, hint, scale) for one, hint, scale in scaled if scale]
        return reduce(Residuals.__add__, made) if made else None

    def _predicted(
        self, sample: Sample, seen: torch.Tensor, time: torch.Tensor, residuals: Residuals | None, guided: bool
    ) -> torch.Tensor:
        unet = self._model.unet
        if not guided:
            return predict_noise(unet, seen, time, sample.words, residuals)
        twice = torch.cat([seen, seen])
        both = predict_noise(unet, twice, time, sample.both, residuals and residuals.after_nothing())
        without, with_words = both.chunk(2)
        return without + self._model.working.guidance * (with_words - without)

    def _guided(self, time: torch.Tensor) -> bool:
        """Whether guidance matters at this time of the CPU."""
        working = self._model.working
        if working.guidance <= 1 or working.guided is None:
            return working.guidance > 1
        signal = float(self._scheduler.alphas_cumprod[int(time)])
        lowest, highest = working.guided
        return lowest**2 * signal < 1 - signal <= highest**2 * signal

    def _pixels(self, pictures: NDArray[np.uint8]) -> torch.Tensor:
        """(B, 3, H, W) float32 in 0..1 on the model's device."""
        return sent(torch.from_numpy(pictures), self._model.device).permute(0, 3, 1, 2).float() / 255

    def _at_once(self, count: int) -> int:
        """How many of so many pictures go through the autoencoder in one pass."""
        if self._model.device.type == "cpu":
            return count
        return max(1, DECODED_AT_ONCE // self._model.working.size**2)

    def _encode(self, patches: NDArray[np.uint8]) -> torch.Tensor:
        vae = self._model.vae
        shift, scale = _latent_scale(vae)
        latents = []
        for pixels in torch.split(self._pixels(patches), self._at_once(len(patches))):
            encoded = vae.encode((pixels * 2 - 1).to(vae.dtype))
            mode = encoded.latent_dist.mode() if isinstance(vae, AutoencoderKL) else encoded.latents
            latents.append((mode.float() - shift) * scale)
        return torch.cat(latents)

    def _difference(self, changed: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """What changed latents (B, C, h, w) show otherwise; (B, size, size, 3) float32 on the CPU, in 8-bit levels."""
        pairs = zip(*(torch.split(one, self._at_once(len(one))) for one in (changed, latents)), strict=True)
        return torch.cat([self._decode(after) - self._decode(before) for after, before in pairs]).cpu()

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(B, size, size, 3) float32, in units of 8-bit levels; NaN all over where one is no number."""
        vae = self._model.vae
        shift, scale = _latent_scale(vae)
        scaled = (latents / scale + shift).to(vae.dtype)
        pixels: torch.Tensor = vae.decode(scaled).sample
        # before they are limited: infinity would become white, and a norm of the decoder may make zeros of it
        sound = torch.isfinite(scaled).flatten(1).all(1) & torch.isfinite(pixels).flatten(1).all(1)
        limited = torch.where(sound[:, None, None, None], pixels.clamp(-1, 1), torch.nan)
        return limited.float().permute(0, 2, 3, 1) * 127.5


def _check(difference: torch.Tensor) -> None:
    failed = [index for index, part in enumerate(difference) if not torch.isfinite(part).all()]
    if failed:
        raise DiffusionFailed(failed)


def _latent_scale(vae: AutoencoderKL | AutoencoderTiny) -> tuple[float, float]:
    """What is taken off the encoder's output, and what that is multiplied by, before the UNet sees it."""
    return float(getattr(vae.config, "shift_factor", None) or 0.0), float(vae.config.scaling_factor)
