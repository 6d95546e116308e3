"""The finished portrait: encode it as PNG, save it, and describe it and its faces for the answer."""

import base64
import struct
from collections.abc import Iterator
from io import BytesIO

import cv2
import numpy as np
from PIL import Image as Pillow

from functions.generate.provenance import Provenance
from shared.contract.manifests import Json
from shared.contract.workspace import Workspace
from shared.faces import Box, FaceEngine
from shared.faces.base import similarity
from shared.imaging.array_types import Image
from shared.settings import Limits

NAME = "portrait.png"
ENVELOPE_BYTES = 16 * 1024  # bytes of an answer that are reserved for everything but the picture
# filter and strategy for photos: on 24 noisy megapixels a quarter of the time of zlib's level 2 with filters chosen by
# the row, and a seventh smaller, since noise has no repetitions to search for. Looking for runs of equal pixels takes a
# quarter more, so it is done where there are some
FILTER = [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_AVG, cv2.IMWRITE_PNG_STRATEGY]
RUNS, NO_RUNS = cv2.IMWRITE_PNG_STRATEGY_RLE, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY
# rows of which one is looked at; share of pixels equal to the one before, from which there are runs
SAMPLED, MANY = 16, 0.1
SIGNATURE = b"\x89PNG\r\n\x1a\n"
PICTURE_CHUNKS = (b"IHDR", b"IDAT", b"IEND")


def encode_png(image: Image, provenance: Provenance | None = None, icc: bytes | None = None) -> bytes:
    """Encode the picture as a PNG file, which is lossless.

    Args:
        image: RGB, uint8, (H, W, 3).
        provenance: metadata to write into the file; None writes none.
        icc: ICC profile of the color space that the pixels are in; None writes none.
    """
    strategy = RUNS if _has_runs(image) else NO_RUNS
    _, file = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [*FILTER, strategy])
    header, *pixels = (chunk for kind, chunk in list_chunks(file.tobytes()) if kind in PICTURE_CHUNKS)
    return b"".join([SIGNATURE, header, *_describing_chunks(provenance, icc), *pixels])


def list_chunks(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Return the type and the bytes of each chunk of a PNG file."""
    start = len(SIGNATURE)
    while start < len(file):
        length, kind = struct.unpack_from(">I4s", file, start)
        end = start + 12 + length
        yield kind, file[start:end]
        start = end


def _has_runs(image: Image) -> bool:
    """Return whether many pixels equal the one before, as in drawings and before a plain background."""
    rows = image[::SAMPLED]
    return float(np.mean(np.all(rows[:, 1:] == rows[:, :-1], axis=-1))) > MANY if image.shape[1] > 1 else False


def _describing_chunks(provenance: Provenance | None, icc: bytes | None) -> list[bytes]:
    """Return the chunks that hold the metadata and the profile, as Pillow writes them into a picture of one pixel."""
    file = BytesIO()
    chunks = None if provenance is None else provenance.chunks()
    Pillow.new("RGB", (1, 1)).save(file, "PNG", pnginfo=chunks, icc_profile=icc)
    return [chunk for kind, chunk in list_chunks(file.getvalue()) if kind not in PICTURE_CHUNKS]


def save_portrait(
    image: Image,
    image_format: str,
    workspace: Workspace,
    limits: Limits,
    provenance: Provenance | None = None,
    icc: bytes | None = None,
    beside: int = 0,
) -> tuple[Json, list[str]]:
    """Save the portrait in the workspace.

    A picture that does not fit into an answer as base64 is given as its key instead, with a warning.

    Args:
        image: RGB, uint8, (H, W, 3).
        image_format: "base64" or "png"; the latter gives the picture's key.
        workspace: where the picture is saved.
        limits: the limit of an answer's size.
        provenance, icc: see `encode_png`.
        beside: bytes that the answer needs for the people, besides the usual ones.

    Returns:
        The answer's `image`, `image_key`, `width` and `height`; and warnings.
    """
    data = encode_png(image, provenance, icc)
    key = workspace.save(NAME, data)
    image_or_key, warnings = key, []
    if image_format == "base64":
        length = 4 * ((len(data) + 2) // 3)
        if length + ENVELOPE_BYTES + beside <= limits.answer_bytes:
            image_or_key = base64.b64encode(data).decode("ascii")
        else:
            warnings.append(
                f"the picture has {length} bytes as base64, too many for an answer of at most "
                f"{limits.answer_bytes} bytes: image is the picture's key instead"
            )
    return {"image": image_or_key, "image_key": key, "width": image.shape[1], "height": image.shape[0]}, warnings


def describe_face(user_id: str | None, box: Box, before: float | None, after: float | None, engine: FaceEngine) -> Json:
    """Describe one face for the answer.

    Args:
        user_id: the person who takes the face; None for somebody who is known by references alone.
        box: where the face is in the template.
        before, after: distances from the person to the template's and to the portrait's face; None if unknown.
        engine: the engine that measured the distances.
    """
    distances = {"before": before, "after": after}
    return {
        "user_id": user_id,
        "box": list(box.rounded()),
        "similarity": {name: None if d is None else round(similarity(engine, d), 4) for name, d in distances.items()},
        "distance": {name: None if d is None else round(d, 4) for name, d in distances.items()},
    }
