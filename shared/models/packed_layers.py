"""Frozen layers computed by oneDNN on a CPU, convolutions with weights that are packed once for the size of pictures.

torch computes a linear layer in float32 by MKL, which uses half of what an AMD processor can do, and lets oneDNN bring
a convolution's weights into its own layout again in every pass, which takes longer than the convolution where pictures
are small. Here both go straight to oneDNN, forward and backward; results differ from torch's own by rounding alone.

| layer | computed by oneDNN if | otherwise |
|---|---|---|
| linear | it is frozen, on a CPU, in float32, and has FEWEST rows or more | by torch, as before |
| convolution | likewise, and its pictures are of the first size that it has seen | by torch, as before |

A layer that is changed after it was packed is packed again. `torch.backends.mkldnn.flags(enabled=False)` turns all of
this off, as it does with torch's own use of oneDNN.
"""

import platform
from collections.abc import Iterator
from typing import Any, Self

import torch
from torch import nn
from torch.nn import functional

FEWEST = 16  # rows of a linear layer; below, reading the weights is all of the work, and MKL is as fast or faster
MOST_BYTES = 256 * 2**20  # of convolutions that are packed; their weights are in memory two times, in training three
PROCESSORS = {"x86_64", "AMD64"}  # where this was measured


def pack_layers(*parts: nn.Module) -> None:
    """Let oneDNN compute the linear layers of these modules, and their convolutions if those are small; in place.

    Layers that are not frozen when they run, or are not on a CPU in float32, compute as before.
    """
    if not is_available():
        return
    layers = list(dict.fromkeys(layer for part in parts for layer in part.modules()))
    convolutions = list(_select_convolutions(layers))
    if sum(layer.weight.nbytes for layer in convolutions) <= MOST_BYTES:
        for layer in convolutions:
            layer.__class__ = PackedConv2d
            vars(layer)["packs"] = Packs()
    for part in layers:
        if type(part) is nn.Linear:
            part.__class__ = DirectLinear


def is_available() -> bool:
    """Return whether this build of torch has oneDNN's operations, on a processor for which they are the fastest."""
    names = ("_linear_pointwise", "_convolution_pointwise", "_reorder_convolution_weight")
    return (
        platform.machine() in PROCESSORS
        and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
        and all(hasattr(torch.ops.mkldnn, name) for name in names)
    )


def is_packed(part: nn.Module) -> bool:
    """Return whether `pack_layers` has found convolutions to pack in the module."""
    return any(isinstance(layer, PackedConv2d) for layer in part.modules())


def _select_convolutions(layers: list[nn.Module]) -> Iterator[nn.Conv2d]:
    for layer in layers:
        if type(layer) is nn.Conv2d and layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
            yield layer


class DirectLinear(nn.Linear):
    """A linear layer that oneDNN computes; its weights stay as they are."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return the layer's output for states, (..., in)."""
        return self.compute(states, self.weight)

    def compute(self, states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the output of a layer with this weight, (out, in), and this layer's bias."""
        if not _suits(states, weight) or states.numel() < FEWEST * self.in_features:
            return functional.linear(states, weight, self.bias)
        if _needs_gradient(states):
            made: torch.Tensor = _LinearFunction.apply(states, weight, self.bias)  # type: ignore[no-untyped-call]
            return made
        return _compute_linear(states, weight, self.bias)


class PackedConv2d(nn.Conv2d):
    """A convolution that oneDNN computes with packed weights.

    Attributes:
        packs: the packed weights.
    """

    packs: "Packs"

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return the layer's output for pictures, (B, C, h, w)."""
        if not _suits(pictures, self.weight) or pictures.ndim != 4 or not self.packs.fit(self, pictures):
            return super().forward(pictures)
        if _needs_gradient(pictures):
            made: torch.Tensor = _ConvolutionFunction.apply(pictures, self)  # type: ignore[no-untyped-call]
            return made
        return self.compute(pictures)

    def compute(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return the output for pictures that the packed weights fit."""
        return _compute_convolution(
            pictures, self.packs.forward, self.bias, self.padding, self.stride, self.dilation, self.groups
        )

    def compute_gradient(self, gradient: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        """Return the gradient of the pictures from that of the output.

        With a stride of 1 it is a convolution as well, with the weights of input and output exchanged and turned by 180
        degrees.
        """
        if self.stride == (1, 1) and self.dilation == (1, 1) and self.groups == 1:
            if self.packs.backward is None:
                turned = self.weight.detach().flip(2, 3).transpose(0, 1).contiguous()
                self.packs.backward = _pack(turned, self._padding_back, (1, 1), (1, 1), 1, gradient)
            return _compute_convolution(gradient, self.packs.backward, None, self._padding_back, (1, 1), (1, 1), 1)
        back = torch.ops.aten.convolution_backward
        made: torch.Tensor = back(
            gradient,
            pictures,
            self.weight,
            None,
            self.stride,
            self.padding,
            self.dilation,
            False,
            (0, 0),
            self.groups,
            (True, False, False),
        )[0]
        return made

    @property
    def _padding_back(self) -> tuple[int, ...]:
        return tuple(side - 1 - around for side, around in zip(self.kernel_size, self._padding, strict=True))

    @property
    def _padding(self) -> tuple[int, ...]:
        assert not isinstance(self.padding, str)
        return self.padding


class Packs:
    """A convolution's packed weights, for pictures of one size; a copy of the layer packs its own.

    Attributes:
        forward: for the layer's output, in oneDNN's layout.
        backward: for the gradient of its pictures; None before one was needed.
    """

    def __init__(self) -> None:
        self._size: torch.Size | None = None
        self._source: tuple[int, int] | None = None
        self.forward: Any = None
        self.backward: Any = None

    def fit(self, layer: PackedConv2d, pictures: torch.Tensor) -> bool:
        """Return whether the packed weights fit pictures of this size; packs the weights if they have changed."""
        version = 0 if layer.weight.is_inference() else layer.weight._version
        size, source = pictures.shape[2:], (layer.weight.data_ptr(), version)
        if self._source == source:
            return self._size == size
        weight = layer.weight.detach()
        self.forward = _pack(weight, layer.padding, layer.stride, layer.dilation, layer.groups, pictures)
        self._size, self._source, self.backward = size, source, None
        return True

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)()

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()


class _LinearFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.weight = weight
        return _compute_linear(states, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return _compute_linear(gradients[0], ctx.weight.t(), None), None, None


class _ConvolutionFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pictures: torch.Tensor, layer: PackedConv2d) -> torch.Tensor:
        ctx.layer = layer
        ctx.save_for_backward(pictures)
        return layer.compute(pictures)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return ctx.layer.compute_gradient(gradients[0], *ctx.saved_tensors), None


def _suits(states: torch.Tensor, weight: torch.Tensor) -> bool:
    return (
        type(states) is torch.Tensor  # not one of those that stand for tensors, as in planning memory
        and states.dtype is torch.float32
        and weight.dtype is torch.float32
        and states.is_cpu
        and weight.is_cpu
        and not weight.requires_grad
        and bool(torch.backends.mkldnn.enabled)
    )


def _needs_gradient(states: torch.Tensor) -> bool:
    return states.requires_grad and torch.is_grad_enabled()


def _compute_linear(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")
    return made


def _compute_convolution(
    pictures: torch.Tensor, packed: Any, bias: torch.Tensor | None, *geometry: Any
) -> torch.Tensor:
    """Convolve; `geometry` is padding, stride, dilation and groups."""
    made: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(pictures, packed, bias, *geometry, "none", [], "")
    return made


def _pack(weight: torch.Tensor, padding: Any, stride: Any, dilation: Any, groups: int, pictures: torch.Tensor) -> Any:
    """Bring weights into the layout that oneDNN prefers for pictures of this size, whatever their number."""
    # without the size it may be a layout that does not suit, and every pass would bring it into another one, slowly
    size = [1, *pictures.shape[1:]]
    return torch.ops.mkldnn._reorder_convolution_weight(weight, padding, stride, dilation, groups, size)
