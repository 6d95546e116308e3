"""Write the trained network as ONNX: batch normalization folded into the convolutions, weights in half precision."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from tools.occluder_recipe.unet import INPUTS, Block, OccluderUNet

OPSET = 17


class Graph:
    """Collects the nodes and weights of a graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, kind: str, inputs: list[str], **attributes: object) -> str:
        """Add a node; return the name of its output."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def store(self, values: NDArray[np.float32], exact: bool = False) -> str:
        """Store a tensor, in half precision unless it must be exact; return the name of it in single precision."""
        name = f"weights_{len(self.weights)}"
        if exact:
            self.weights.append(numpy_helper.from_array(values, name))
            return name
        self.weights.append(numpy_helper.from_array(values.astype(np.float16), name))
        return self.add("Cast", [name], to=TensorProto.FLOAT)

    def convolve(self, kind: str, layer: nn.Conv2d | nn.ConvTranspose2d, planes: str) -> str:
        """Add a convolution that halves or doubles the size; return the name of its output."""
        assert layer.bias is not None
        inputs = [planes, self.store(layer.weight.detach().numpy()), self.store(layer.bias.detach().numpy())]
        return self.add(kind, inputs, kernel_shape=[2, 2], strides=[2, 2])

    def block(self, block: Block, planes: str) -> str:
        """Add two convolutions with their normalization; return the name of their output."""
        for position in (0, 3):
            convolution, norm = block.layers[position], block.layers[position + 1]
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            kernel, bias = convolution.weight.detach().numpy(), norm.bias.detach().numpy()
            factor = norm.weight.detach().numpy() / np.sqrt(norm.running_var.numpy() + norm.eps)
            bias = bias - norm.running_mean.numpy() * factor
            inputs = [planes, self.store(kernel * factor[:, None, None, None]), self.store(bias)]
            planes = self.add("Relu", [self.add("Conv", inputs, kernel_shape=[3, 3], pads=[1, 1, 1, 1])])
        return planes


def export(network: OccluderUNet, path: Path, size: tuple[int, int]) -> None:
    """Write the network; its input is `planes`, (1, 5, *size), its output `share`, (1, 1, *size), 0 to 1."""
    graph, kept = Graph(), list[str]()
    planes = graph.convolve("Conv", network.stem, "planes")
    for number, block in enumerate(network.down):
        if number:
            planes = graph.add("MaxPool", [planes], kernel_shape=[2, 2], strides=[2, 2])
        assert isinstance(block, Block)
        planes = graph.block(block, planes)
        kept.append(planes)
    factors = graph.store(np.array([1, 1, 2, 2], np.float32), exact=True)
    for block, beside in zip(network.up, kept[-2::-1], strict=True):
        assert isinstance(block, Block)
        larger = graph.add(
            "Resize",
            [planes, "", factors],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        planes = graph.block(block, graph.add("Concat", [larger, beside], axis=1))
    logits = graph.convolve("ConvTranspose", network.head, planes)
    graph.nodes.append(helper.make_node("Sigmoid", [logits], ["share"]))
    takes = helper.make_tensor_value_info("planes", TensorProto.FLOAT, [1, INPUTS, *size])
    gives = helper.make_tensor_value_info("share", TensorProto.FLOAT, [1, 1, *size])
    model = helper.make_model(
        helper.make_graph(graph.nodes, path.stem, [takes], [gives], graph.weights),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
