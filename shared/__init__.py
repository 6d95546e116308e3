"""Code that the three functions share: manifests, buckets, claims, pictures, faces, base models."""

import os

# unless this is set before it is imported, onnxruntime reports processor, system and the process's path to its maker
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
