"""Masked image-to-image diffusion of faces, which adds only the difference to the picture.

The crop is resized to the base model's working size, encoded, noised, denoised and decoded. Decoded-after minus
decoded-before is enlarged and added to the picture: the autoencoder's losses cancel out, and detail of the template
that is finer than the model's pixels stays.

Several faces go through in one batch, each with a different noise, prompt, set of control images and LoRA; a face alone
comes out as in a batch except for the rounding of floats. Computation without effect is skipped: ControlNets run only
while their scale is above 0, and only for the prompt, not for the negative prompt (diffusers' `guess_mode`); their
images are embedded once; the cross-attention keys and values of a prompt are computed once (`cross_attention_cache`);
and the negative prompt is used only between the noise levels at which guidance matters (`ModelProfile.guided`).
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
from numpy.typing import NDArray

from functions.generate.diffusion import control_images as drawing
from functions.generate.diffusion.cross_attention_cache import cache_cross_attention
from functions.generate.diffusion.inpaint_region import InpaintRegion
from shared.errors import PhotogError
from shared.imaging.array_types import Image
from shared.imaging.quantization import ADVICE
from shared.models import latent_codec
from shared.models.conditioning import Conditioning, Residuals, guide, predict_noise, run_controlnet
from shared.models.controls import Control
from shared.models.determinism import deterministic
from shared.models.diffusion import DiffusionModel
from shared.models.noise import add_noise
from shared.models.transfers import copy_to_device

FINEST_FEW = 50  # steps of the finest schedule that LCM and TCD were distilled with
DECODED_AT_ONCE = 1024 * 1024  # pixels per autoencoder pass on a GPU: 1.6 GB in half precision, 3.2 in float32


class DiffusionFailed(PhotogError):
    """Raised when the base model with the active LoRAs produces values that are not finite.

    Attributes:
        canvases: indices of the canvases that have such values.
    """

    def __init__(self, canvases: list[int]) -> None:
        super().__init__(f"the diffusion produced values that are not finite: {ADVICE}")
        self.canvases = canvases


@dataclass(frozen=True)
class Denoising:
    """The number of steps and the denoising strength of a diffusion.

    Attributes:
        steps: steps of the whole schedule.
        strength: denoising strength, 0 to 1; the share of the schedule that is run.
        diffusion: "first" or "second"; the ControlNets' scales depend on it.
        most: most steps of a distilled model's schedule, to which `steps` is limited; None for other models.
    """

    steps: int
    strength: float
    diffusion: Literal["first", "second"] = "first"
    most: int | None = None

    @property
    def effective(self) -> int:
        """The number of network evaluations: steps x strength, as diffusers counts them.

        For a distilled model it is min(steps, most) x strength, rounded up: with at most 8 steps, 50 x 0.45 makes 4
        and 20 x 0.30 makes 3.
        """
        asked = min(int(self.steps * self.strength), self.steps)
        if self.most is None or asked == 0:
            return asked
        # 1e-9 is subtracted because 0.3 x 10, slightly above 3 in floats, would be rounded up to 4
        return min(asked, math.ceil(min(self.steps, self.most) * self.strength - 1e-9))

    @property
    def schedule(self) -> int:
        """The number of steps of the schedule of which the last `effective` are run.

        For a distilled model it is chosen so that the run starts as near to `strength` as possible.
        """
        if self.most is None or self.effective == 0:
            return self.steps
        return min(max(round(self.effective / self.strength), self.effective), FINEST_FEW)


@dataclass(frozen=True, eq=False)
class Sample:
    """A batch of faces, prepared for the network.

    Attributes:
        latents, mask: (B, C, h, w) and (B, 1, h, w), float32 whatever type the UNet computes in.
        words: the encoded prompts, batch B.
        both: the encoded negative prompts followed by the prompts, batch 2 B.
        hints: the ControlNets that are used in this diffusion, each with its embedded control images.
        generators: one per face, for its noise.
    """

    latents: torch.Tensor
    mask: torch.Tensor
    words: Conditioning
    both: Conditioning
    hints: list[tuple[Control, torch.Tensor]]
    generators: list[torch.Generator]


class Diffuser:
    """Repaints parts of pictures with a resident base model.

    Args:
        model: the base model.
        controls: the ControlNets to use.
    """

    def __init__(self, model: DiffusionModel, controls: Sequence[Control] = ()) -> None:
        self._model, self._controls = model, controls
        # a copy, because diffusers' schedulers hold the state of a run
        self._scheduler = copy.deepcopy(model.scheduler)
        self.working = model.working
        for part in (model.unet, model.vae):
            part.to(memory_format=torch.channels_last)  # the fastest for convolutions: a tenth less time on a CPU

    def repaint(
        self, canvases: Sequence[InpaintRegion], denoising: Denoising, step_done: Callable[[], None] = lambda: None
    ) -> list[Image]:
        """Repaint what lies under each canvas's mask, all canvases in one batch.

        Args:
            canvases: one for each face.
            denoising: steps and strength, the same for all.
            step_done: called after each network evaluation.

        Returns:
            The picture of each canvas, RGB, uint8, (H, W, 3). The same inputs on the same device give the same bytes.

        Raises:
            DiffusionFailed: the model produced values that are not finite; says for which canvases.
        """
        if denoising.effective == 0:
            return [canvas.image.copy() for canvas in canvases]
        model = self._model
        with torch.inference_mode(), deterministic(model.device), cache_cross_attention(model.unet):
            sample = self._prepare(canvases, denoising)
            difference = self._decode_difference(self._denoise(sample, denoising, step_done), sample.latents)
        _require_finite(difference)
        return [canvas.with_difference(part) for canvas, part in zip(canvases, difference.numpy(), strict=True)]

    def _prepare(self, canvases: Sequence[InpaintRegion], denoising: Denoising) -> Sample:
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
                hints.append((control, control.embed(self._to_tensor(np.stack(drawn)).to(self._model.dtype))))
        words, negative = (
            reduce(Conditioning.concatenate, wordings)
            for wordings in zip(*(canvas.words for canvas in canvases), strict=True)
        )
        return Sample(
            latents,
            copy_to_device(torch.from_numpy(np.stack(masks))[:, None], latents.device),
            words,
            negative.concatenate(words),
            hints,
            [torch.Generator("cpu").manual_seed(canvas.seed) for canvas in canvases],
        )

    def _denoise(self, sample: Sample, denoising: Denoising, step_done: Callable[[], None]) -> torch.Tensor:
        scheduler, latents = self._scheduler, sample.latents
        # the schedule stays on the CPU: on the GPU, each decision that depends on a time would wait for it
        scheduler.set_timesteps(denoising.schedule, device="cpu")
        times = scheduler.timesteps[len(scheduler.timesteps) - denoising.effective :]
        device_times = copy_to_device(times, latents.device)
        drawn = [torch.randn(latents.shape[1:], generator=generator) for generator in sample.generators]
        noise = copy_to_device(torch.stack(drawn), latents.device)
        current = add_noise(scheduler, latents, noise, times[:1])
        for index, time in enumerate(times):
            seen = scheduler.scale_model_input(current, time).to(self._model.dtype)
            residuals = self._run_controls(sample, seen, device_times[index], denoising.diffusion, index, len(times))
            guided = self._is_guided(time)
            made = self._predict(sample, seen, device_times[index], residuals, guided).float()
            current = scheduler.step(made, time, current, generator=sample.generators).prev_sample
            following = times[index + 1 : index + 2]
            unchanged = add_noise(scheduler, latents, noise, following) if len(following) else latents
            current = sample.mask * current + (1 - sample.mask) * unchanged
            step_done()
        return current

    def _run_controls(
        self, sample: Sample, seen: torch.Tensor, time: torch.Tensor, diffusion: str, step: int, steps: int
    ) -> Residuals | None:
        scaled = [(control, hint, control.scale(diffusion, step, steps)) for control, hint in sample.hints]
        made = [run_controlnet(one.net, seen, time, sample.words, hint, scale) for one, hint, scale in scaled if scale]
        return reduce(Residuals.__add__, made) if made else None

    def _predict(
        self, sample: Sample, seen: torch.Tensor, time: torch.Tensor, residuals: Residuals | None, guided: bool
    ) -> torch.Tensor:
        unet = self._model.unet
        if not guided:
            return predict_noise(unet, seen, time, sample.words, residuals)
        twice = torch.cat([seen, seen])
        both = predict_noise(unet, twice, time, sample.both, residuals and residuals.after_nothing())
        without, with_words = both.chunk(2)
        return guide(without, with_words, self._model.working.guidance)

    def _is_guided(self, time: torch.Tensor) -> bool:
        """Return whether guidance matters at this time, which must be on the CPU."""
        working = self._model.working
        if working.guidance <= 1 or working.guided is None:
            return working.guidance > 1
        signal = float(self._scheduler.alphas_cumprod[int(time)])
        lowest, highest = working.guided
        return lowest**2 * signal < 1 - signal <= highest**2 * signal

    def _to_tensor(self, pictures: NDArray[np.uint8]) -> torch.Tensor:
        """Convert pictures, uint8, (B, H, W, 3), to float32 in [0, 1], (B, 3, H, W), on the model's device."""
        return copy_to_device(torch.from_numpy(pictures), self._model.device).permute(0, 3, 1, 2).float() / 255

    def _batch_size(self, count: int) -> int:
        """Return how many of `count` pictures go through the autoencoder in one pass."""
        if self._model.device.type == "cpu":
            return count
        return max(1, DECODED_AT_ONCE // self._model.working.size**2)

    def _encode(self, patches: NDArray[np.uint8]) -> torch.Tensor:
        parts = torch.split(self._to_tensor(patches), self._batch_size(len(patches)))
        return torch.cat([latent_codec.encode(self._model.vae, pixels * 2 - 1)[0] for pixels in parts])

    def _decode_difference(self, changed: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """Return decoded `changed` minus decoded `latents`, both (B, C, h, w).

        The result is float32, (B, size, size, 3), on the CPU, in 8-bit levels.
        """
        pairs = zip(*(torch.split(one, self._batch_size(len(one))) for one in (changed, latents)), strict=True)
        return torch.cat([self._decode(after) - self._decode(before) for after, before in pairs]).cpu()

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode latents to float32, (B, size, size, 3), in 8-bit levels.

        A picture with any value that is not finite is NaN throughout.
        """
        pixels, sound = latent_codec.decode(self._model.vae, latents)
        limited = torch.where(sound[:, None, None, None], pixels.clamp(-1, 1), torch.nan)
        return limited.float().permute(0, 2, 3, 1) * 127.5


def _require_finite(difference: torch.Tensor) -> None:
    failed = [index for index, part in enumerate(difference) if not torch.isfinite(part).all()]
    if failed:
        raise DiffusionFailed(failed)
