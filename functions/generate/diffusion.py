"""Masked image-to-image diffusion of a face, of which only the difference is brought back.

The crop is brought to the base model's working size, encoded, noised, denoised and decoded. What the picture gets is
decoded-after minus decoded-before, enlarged: the autoencoder's own losses cancel out, and detail of the template that
is finer than the model's pixels stays.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from numpy.typing import NDArray

from shared.faces import Box
from shared.images import Image, Mask
from shared.models.conditioning import Conditioning, predicted
from shared.models.diffusion import DiffusionModel

Words = tuple[Conditioning, Conditioning]
"""The prompt and the negative prompt."""


@dataclass(frozen=True)
class Denoising:
    """How strongly to repaint.

    Attributes:
        steps: of the whole schedule.
        strength: 0 to 1; the share of the schedule that is run.
        seed: of the noise.
    """

    steps: int
    strength: float
    seed: int

    @property
    def effective(self) -> int:
        """Network evaluations that are left of the steps, as diffusers counts them."""
        return min(int(self.steps * self.strength), self.steps)


class Diffuser:
    """A resident base model that repaints parts of pictures."""

    def __init__(self, model: DiffusionModel) -> None:
        self._model = model
        # diffusers' schedulers keep the state of one run: this one is ours alone
        self._scheduler = copy.deepcopy(model.scheduler)

    def repaint(
        self,
        image: Image,
        square: Box,
        mask: Mask,
        words: Words,
        denoising: Denoising,
        step_done: Callable[[], None] = lambda: None,
    ) -> Image:
        """Repaint what lies under `mask` inside of `square`.

        Args:
            image: RGB, uint8, (H, W, 3).
            square: what the model sees; may reach beyond the picture, which is then mirrored.
            mask: (H, W); the picture is bit-identical where it is 0.
            words: from `Prompts.of`.
            step_done: called after each network evaluation.

        Returns:
            RGB, uint8, (H, W, 3). Same inputs on one device give the same bytes.
        """
        if denoising.effective == 0:
            return image.copy()
        size = self._model.working.size
        patch = _cut(image, square, size)
        shown = _cut(mask, square, size)
        with torch.inference_mode():
            latents = self._encode(patch)
            kept = self._latent_mask(shown, latents)
            changed = self._denoise(latents, kept, words, denoising, step_done)
            difference = self._decode(changed) - self._decode(latents)
        return _added(image, difference.permute(1, 2, 0).numpy(), square, mask)

    def _denoise(
        self,
        latents: torch.Tensor,
        mask: torch.Tensor,
        words: Words,
        denoising: Denoising,
        step_done: Callable[[], None],
    ) -> torch.Tensor:
        scheduler, device = self._scheduler, self._model.device
        scheduler.set_timesteps(denoising.steps, device=device)
        times = scheduler.timesteps[len(scheduler.timesteps) - denoising.effective :]
        generator = torch.Generator("cpu").manual_seed(denoising.seed)
        noise = torch.randn(latents.shape, generator=generator).to(device, latents.dtype)
        guidance = self._model.working.guidance
        states = words[0] if guidance <= 1 else words[1].followed_by(words[0])
        current: torch.Tensor = scheduler.add_noise(latents, noise, times[:1])
        for index, time in enumerate(times):
            made = self._predict(current, time, states, guidance)
            current = scheduler.step(made, time, current).prev_sample
            following = times[index + 1 : index + 2]
            unchanged = scheduler.add_noise(latents, noise, following) if len(following) else latents
            current = mask * current + (1 - mask) * unchanged
            step_done()
        return current

    def _predict(
        self, current: torch.Tensor, time: torch.Tensor, states: Conditioning, guidance: float
    ) -> torch.Tensor:
        seen = self._scheduler.scale_model_input(current, time)
        if guidance <= 1:
            return predicted(self._model.unet, seen, time, states)
        without, with_words = predicted(self._model.unet, torch.cat([seen, seen]), time, states).chunk(2)
        return without + guidance * (with_words - without)

    def _encode(self, patch: Image) -> torch.Tensor:
        vae = self._model.vae
        pixels = torch.from_numpy(np.ascontiguousarray(patch)).permute(2, 0, 1)[None].float() / 127.5 - 1
        encoded = vae.encode(pixels.to(self._model.device, vae.dtype))
        latents: torch.Tensor = encoded.latent_dist.mode() if isinstance(vae, AutoencoderKL) else encoded.latents
        shift, scale = _latent_scale(vae)
        return ((latents - shift) * scale).to(self._model.dtype)

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(3, size, size) float32 on the CPU, in units of 8-bit levels."""
        vae = self._model.vae
        shift, scale = _latent_scale(vae)
        pixels: torch.Tensor = vae.decode((latents / scale + shift).to(vae.dtype)).sample[0]
        return pixels.clamp(-1, 1).float().cpu() * 127.5

    def _latent_mask(self, shown: Mask, latents: torch.Tensor) -> torch.Tensor:
        small = cv2.resize(shown, (latents.shape[3], latents.shape[2]), interpolation=cv2.INTER_AREA)
        return torch.from_numpy(small)[None, None].to(latents.device, latents.dtype)


def _latent_scale(vae: AutoencoderKL | AutoencoderTiny) -> tuple[float, float]:
    """What is taken off the encoder's output, and what that is multiplied by, before the UNet sees it."""
    return float(getattr(vae.config, "shift_factor", None) or 0.0), float(vae.config.scaling_factor)


def _cut(picture: Image | Mask, square: Box, size: int) -> Any:
    """The square of a picture or mask at `size`, mirrored beyond the border; reduced by area, enlarged by cubics."""
    left, top, right, bottom = square.rounded()
    height, width = picture.shape[:2]
    columns = _mirror(np.arange(left, max(right, left + 1)), width)
    rows = _mirror(np.arange(top, max(bottom, top + 1)), height)
    cut = np.ascontiguousarray(picture[rows[:, None], columns[None, :]])
    interpolation = cv2.INTER_AREA if len(rows) >= size else cv2.INTER_CUBIC
    return cv2.resize(cut, (size, size), interpolation=interpolation)


def _mirror(positions: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Positions beyond 0 .. length - 1 reflected into it, however far out they lie."""
    if length == 1:
        return np.zeros_like(positions)
    folded = np.abs(positions) % (2 * length - 2)
    mirrored: NDArray[np.int64] = np.minimum(folded, 2 * length - 2 - folded)
    return mirrored


def _added(image: Image, difference: NDArray[np.float32], square: Box, mask: Mask) -> Image:
    """The picture with the enlarged difference added inside of the square, as far as the mask lets it."""
    left, top, right, bottom = square.rounded()
    sides = max(right - left, 1), max(bottom - top, 1)
    interpolation = cv2.INTER_AREA if sides[0] < difference.shape[1] else cv2.INTER_LANCZOS4
    enlarged = cv2.resize(np.ascontiguousarray(difference), sides, interpolation=interpolation)
    rows = slice(max(top, 0), min(bottom, image.shape[0]))
    columns = slice(max(left, 0), min(right, image.shape[1]))
    part = enlarged[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    result = image.copy()
    summed = np.rint(image[rows, columns] + part * mask[rows, columns, None])
    result[rows, columns] = np.clip(summed, 0, 255).astype(np.uint8)
    return result
