"""The loop: one optimizer update after the other on cached latents, with nothing in it that waits for the device."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel

from functions.train.lora import LoraAdapter
from functions.train.plan import TrainingPlan
from functions.train.training_inputs import TrainingInputs
from shared.models.transfers import fetched, sent, sent_together

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW remembers of each parameter
SCALE, GROWTH = "scaler.scale", "scaler.growth"  # what a scaler of the loss does of its own account

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class OptimizerStep:
    """One update that has been made.

    Attributes:
        step: from 1.
        loss: a scalar on the device; reading it waits for the device.
    """

    step: int
    loss: torch.Tensor


class OptimizerSteps:
    """The updates of one training, to be iterated once; stops whenever the caller stops asking.

    Batches go through all crops before any comes again. Time steps are spread evenly over each batch, which takes out
    most of the loss's noise (Kingma et al., "Variational Diffusion Models", 2021, appendix I.1).

    Attributes:
        done: how many updates the adapter has had.
    """

    def __init__(
        self, unet: UNet2DConditionModel, adapter: LoraAdapter, material: TrainingInputs, plan: TrainingPlan, steps: int
    ) -> None:
        device = material.cache.latents.mean.device
        self._unet, self._parameters, self._material, self._plan = unet, adapter.parameters, material, plan
        self._steps, self.done = steps, 0
        self._generator = torch.Generator(device).manual_seed(plan.seed)
        self._optimizer = torch.optim.AdamW(self._parameters, lr=plan.learning_rate, weight_decay=1e-2, fused=True)
        # gradients in float16 are below what it can say unless the loss is made larger; bfloat16 has float32's range
        self._scaler = torch.amp.GradScaler(device.type, enabled=material.loss.dtype == torch.float16)
        self._batches = sent(photo_order(len(material.cache), plan.pictures, steps, plan.seed), device)

    def __iter__(self) -> Iterator[OptimizerStep]:
        while self.done < self._steps:
            yield self._update()

    def state(self) -> Tensors:
        """All that the next update depends on, copied to the CPU: parameters, the optimizer's moments, the noise's."""
        tensors = {f"{index}.parameter": parameter for index, parameter in enumerate(self._parameters)}
        for index, parameter in enumerate(self._parameters):
            moments = self._optimizer.state[parameter]
            tensors |= {f"{index}.{name}": moments[name] for name in MOMENTS}
        copies = dict(zip(tensors, fetched(list(tensors.values())), strict=True))
        return copies | {"generator": self._generator.get_state()} | self._scaled()

    def resume(self, done: int, state: Tensors) -> None:
        """Go on after `done` updates as if they had been made here."""
        self.done = done
        self._generator.set_state(state["generator"])
        names = [name for name in state if name.split(".")[0].isdigit()]
        sent_state = sent_together([state[name] for name in names], self._batches.device)
        mine = dict(zip(names, sent_state, strict=True))
        with torch.no_grad():
            torch._foreach_copy_(
                self._parameters, [mine[f"{index}.parameter"] for index in range(len(self._parameters))]
            )
        moments = {
            index: {name: mine[f"{index}.{name}"].clone() for name in MOMENTS} for index in range(len(self._parameters))
        }
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": moments})
        if self._scaler.is_enabled():
            scaled = {"scale": float(state[SCALE]), "_growth_tracker": int(state[GROWTH])}
            self._scaler.load_state_dict(self._scaler.state_dict() | scaled)

    def _scaled(self) -> Tensors:
        """The scaler's state; none where it does nothing."""
        if not self._scaler.is_enabled():
            return {}
        said = self._scaler.state_dict()
        return {SCALE: torch.tensor(said["scale"]), GROWTH: torch.tensor(said["_growth_tracker"])}

    def _update(self) -> OptimizerStep:
        for group in self._optimizer.param_groups:
            group["lr"] = self._plan.learning_rate * lr_factor(self.done, self._steps, self._plan)
        self._optimizer.zero_grad()
        losses = []
        for part in draw_batch(self._material, self._batches[self.done], self._generator).split(self._plan.batch):
            loss = part.loss(self._unet, self._material) / self._plan.accumulation
            torch.autograd.backward(self._scaler.scale(loss))
            losses.append(loss.detach())
        self._scaler.unscale_(self._optimizer)
        torch.nn.utils.clip_grad_norm_(self._parameters, self._plan.clip)
        self._scaler.step(self._optimizer)  # leaves the parameters alone where a gradient is no number
        self._scaler.update()
        self.done += 1
        return OptimizerStep(self.done, torch.stack(losses).sum())


def photo_order(rows: int, batch: int, steps: int, seed: int) -> torch.Tensor:
    """Which rows each step sees, (steps, batch): permutations of all rows, one after the other."""
    generator = torch.Generator().manual_seed(seed)
    rounds = math.ceil(steps * batch / rows)
    walk = torch.cat([torch.randperm(rows, generator=generator) for _ in range(rounds)])
    return walk[: steps * batch].reshape(steps, batch)


def stratified_timesteps(batch: int, steps: int, generator: torch.Generator) -> torch.Tensor:
    """Time steps of a batch, (batch,): one from each of `batch` equal parts of 0 .. steps - 1, in any order."""
    device = generator.device
    offsets = torch.rand(batch, generator=generator, device=device)
    parts = torch.randperm(batch, generator=generator, device=device)
    return ((parts + offsets) / batch * steps).long().clamp(max=steps - 1)


def lr_factor(step: int, steps: int, plan: TrainingPlan) -> float:
    """Factor of the learning rate at a step from 0: a linear rise, then half a cosine down to `final_rate`."""
    rise = min(1.0, (step + 1) / (plan.warm_up + 1))
    fall = 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))
    return rise * (plan.final_rate + (1 - plan.final_rate) * fall)


@dataclass(frozen=True, eq=False)
class Batch:
    """The pictures of an update with all that is drawn for them; rows (N, ...) that belong together."""

    latents: torch.Tensor
    noise: torch.Tensor
    times: torch.Tensor
    masks: torch.Tensor

    def split(self, size: int) -> list["Batch"]:
        """Parts of `size` pictures, to go through the UNet one after the other."""
        columns = (self.latents, self.noise, self.times, self.masks)
        return [Batch(*part) for part in zip(*(torch.split(column, size) for column in columns), strict=True)]

    def loss(self, unet: UNet2DConditionModel, material: TrainingInputs) -> torch.Tensor:
        """The mean over the pictures, a scalar on the device."""
        return material.loss(unet, self.latents, self.noise, self.times, material.words, self.masks)


def draw_batch(material: TrainingInputs, rows: torch.Tensor, generator: torch.Generator) -> Batch:
    """Latents, noise and time steps of some rows of the cache."""
    latents = material.cache.latents.rows(rows).sample(generator)
    noise = torch.randn(latents.shape, generator=generator, device=rows.device)
    times = stratified_timesteps(len(rows), material.loss.steps, generator)
    return Batch(latents, noise, times, material.cache.masks[rows])
