"""Serialization to .safetensors with a fixed order, so that equal contents give equal bytes."""

import json

import safetensors.torch
import torch


def serialize_tensors(tensors: dict[str, torch.Tensor], header: dict[str, str]) -> bytes:
    """Return a .safetensors file with sorted header entries; safetensors itself writes them in arbitrary order."""
    data = safetensors.torch.save(tensors, metadata=header)
    size = int.from_bytes(data[:8], "little")
    ordered = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    ordered += b" " * (-len(ordered) % 8)  # the format requires aligned tensors
    return len(ordered).to_bytes(8, "little") + ordered + data[8 + size :]
