"""The portrait on its way out: PNG, base64 or key, and what the answer says of each face."""

import base64
from io import BytesIO

from PIL import Image as Pillow

from functions.generate.provenance import Provenance
from shared.contract.manifests import Json
from shared.contract.workspace import Workspace
from shared.faces import Box, FaceEngine
from shared.faces.base import similarity
from shared.imaging.array_types import Image
from shared.settings import Limits

NAME = "portrait.png"
ENVELOPE_BYTES = 16 * 1024  # of an answer, for everything but the picture
COMPRESSION = 2  # of zlib; of 24 noisy megapixels 4 saves 13 % and takes 9.6 s instead of 4.9


def encode_png(image: Image, provenance: Provenance | None = None, icc: bytes | None = None) -> bytes:
    """The picture as a PNG file, lossless.

    Args:
        image: RGB, uint8, (H, W, 3).
        provenance: written into the file.
        icc: color profile that the picture's numbers are meant in; None writes none.
    """
    file = BytesIO()
    chunks = None if provenance is None else provenance.chunks()
    Pillow.fromarray(image).save(file, "PNG", compress_level=COMPRESSION, pnginfo=chunks, icc_profile=icc)
    return file.getvalue()


def save_portrait(
    image: Image,
    image_format: str,
    workspace: Workspace,
    limits: Limits,
    provenance: Provenance | None = None,
    icc: bytes | None = None,
) -> tuple[Json, list[str]]:
    """Save the portrait; `image`, `image_key`, `width`, `height` of the answer, and warnings.

    A picture that does not fit into an answer as base64 is given as its key, and a warning says so.
    """
    data = encode_png(image, provenance, icc)
    key = workspace.save(NAME, data)
    given, warnings = key, []
    if image_format == "base64":
        length = 4 * ((len(data) + 2) // 3)
        if length + ENVELOPE_BYTES <= limits.answer_bytes:
            given = base64.b64encode(data).decode("ascii")
        else:
            warnings.append(
                f"the picture has {length} bytes as base64 and an answer may have {limits.answer_bytes}: "
                "image is its key instead"
            )
    return {"image": given, "image_key": key, "width": image.shape[1], "height": image.shape[0]}, warnings


def describe_face(user_id: str, box: Box, before: float | None, after: float | None, engine: FaceEngine) -> Json:
    """One face: whose, where in the template, and how near to the person before and after; None where unknown."""
    distances = {"before": before, "after": after}
    return {
        "user_id": user_id,
        "box": list(box.rounded()),
        "similarity": {name: None if d is None else round(similarity(engine, d), 4) for name, d in distances.items()},
        "distance": {name: None if d is None else round(d, 4) for name, d in distances.items()},
    }
