"""The optimizer updates of a training, on cached latents; nothing in the loop waits for the device."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from functions.train.lora import LoraAdapter
from functions.train.plan import TrainingPlan
from functions.train.training_inputs import TrainingInputs
from shared.models.transfers import copy_all_to_cpu, copy_all_to_device, copy_to_device

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # AdamW's state for each parameter
SCALE, GROWTH = "scaler.scale", "scaler.growth"  # the gradient scaler's state, which it adjusts by itself

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class OptimizerStep:
    """An update that has been made.

    Attributes:
        step: number of the update, from 1.
        loss: a scalar on the device; reading it waits for the device.
    """

    step: int
    loss: torch.Tensor


class OptimizerSteps:
    """Iterator over the updates of one training; each update is made when the caller asks for the next item.

    Batches go through all crops before any crop is used again. The time steps of a batch are spread evenly over their
    distribution, which removes most of the loss's noise (Kingma et al., "Variational Diffusion Models", 2021, appendix
    I.1).

    Attributes:
        done: number of updates that the adapter has had.
    """

    def __init__(self, adapter: LoraAdapter, material: TrainingInputs, plan: TrainingPlan, steps: int) -> None:
        device = material.cache.latents.mean.device
        self._parameters, self._material, self._plan = adapter.parameters, material, plan
        self._steps, self.done = steps, 0
        self._generator = torch.Generator(device).manual_seed(plan.seed)
        self._optimizer = torch.optim.AdamW(self._parameters, lr=plan.learning_rate, weight_decay=1e-2, fused=True)
        # float16 gradients underflow unless the loss is scaled up; bfloat16 has the range of float32
        self._scaler = torch.amp.GradScaler(device.type, enabled=material.loss.dtype == torch.float16)
        self._batches = copy_to_device(photo_order(len(material.cache), plan.pictures, steps, plan.seed), device)

    def __iter__(self) -> Iterator[OptimizerStep]:
        while self.done < self._steps:
            yield self._update()

    def state(self) -> Tensors:
        """Copy everything that the next update depends on to the CPU.

        These are the parameters, the optimizer's moments, the noise generator's state and the gradient scaler's.
        """
        tensors = {f"{index}.parameter": parameter for index, parameter in enumerate(self._parameters)}
        for index, parameter in enumerate(self._parameters):
            moments = self._optimizer.state[parameter]
            tensors |= {f"{index}.{name}": moments[name] for name in MOMENTS}
        copies = dict(zip(tensors, copy_all_to_cpu(list(tensors.values())), strict=True))
        return copies | {"generator": self._generator.get_state()} | self._scaler_state()

    def resume(self, done: int, state: Tensors) -> None:
        """Continue after `done` updates from the `state` that an earlier attempt saved, as if they were made here."""
        self.done = done
        self._generator.set_state(state["generator"])
        names = [name for name in state if name.split(".")[0].isdigit()]
        sent_state = copy_all_to_device([state[name] for name in names], self._batches.device)
        restored = dict(zip(names, sent_state, strict=True))
        with torch.no_grad():
            torch._foreach_copy_(
                self._parameters, [restored[f"{index}.parameter"] for index in range(len(self._parameters))]
            )
        moments = {
            index: {name: restored[f"{index}.{name}"].clone() for name in MOMENTS}
            for index in range(len(self._parameters))
        }
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": moments})
        if self._scaler.is_enabled():
            scaled = {"scale": float(state[SCALE]), "_growth_tracker": int(state[GROWTH])}
            self._scaler.load_state_dict(self._scaler.state_dict() | scaled)

    def _scaler_state(self) -> Tensors:
        """Return the gradient scaler's state; empty if it is disabled."""
        if not self._scaler.is_enabled():
            return {}
        state = self._scaler.state_dict()
        return {SCALE: torch.tensor(state["scale"]), GROWTH: torch.tensor(state["_growth_tracker"])}

    def _update(self) -> OptimizerStep:
        for group in self._optimizer.param_groups:
            group["lr"] = self._plan.learning_rate * lr_factor(self.done, self._steps, self._plan)
        self._optimizer.zero_grad()
        losses = []
        for part in draw_batch(self._material, self._batches[self.done], self._generator).split(self._plan.batch):
            loss = part.loss(self._material) / self._plan.accumulation
            torch.autograd.backward(self._scaler.scale(loss))
            losses.append(loss.detach())
        self._scaler.unscale_(self._optimizer)
        torch.nn.utils.clip_grad_norm_(self._parameters, self._plan.clip)
        self._scaler.step(self._optimizer)  # an enabled scaler skips the update if a gradient is not finite
        self._scaler.update()
        self.done += 1
        return OptimizerStep(self.done, torch.stack(losses).sum())


def photo_order(rows: int, batch: int, steps: int, seed: int) -> torch.Tensor:
    """Return the rows of each step's batch, (steps, batch): random permutations of all rows, one after the other."""
    generator = torch.Generator().manual_seed(seed)
    rounds = math.ceil(steps * batch / rows)
    walk = torch.cat([torch.randperm(rows, generator=generator) for _ in range(rounds)])
    return walk[: steps * batch].reshape(steps, batch)


def stratified_shares(batch: int, generator: torch.Generator) -> torch.Tensor:
    """Draw shares of the time steps for a batch, (batch,): one from each of `batch` equal parts of [0, 1), shuffled."""
    device = generator.device
    offsets = torch.rand(batch, generator=generator, device=device)
    parts = torch.randperm(batch, generator=generator, device=device)
    return (parts + offsets) / batch


def lr_factor(step: int, steps: int, plan: TrainingPlan) -> float:
    """Return the learning rate's factor at a step (from 0): a linear rise times half a cosine down to `final_rate`."""
    rise = min(1.0, (step + 1) / (plan.warm_up + 1))
    fall = 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))
    return rise * (plan.final_rate + (1 - plan.final_rate) * fall)


@dataclass(frozen=True, eq=False)
class Batch:
    """The latents of an update's crops with their noise, time steps and masks, one row each, (N, ...)."""

    latents: torch.Tensor
    noise: torch.Tensor
    times: torch.Tensor
    masks: torch.Tensor

    def split(self, size: int) -> list["Batch"]:
        """Split into batches of at most `size` pictures, which go through the denoiser one after the other."""
        columns = (self.latents, self.noise, self.times, self.masks)
        return [Batch(*part) for part in zip(*(torch.split(column, size) for column in columns), strict=True)]

    def loss(self, material: TrainingInputs) -> torch.Tensor:
        """Return the mean loss of the pictures, a scalar on the device."""
        return material.loss(self.latents, self.noise, self.times, material.words, self.masks)


def draw_batch(material: TrainingInputs, rows: torch.Tensor, generator: torch.Generator) -> Batch:
    """Draw latents, noise and time steps for the given rows of the cache."""
    latents = material.cache.latents.rows(rows).sample(generator)
    noise = torch.randn(latents.shape, generator=generator, device=rows.device)
    times = material.loss.times_at(stratified_shares(len(rows), generator))
    return Batch(latents, noise, times, material.cache.masks[rows])
