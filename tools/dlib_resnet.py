"""dlib's face recognition network (ResNet-29, King 2017, CC0) as ONNX, read from its `.dat`.

The file is dlib's own serialization: the layers stand in it from the input to the loss, each behind its name, with its
parameters as one tensor. What the layers are to each other is not told there in words that are worth parsing; it is
dlib's `anet_type`:

    input 150 x 150 -> conv 7, 32, /2 -> max pool 3, /2
    -> 3 residual blocks of 32 -> 4 of 64 -> 3 of 128 -> 3 of 256 -> 1 of 256 (each level but the first halves its size
    in its first block) -> mean -> 128 numbers

A block is conv 3, affine, ReLU, conv 3, affine; its input is added, averaged 2 x 2 where the block halves. What is
added may be a pixel or some channels smaller: dlib fills up with zeros. Convolutions that halve have no padding.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Weights = NDArray[np.float32]

SIDE, VECTOR = 150, 128
MEAN = np.array([122.782, 117.001, 104.298], np.float32)  # of the network's input layer
SCALE = 256.0
# the blocks' channels, and whether each halves the picture
BLOCKS = [(32, False)] * 3 + [
    (channels, number == 0) for channels, count in ((64, 4), (128, 3), (256, 3), (256, 1)) for number in range(count)
]
NAMES = (b"con_4", b"affine_", b"fc_2")


def parameters(data: bytes) -> Iterator[tuple[str, Weights]]:
    """The layers' names and parameters, flat, in the order of the file."""
    place = 0
    while True:
        found = [(at, name) for name in NAMES if (at := data.find(bytes([1, len(name)]) + name, place)) >= 0]
        if not found:
            return
        at, name = min(found)
        place = at + 2 + len(name)
        if name == b"fc_2":  # outputs and inputs come first
            _, place = _integer(data, place)
            _, place = _integer(data, place)
        sizes = []
        for _ in range(5):  # of the format's version, then samples, channels, rows, columns
            size, place = _integer(data, place)
            sizes.append(size)
        if sizes[0] != 2:
            raise ValueError(f"{name.decode()} at {at}: tensors of version {sizes[0]} are not known")
        count = int(np.prod(sizes[1:]))
        yield name.decode(), np.frombuffer(data, "<f4", count, place).copy()
        place += 4 * count


def convert(source: Path) -> onnx.ModelProto:
    """The whole network: RGB chips (N, 150, 150, 3), float32 of 0 to 255, to vectors (N, 128)."""
    network = _Network(parameters(source.read_bytes()))
    at = network.input()
    at = network.scale(network.convolve(at, 3, 32, 7, 2, 0), 32)
    at = network.node("Relu", [at])
    at = network.node("MaxPool", [at], kernel_shape=[3, 3], strides=[2, 2])
    side, width = 35, 32
    for channels, halves in BLOCKS:
        at, side, width = network.block(at, side, width, channels, halves)
    at = network.node("GlobalAveragePool", [at])
    at = network.node("Flatten", [at])
    at = network.dense(at, width)
    return network.model(at)


class _Network:
    def __init__(self, layers: Iterator[tuple[str, Weights]]) -> None:
        self._layers = layers
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], **attributes: object) -> str:
        name = f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def weight(self, value: NDArray[np.generic]) -> str:
        name = f"weight_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(value, name))
        return name

    def input(self) -> str:
        at = self.node("Sub", ["chips", self.weight(MEAN)])
        at = self.node("Div", [at, self.weight(np.float32(SCALE))])
        return self.node("Transpose", [at], perm=[0, 3, 1, 2])

    def convolve(self, at: str, before: int, channels: int, side: int, step: int, padding: int) -> str:
        values = self._next("con_4")
        count = channels * before * side * side
        filters, biases = values[:count].reshape(channels, before, side, side), values[count:]
        if biases.shape != (channels,):
            raise ValueError(f"a convolution of {len(values)} numbers, {count + channels} were expected")
        return self.node(
            "Conv", [at, self.weight(filters), self.weight(biases)], strides=[step, step], pads=[padding] * 4
        )

    def scale(self, at: str, channels: int) -> str:
        gamma, beta = self._next("affine_").reshape(2, channels, 1, 1)
        return self.node("Add", [self.node("Mul", [at, self.weight(gamma)]), self.weight(beta)])

    def block(self, at: str, side: int, before: int, channels: int, halves: bool) -> tuple[str, int, int]:
        step, padding = (2, 0) if halves else (1, 1)
        inner = self.scale(self.convolve(at, before, channels, 3, step, padding), channels)
        inner = self.node("Relu", [inner])
        inner = self.scale(self.convolve(inner, channels, channels, 3, 1, 1), channels)
        inner_side = (side - 3) // 2 + 1 if halves else side
        outer, outer_side = at, side
        if halves:
            outer, outer_side = self.node("AveragePool", [at], kernel_shape=[2, 2], strides=[2, 2]), side // 2
        side, width = max(inner_side, outer_side), max(channels, before)
        inner = self._fill(inner, width - channels, side - inner_side)
        outer = self._fill(outer, width - before, side - outer_side)
        return self.node("Relu", [self.node("Add", [inner, outer])]), side, width

    def dense(self, at: str, before: int) -> str:
        return self.node("MatMul", [at, self.weight(self._next("fc_2").reshape(before, VECTOR))])

    def model(self, last: str) -> onnx.ModelProto:
        if next(self._layers, None) is not None:
            raise ValueError("the file has more layers than the network")
        self._nodes.append(helper.make_node("Identity", [last], ["vectors"]))
        graph = helper.make_graph(
            self._nodes,
            "dlib_face_recognition_resnet_model_v1",
            [helper.make_tensor_value_info("chips", TensorProto.FLOAT, ["N", SIDE, SIDE, 3])],
            [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["N", VECTOR])],
            self._weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return model

    def _fill(self, at: str, channels: int, pixels: int) -> str:
        if not channels and not pixels:
            return at
        return self.node("Pad", [at, self.weight(np.array([0, 0, 0, 0, 0, channels, pixels, pixels], np.int64))])

    def _next(self, kind: str) -> Weights:
        name, values = next(self._layers)
        if name != kind:
            raise ValueError(f"{kind} was expected, not {name}")
        return values


def _integer(data: bytes, place: int) -> tuple[int, int]:
    """An integer of dlib's serialization, a byte with its length and its bytes; and where it ends."""
    length = data[place] & 0x0F
    return int.from_bytes(data[place + 1 : place + 1 + length], "little"), place + 1 + length
