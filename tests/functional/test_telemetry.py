"""Nothing that photog runs reports to anybody: onnxruntime would, and begins by keeping an id of the device at home."""

import os
import subprocess
import sys


def test_faces_are_found_without_telemetry(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    code = (
        "from shared.faces.loading import load_engine; from shared.settings import FaceSettings; "
        "load_engine(FaceSettings())"
    )
    subprocess.run([sys.executable, "-c", code], env=environment | {"HOME": str(tmp_path)}, check=True)
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name or path.name == "deviceid"]
