"""A substitute for `torchvision.transforms` for diffusers' scripts: like the real one, it uses Pillow and torch."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import peft
import torch
import transformers
from PIL import Image as Pictures


def stand_in() -> None:
    """Install the substitute unless torchvision is installed.

    transformers and peft must be imported before, since they would mistake the substitute for all of torchvision.
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
    """Pillow's interpolation constants under torchvision's names."""

    NEAREST, LANCZOS, BILINEAR, BICUBIC = 0, 1, 2, 3


class Compose:
    """Applies transforms one after the other."""

    def __init__(self, parts: list[Callable[[Any], Any]]) -> None:
        self.parts = parts

    def __call__(self, image: Any) -> Any:
        for part in self.parts:
            image = part(image)
        return image


class Resize:
    """Resizes a picture so that its shorter side is `size`."""

    def __init__(self, size: int, interpolation: int = InterpolationMode.BILINEAR) -> None:
        self.size, self.interpolation = size, interpolation

    def __call__(self, image: Pictures.Image) -> Pictures.Image:
        scale = self.size / min(image.size)
        sides = max(self.size, int(image.width * scale)), max(self.size, int(image.height * scale))
        return image.resize(sides, Pictures.Resampling(self.interpolation))


class CenterCrop:
    """Crops a square from the middle."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: Pictures.Image) -> Pictures.Image:
        left, top = (image.width - self.size) // 2, (image.height - self.size) // 2
        return image.crop((left, top, left + self.size, top + self.size))


class RandomCrop(CenterCrop):
    """Crops a square at a random position."""

    def __call__(self, image: Pictures.Image) -> Pictures.Image:
        left = int(torch.randint(0, image.width - self.size + 1, (1,)))
        top = int(torch.randint(0, image.height - self.size + 1, (1,)))
        return image.crop((left, top, left + self.size, top + self.size))


class ToTensor:
    """Converts a picture to a tensor, (3, H, W) in [0, 1]."""

    def __call__(self, image: Pictures.Image) -> torch.Tensor:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float() / 255


class Normalize:
    """Subtracts the mean and divides by the standard deviation."""

    def __init__(self, mean: list[float], deviation: list[float]) -> None:
        self.mean, self.deviation = mean[0], deviation[0]

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        return (tensor - self.mean) / self.deviation
