"""A toy of inswapper_128's signature whose answer is known: the target dimmed, and white by the first source number."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write(path: Path, side: int = 128) -> Path:
    """Output is half of the target, plus half of the first number of the source; `emap` makes the second the first."""
    emap = np.roll(np.eye(512, dtype=np.float32), -1, axis=1)
    nodes = [
        helper.make_node("Slice", ["source", "first", "second", "axis"], ["number"]),
        helper.make_node("Reshape", ["number", "shape"], ["level"]),
        helper.make_node("Add", ["target", "level"], ["sum"]),
        helper.make_node("Mul", ["sum", "half"], ["output"]),
    ]
    weights = [
        numpy_helper.from_array(np.array([0], np.int64), "first"),
        numpy_helper.from_array(np.array([1], np.int64), "second"),
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
        numpy_helper.from_array(np.array([1, 1, 1, 1], np.int64), "shape"),
        numpy_helper.from_array(np.array(0.5, np.float32), "half"),
        numpy_helper.from_array(emap, "emap"),
    ]
    inputs = [
        helper.make_tensor_value_info("target", TensorProto.FLOAT, [1, 3, side, side]),
        helper.make_tensor_value_info("source", TensorProto.FLOAT, [1, 512]),
    ]
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 3, side, side])
    graph = helper.make_graph(nodes, "swapper", inputs, [output], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
