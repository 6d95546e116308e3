"""One training in a process of its own, timed from the outside of its optimiser: a script of diffusers, ours, or bare.

    python -m benchmarks.one_training script PATH ARGUMENT...     an unmodified example script
    python -m benchmarks.one_training ours BASE PHOTOS STEPS RANK
    python -m benchmarks.one_training bare BASE PHOTOS STEPS RANK   forward, backward, step on ready tensors

The last line of standard output is JSON: when each optimiser step ended, seconds since the start, peak memory in MB.
"""

import json
import resource
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import peft
import torch
import transformers
from PIL import Image as Pictures

from functions.train.dataset import prepare
from functions.train.lora import adapted
from functions.train.material import Material, material, words
from functions.train.plan import TrainingPlan
from functions.train.updates import Updates
from shared.faces.dlib import DlibEngine
from shared.models.conditioning import predicted
from shared.models.diffusion import DiffusionModel, load
from shared.settings import Limits, ModelSettings
from tests.desk import Desk


def main() -> int:
    """Run what the arguments say, then print the times."""
    started, ended = time.perf_counter(), []
    step = torch.optim.AdamW.step

    def timed(self: torch.optim.AdamW, *arguments: Any, **options: Any) -> Any:
        result = step(self, *arguments, **options)
        ended.append(time.perf_counter() - started)
        return result

    torch.optim.AdamW.step = timed  # type: ignore[method-assign]
    kind, rest = sys.argv[1], sys.argv[2:]
    if kind == "script":
        stand_in()
        sys.argv = rest
        runpy.run_path(rest[0], run_name="__main__")
    else:
        ours(Path(rest[0]), Path(rest[1]), int(rest[2]), int(rest[3]), bare=kind == "bare")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"ended": ended, "seconds": time.perf_counter() - started, "peak_mb": peak}))
    return 0


def ours(base: Path, photos: Path, steps: int, rank: int, bare: bool) -> None:
    """Our updates at batch 1, or the least that any trainer of this UNet must do."""
    model = load(ModelSettings(path=str(base), device="cpu"))
    files = {path.name: path.read_bytes() for path in sorted(photos.iterdir())}
    plan = TrainingPlan(rank=rank, alpha=rank, batch=1)
    data = prepare(list(files), Desk(files), DlibEngine(), model.working, Limits())
    learnt = material(model, dict(enumerate(data.photos)), words(model).prompt, plan, steps)
    with adapted(model.unet, plan) as adapter:
        if bare:
            loop(model, adapter.parameters, learnt, steps)
            return
        for _ in Updates(model.unet, adapter, learnt, plan, steps):
            pass


def loop(model: DiffusionModel, parameters: list[torch.nn.Parameter], learnt: Material, steps: int) -> None:
    """Forward, backward and optimiser step on one ready tensor."""
    optimiser = torch.optim.AdamW(parameters, fused=True)
    latents, times = learnt.cache.latents.mean[:1].clone(), torch.tensor([500])
    for _ in range(steps):
        loss = predicted(model.unet, latents, times, learnt.words).square().mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()


def stand_in() -> None:
    """A `torchvision.transforms` for the scripts where none is installed, by Pillow and torch as the real one does it.

    Only after transformers and peft are imported: they would take it for the whole of torchvision.
    """
    assert peft
    assert transformers
    try:
        import torchvision  # noqa: F401
    except ImportError:
        transforms = ModuleType("torchvision.transforms")
        torch_vision = ModuleType("torchvision")
        torch_vision.transforms = transforms  # type: ignore[attr-defined]
        parts = (Compose, InterpolationMode, Resize, CenterCrop, RandomCrop, ToTensor, Normalize)
        transforms.__dict__.update({part.__name__: part for part in parts})
        sys.modules |= {"torchvision": torch_vision, "torchvision.transforms": transforms}


class InterpolationMode:
    """Pillow's numbers under torchvision's names."""

    NEAREST, LANCZOS, BILINEAR, BICUBIC = 0, 1, 2, 3


class Compose:
    """One transform after the other."""

    def __init__(self, parts: list[Callable[[Any], Any]]) -> None:
        self.parts = parts

    def __call__(self, image: Any) -> Any:
        for part in self.parts:
            image = part(image)
        return image


class Resize:
    """The shorter side to `size`."""

    def __init__(self, size: int, interpolation: int = InterpolationMode.BILINEAR) -> None:
        self.size, self.interpolation = size, interpolation

    def __call__(self, image: Pictures.Image) -> Pictures.Image:
        scale = self.size / min(image.size)
        sides = max(self.size, int(image.width * scale)), max(self.size, int(image.height * scale))
        return image.resize(sides, Pictures.Resampling(self.interpolation))


class CenterCrop:
    """A square from the middle."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: Pictures.Image) -> Pictures.Image:
        left, top = (image.width - self.size) // 2, (image.height - self.size) // 2
        return image.crop((left, top, left + self.size, top + self.size))


class RandomCrop(CenterCrop):
    """A square from anywhere."""

    def __call__(self, image: Pictures.Image) -> Pictures.Image:
        left = int(torch.randint(0, image.width - self.size + 1, (1,)))
        top = int(torch.randint(0, image.height - self.size + 1, (1,)))
        return image.crop((left, top, left + self.size, top + self.size))


class ToTensor:
    """(3, H, W) in [0, 1]."""

    def __call__(self, image: Pictures.Image) -> torch.Tensor:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float() / 255


class Normalize:
    """Less the mean, over the deviation."""

    def __init__(self, mean: list[float], deviation: list[float]) -> None:
        self.mean, self.deviation = mean[0], deviation[0]

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        return (tensor - self.mean) / self.deviation


if __name__ == "__main__":
    sys.exit(main())
