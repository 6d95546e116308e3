"""Tensors as the bytes of a .safetensors file, equal for equal contents."""

import json

import safetensors.torch
import torch


def serialize_tensors(tensors: dict[str, torch.Tensor], header: dict[str, str]) -> bytes:
    """The file; its header's entries are in order, which safetensors itself leaves to chance."""
    data = safetensors.torch.save(tensors, metadata=header)
    size = int.from_bytes(data[:8], "little")
    ordered = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    ordered += b" " * (-len(ordered) % 8)  # the format wants the tensors aligned
    return len(ordered).to_bytes(8, "little") + ordered + data[8 + size :]
