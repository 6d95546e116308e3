"""What ControlNets add to a UNet's activations."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class Residuals:
    """What ControlNets add to the activations of a UNet: a tensor for each skip connection, and one for the middle."""

    down: list[torch.Tensor]
    middle: torch.Tensor

    def __add__(self, other: "Residuals") -> "Residuals":
        """Add the residuals of another ControlNet, as diffusers' MultiControlNetModel does."""
        pairs = zip(self.down, other.down, strict=True)
        return Residuals([one + another for one, another in pairs], self.middle + other.middle)

    def after_nothing(self) -> "Residuals":
        """Prepend zeros for a batch whose first half, the one with the negative prompt, is not controlled."""
        return Residuals([_after_zeros(one) for one in self.down], _after_zeros(self.middle))


def _after_zeros(tensor: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.zeros_like(tensor), tensor])
