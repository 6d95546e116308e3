"""A `torchvision.transforms` for diffusers' scripts where none is installed: Pillow and torch, as the real one."""

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
    """Put it in place, where it is needed.

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
