"""LoRA files of any content, written byte by byte: what safetensors itself would refuse to write, too."""

import json
import math
from collections.abc import Mapping
from typing import Any

Tensor = tuple[str, list[int], bytes]
"""Type as the header spells it, shape, bytes."""

SIZES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1}


def header_of(data: bytes) -> dict[str, Any]:
    """The header as it was written."""
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def with_header(data: bytes, header: Any) -> bytes:
    """The file with another header, an object or the very text of one, before the same tensors."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + int.from_bytes(data[:8], "little") :]


def tensors_of(data: bytes) -> dict[str, Tensor]:
    """All tensors by name."""
    start = 8 + int.from_bytes(data[:8], "little")
    described = {name: one for name, one in header_of(data).items() if name != "__metadata__"}
    return {
        name: (one["dtype"], one["shape"], data[start + one["data_offsets"][0] : start + one["data_offsets"][1]])
        for name, one in described.items()
    }


def made(tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """A file of these tensors."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    body = b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(content)]}
        body += content
    return with_header(b"\0" * 8 + body, header)


def zeros(dtype: str, *shape: int) -> Tensor:
    """A tensor of nothing."""
    return dtype, list(shape), bytes(SIZES[dtype] * math.prod(shape))
