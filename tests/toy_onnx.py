"""An insightface model folder of toy networks: the signatures of buffalo_l, a few kilobytes each, answers known.

The detector finds a bright square of 32 pixels or more on black in its 640 pixels, the landmark network always answers
the same 68 points, the recognizer gives the mean colors of an 8 x 8 grid, made longer by zeros to 512 numbers.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ANCHORS = 2  # of SCRFD at each place
STRIDES = (8, 16, 32)
HALF = 2.5  # a box reaches so many strides of 32 to each side
BRIGHT = 0.3  # of the detector's input, -1 to 1


def model_folder(folder: Path, batch: int | str = "n") -> Path:
    """Write the three networks, and a fourth that must not be loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(detector(), folder / "det_toy.onnx")
    onnx.save(landmarks(), folder / "3d68_toy.onnx")
    onnx.save(recognizer(batch), folder / "rec_toy.onnx")
    (folder / "unused.txt").write_text("no network")
    onnx.save(genderage(), folder / "genderage.onnx")
    return folder


def face_shape() -> np.ndarray:
    """The 68 points that the landmark network answers, in [-1, 1] of its square: a face of a known width, upright."""
    x, y = np.zeros(68), np.zeros(68)
    x[:17], y[:17] = -0.6 * np.cos(np.linspace(0, np.pi, 17)), 0.7 * np.sin(np.linspace(0, np.pi, 17))
    x[17:27], y[17:27] = np.linspace(-0.5, 0.5, 10), -0.35
    x[27:31], y[27:31] = 0.0, np.linspace(-0.2, 0.12, 4)
    x[31:36], y[31:36] = np.linspace(-0.12, 0.12, 5), 0.18
    ring = np.linspace(-np.pi, np.pi, 7)[:6]
    x[36:42], y[36:42] = -0.28 + 0.1 * np.cos(ring), -0.2 + 0.04 * np.sin(ring)
    x[42:48], y[42:48] = 0.28 + 0.1 * np.cos(ring), -0.2 + 0.04 * np.sin(ring)
    ring = np.linspace(-np.pi, np.pi, 21)[:20]
    x[48:68], y[48:68] = 0.24 * np.cos(ring), 0.4 + 0.08 * np.sin(ring)
    return np.stack([x, y, np.zeros(68)], axis=1)


def detector() -> onnx.ModelProto:
    """SCRFD's nine outputs: scores, boxes and points of each stride; only stride 32 finds anything."""
    nodes, weights, outputs = [], [], []
    for stride in STRIDES:
        nodes += [
            helper.make_node(
                "AveragePool", ["picture"], [f"mean{stride}"], kernel_shape=[stride] * 2, strides=[stride] * 2
            ),
            helper.make_node("ReduceMean", [f"mean{stride}", "channels"], [f"gray{stride}"], keepdims=1),
            helper.make_node("Greater", [f"gray{stride}", "bright" if stride == 32 else "never"], [f"hit{stride}"]),
            helper.make_node("Cast", [f"hit{stride}"], [f"score_map{stride}"], to=TensorProto.FLOAT),
            helper.make_node("Reshape", [f"score_map{stride}", "column"], [f"once{stride}"]),
            helper.make_node("Mul", [f"once{stride}", "confident"], [f"twice{stride}"]),
            helper.make_node("Reshape", [f"twice{stride}", "column"], [f"score_{stride}"]),
        ]
        for name, numbers in (("bbox", 4), ("kps", 10)):
            nodes += [
                helper.make_node("Mul", [f"score_{stride}", "zero"], [f"{name}_zero{stride}"]),
                helper.make_node("Add", [f"{name}_zero{stride}", f"{name}_row"], [f"{name}_{stride}"]),
            ]
            del numbers
    weights += [
        numpy_helper.from_array(np.array([1], np.int64), "channels"),
        numpy_helper.from_array(np.array(BRIGHT, np.float32), "bright"),
        numpy_helper.from_array(np.array(9.0, np.float32), "never"),
        numpy_helper.from_array(np.array([-1, 1], np.int64), "column"),
        numpy_helper.from_array(np.array([[0.9, 0.8]], np.float32), "confident"),
        numpy_helper.from_array(np.array(0.0, np.float32), "zero"),
        numpy_helper.from_array(np.full((1, 4), HALF, np.float32), "bbox_row"),
        numpy_helper.from_array(np.zeros((1, 10), np.float32), "kps_row"),
    ]
    for name, numbers in (("score", 1), ("bbox", 4), ("kps", 10)):
        outputs += [
            helper.make_tensor_value_info(f"{name}_{stride}", TensorProto.FLOAT, [None, numbers]) for stride in STRIDES
        ]
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, "h", "w"])
    return _model(nodes, picture, outputs, weights)


def landmarks() -> onnx.ModelProto:
    """3d68: 1103 points, the last 68 of which are the face's."""
    answer = np.zeros((1103, 3), np.float32)
    answer[-68:] = face_shape()
    return _constant(answer.reshape(1, -1), [1, 3, 192, 192])


def recognizer(batch: int | str = "n") -> onnx.ModelProto:
    """ArcFace: 112 x 112 to 512."""
    nodes = [
        helper.make_node("AveragePool", ["picture"], ["grid"], kernel_shape=[14, 14], strides=[14, 14]),
        helper.make_node("Flatten", ["grid"], ["flat"]),
        helper.make_node("Pad", ["flat", "pads"], ["vector"]),
    ]
    weights = [numpy_helper.from_array(np.array([0, 0, 0, 512 - 192], np.int64), "pads")]
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [batch, 3, 112, 112])
    return _model(nodes, picture, [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [batch, 512])], weights)


def genderage() -> onnx.ModelProto:
    """A network that insightface knows and this engine does not need."""
    return _constant(np.zeros((1, 3), np.float32), ["n", 3, 96, 96])


def _constant(answer: np.ndarray, shape: list[int | str]) -> onnx.ModelProto:
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["none"]),
        helper.make_node("Add", ["none", "answer"], ["out"]),
    ]
    weights = [
        numpy_helper.from_array(answer, "answer"),
        numpy_helper.from_array(np.array(0.0, np.float32), "nothing"),
    ]
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape)
    return _model(
        nodes, picture, [helper.make_tensor_value_info("out", TensorProto.FLOAT, list(answer.shape))], weights
    )


def _model(nodes, picture, outputs, weights) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "toy", [picture], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model
