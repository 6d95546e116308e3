"""Masked image-to-image diffusion of faces, which adds only the difference to the picture.

The crop is resized to the base model's working size, encoded, noised, denoised and decoded. Decoded-after minus
decoded-before is enlarged and added to the picture: the autoencoder's losses cancel out, and detail of the template
that is finer than the model's pixels stays.

Several faces go through in one batch, each with a different noise, prompt, set of control images and LoRA; a face alone
comes out as in a batch except for the rounding of floats. Computation without effect is skipped: ControlNets run only
while their scale is above 0, and only for the prompt, not for the negative prompt (diffusers' `guess_mode`); their
images are embedded once; what depends on the prompt alone is computed once (`DiffusionModel.reusing`); where steps are
finer than the base model needs, not each takes a pass of its own (`ModelProfile.pass_span`); and the negative prompt is
used only between the noise levels at which guidance matters (`ModelProfile.guided`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from functions.generate.diffusion import control_images as drawing
from functions.generate.diffusion.inpaint_region import InpaintRegion, cut_square
from shared.errors import PhotogError
from shared.faces import Box
from shared.imaging.array_types import Image
from shared.imaging.quantization import ADVICE
from shared.models.base_model import Conditioning, DiffusionModel
from shared.models.controls import Control
from shared.models.determinism import deterministic
from shared.models.guidance import guide
from shared.models.network_passes import NetworkPasses
from shared.models.packed_layers import is_packed
from shared.models.residuals import Residuals
from shared.models.step_count import StepCount
from shared.models.transfers import copy_to_device

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
        count: the rule by which the base model counts steps.
    """

    steps: int
    strength: float
    diffusion: Literal["first", "second"] = "first"
    count: StepCount = field(default_factory=StepCount)

    @property
    def effective(self) -> int:
        """The number of network evaluations."""
        return self.count.evaluations(self.steps, self.strength)

    @property
    def schedule(self) -> int:
        """The number of steps of the schedule of which the last `effective` are run."""
        return self.count.schedule(self.steps, self.strength)


@dataclass(frozen=True, eq=False)
class Sample:
    """A batch of faces, prepared for the network.

    Attributes:
        latents, mask: (B, C, h, w) and (B, 1, h, w), float32 whatever type the denoiser computes in.
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
        self.working = model.working

    def warm_up(self, words: Conditioning) -> None:
        """Run each network once, so that the first portrait need not pack weights; for a CPU, where they are packed.

        Args:
            words: the encoded prompt of one picture.
        """
        model, size = self._model, self._model.working.size
        if model.device.type != "cpu" or not is_packed(model.denoiser):
            return
        with torch.inference_mode():
            latents = model.encode(torch.zeros(1, 3, size, size))[0]
            seen = model.referring(words, latents)
            model.predict(latents.to(model.dtype), model.schedule(10, 1).times[0], seen)
            model.decode(latents)

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
        with torch.inference_mode(), deterministic(model.device), model.reusing():
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
            reduce(lambda batch, one: batch.concatenate(one), wordings)
            for wordings in zip(*(canvas.words for canvas in canvases), strict=True)
        )
        for seen in (latents, *self._encode_references(canvases)):
            words, negative = (self._model.referring(wording, seen) for wording in (words, negative))
        return Sample(
            latents,
            copy_to_device(torch.from_numpy(np.stack(masks))[:, None], latents.device),
            words,
            negative.concatenate(words),
            hints,
            [torch.Generator("cpu").manual_seed(canvas.seed) for canvas in canvases],
        )

    def _encode_references(self, canvases: Sequence[InpaintRegion]) -> list[torch.Tensor]:
        """Return the latents of the people's photos, one tensor for the batch, if the base model looks at them."""
        size = self._model.working.size
        photos = [canvas.reference for canvas in canvases if canvas.reference is not None]
        if not self._model.refers_to_person or len(photos) < len(canvases):
            return []
        whole = [cut_square(photo, Box(0, 0, photo.shape[1], photo.shape[0]), size) for photo in photos]
        return [self._encode(np.stack(whole))]

    def _denoise(self, sample: Sample, denoising: Denoising, step_done: Callable[[], None]) -> torch.Tensor:
        latents = sample.latents
        schedule = self._model.schedule(denoising.schedule, denoising.effective)
        device_times = copy_to_device(schedule.times, latents.device)
        drawn = [torch.randn(latents.shape[1:], generator=generator) for generator in sample.generators]
        noise = copy_to_device(torch.stack(drawn), latents.device)
        current = schedule.add_noise(latents, noise, 0)
        # a ControlNet's scale ends suddenly, and predictions change with it
        passes = NetworkPasses(schedule, None if sample.hints else self._model.working.pass_span)
        for index, time in enumerate(device_times):
            seen = schedule.scale_input(current, index).to(self._model.dtype)
            guided = self._model.working.is_guided(schedule.noise_over_signal(index))
            residuals = self._run_controls(sample, seen, time, denoising.diffusion, index, len(schedule))
            made = passes.predict(index, guided, partial(self._predict, sample, seen, time, residuals, guided))
            current = schedule.step(made, current, index, sample.generators)
            current = sample.mask * current + (1 - sample.mask) * schedule.add_noise(latents, noise, index + 1)
            step_done()
        return current

    def _run_controls(
        self, sample: Sample, seen: torch.Tensor, time: torch.Tensor, diffusion: str, step: int, steps: int
    ) -> Residuals | None:
        scaled = [(control, hint, control.scale(diffusion, step, steps)) for control, hint in sample.hints]
        made = [one.run(seen, time, sample.words, hint, scale) for one, hint, scale in scaled if scale]
        return reduce(Residuals.__add__, made) if made else None

    def _predict(
        self, sample: Sample, seen: torch.Tensor, time: torch.Tensor, residuals: Residuals | None, guided: bool
    ) -> torch.Tensor:
        model = self._model
        if not guided:
            return model.predict(seen, time, sample.words, residuals).float()
        twice = torch.cat([seen, seen])
        both = model.predict(twice, time, sample.both, residuals and residuals.after_nothing())
        without, with_words = both.chunk(2)
        return guide(without, with_words, model.working.guidance).float()

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
        return torch.cat([self._model.encode(pixels * 2 - 1)[0] for pixels in parts])

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
        pixels, sound = self._model.decode(latents)
        limited = torch.where(sound[:, None, None, None], pixels.clamp(-1, 1), torch.nan)
        return limited.float().permute(0, 2, 3, 1) * 127.5


def _require_finite(difference: torch.Tensor) -> None:
    failed = [index for index, part in enumerate(difference) if not torch.isfinite(part).all()]
    if failed:
        raise DiffusionFailed(failed)
