"""Continue the training of a network that was exported: its weights, with batch normalization unfolded again."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from tools.occluder_recipe.unet import Block, OccluderUNet

SEEN = 256  # samples from which the activations' means and variances are measured


def load_exported(path: Path, planes: torch.Tensor) -> OccluderUNet:
    """Return the network of a file that `export` wrote, so that it can be trained.

    An exported network has no batch normalization. Here each one is given the mean and variance of what comes in, and
    the scale and bias that undo them, so that the network answers as before, when it is trained and when it is used.

    Args:
        path: the .onnx file.
        planes: inputs, (N, 5, SIDE, SIDE), on which the activations are measured.
    """
    stored = _read(path)
    network = OccluderUNet()
    with torch.no_grad():
        _fill(network.stem, stored)
        for block in (*network.down, *network.up):
            assert isinstance(block, Block)
            for position in (0, 3):
                convolution, norm = block.layers[position], block.layers[position + 1]
                assert isinstance(convolution, nn.Conv2d)
                assert isinstance(norm, nn.BatchNorm2d)
                convolution.weight.copy_(torch.from_numpy(next(stored)))
                norm.bias.copy_(torch.from_numpy(next(stored)))
                norm.register_forward_pre_hook(_undo)
        _fill(network.head, stored)
        network.eval()(planes[:SEEN])
    for module in network.modules():
        module._forward_pre_hooks.clear()
    return network


def _undo(norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Give a batch normalization the statistics of its input, and the scale and bias that undo them."""
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    (planes,) = inputs
    norm.running_mean.copy_(planes.mean(dim=(0, 2, 3)))
    norm.running_var.copy_(planes.var(dim=(0, 2, 3)))
    norm.weight.copy_(torch.sqrt(norm.running_var + norm.eps))
    norm.bias.add_(norm.running_mean)


def _fill(layer: nn.Conv2d | nn.ConvTranspose2d, stored: Iterator[NDArray[np.float32]]) -> None:
    assert layer.bias is not None
    layer.weight.copy_(torch.from_numpy(next(stored)))
    layer.bias.copy_(torch.from_numpy(next(stored)))


def _read(path: Path) -> Iterator[NDArray[np.float32]]:
    """Yield the stored weights in the order in which they are used; those in single precision are factors of sizes."""
    for tensor in onnx.load(str(path)).graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float16:
            yield values.astype(np.float32)
