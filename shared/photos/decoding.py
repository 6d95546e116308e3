"""From the bytes of a picture file to upright RGB, whatever the file is; limits are checked before pixels are made."""

import struct
import warnings
import zlib
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO

import numpy as np
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from shared.errors import PhotoTooLarge, PhotoUndecodable
from shared.images import Image
from shared.settings import Limits

# What Pillow's plugins raise on broken files; a narrower list would let a fuzzed file stop a worker.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, LookupError, OverflowError, TypeError, struct.error, zlib.error)

FORMATS = ["JPEG", "PNG", "WEBP"]  # MPO, the phones' jpg with a second picture inside, is opened by the JPEG plugin
STRIP = 512  # rows; a strip of a 100 MP photo has 18 MB
EXIF_ORIENTATION = 0x0112
ICC_HEADER, ICC_BYTES = 128, 4 * 1024 * 1024  # a profile of tables has less than two of these megabytes
UPRIGHT = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}

if find_spec("pillow_heif") is not None:
    import_module("pillow_heif").register_heif_opener()
    FORMATS.append("HEIF")


@dataclass(frozen=True, eq=False)
class Decoded:
    """A picture, upright.

    Attributes:
        image: RGB, uint8, (H, W, 3), contiguous; EXIF orientation applied.
        warnings: what was left out or changed on the way, for the sender.
        format: of the content, whatever the file was called: JPEG, MPO, PNG, WEBP or HEIF.
        icc: the colour profile that the numbers are meant in; None without one that is of RGB.
    """

    image: Image
    warnings: list[str] = field(default_factory=list)
    format: str = ""
    icc: bytes | None = None


def decode(data: bytes, limits: Limits) -> Decoded:
    """Decode a picture file.

    Alpha is put on white, 16 bits become 8, CMYK, palette and grey become RGB, an animation gives its first frame.

    Raises:
        PhotoTooLarge: over `limits.photo_bytes`, or over `limits.photo_pixels` by its header.
        PhotoUndecodable: no jpg, png or webp (heic where pillow-heif is installed), or a broken one.
    """
    if len(data) > limits.photo_bytes:
        raise PhotoTooLarge(f"the picture has {len(data)} bytes, more than the limit of {limits.photo_bytes}")
    try:
        with _opened(data) as opened:
            _check_pixels(opened, limits)
            return _upright(opened)
    except UnidentifiedImageError as error:
        raise PhotoUndecodable(f"the bytes are no picture that we read: send {_readable()}") from error
    except Pillow.DecompressionBombError as error:
        raise PhotoTooLarge(f"the picture is too large: {error}") from error
    except BROKEN as error:
        raise PhotoUndecodable(f"the picture is broken: {error}") from error


def _opened(data: bytes) -> Pillow.Image:
    """The file with its header read; Pillow's warning of many pixels says nothing beyond our own limit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
        return Pillow.open(BytesIO(data), formats=FORMATS)


def _check_pixels(opened: Pillow.Image, limits: Limits) -> None:
    width, height = opened.size
    if width * height > limits.photo_pixels:
        raise PhotoTooLarge(f"the picture has {width} x {height} pixels, more than the limit of {limits.photo_pixels}")


def _upright(opened: Pillow.Image) -> Decoded:
    said: list[str] = []
    name = opened.format or ""
    if name != "MPO" and getattr(opened, "n_frames", 1) > 1:
        said.append("animated: only the first frame was used")
    orientation = _orientation(opened, said)
    rgb = _rgb(opened, said)
    if orientation in UPRIGHT:
        rgb = rgb.transpose(UPRIGHT[orientation])
    return Decoded(_pixels(rgb), said, name, _profile(opened))


def _profile(opened: Pillow.Image) -> bytes | None:
    """The file's ICC profile; one of grey or CMYK says nothing of the RGB that was made of them."""
    profile = opened.info.get("icc_profile")
    if not isinstance(profile, bytes) or not ICC_HEADER <= len(profile) <= ICC_BYTES:
        return None
    return profile if profile[16:20] == b"RGB " and profile[36:40] == b"acsp" else None


def _pixels(rgb: Pillow.Image) -> Image:
    """As an array, copied strip by strip: at once, numpy's way needs the picture's memory twice more."""
    width, height = rgb.size
    image = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, STRIP):
        bottom = min(top + STRIP, height)
        image[top:bottom] = np.asarray(rgb.crop((0, top, width, bottom)))
    return image


def _orientation(opened: Pillow.Image, said: list[str]) -> int:
    """Unreadable EXIF is no reason to lose the picture."""
    try:
        return int(opened.getexif().get(EXIF_ORIENTATION, 1))
    except BROKEN:
        said.append("EXIF could not be read: the picture may lie on its side")
        return 1


def _rgb(opened: Pillow.Image, said: list[str]) -> Pillow.Image:
    if opened.mode.startswith("I"):
        said.append("16 bits were reduced to 8")
        levels = np.clip(np.asarray(opened), 0, 65535).astype(np.uint16) >> 8
        return Pillow.fromarray(levels.astype(np.uint8)).convert("RGB")
    if opened.mode == "CMYK":
        said.append("CMYK was converted without its colour profile")
    if opened.has_transparency_data:
        said.append("transparent parts were put on white")
        layered = opened.convert("RGBA")
        return Pillow.alpha_composite(Pillow.new("RGBA", layered.size, "white"), layered).convert("RGB")
    return opened if opened.mode == "RGB" else opened.convert("RGB")  # convert would copy


def _readable() -> str:
    return "a jpg, png, webp" + (" or heic" if "HEIF" in FORMATS else "; heic is not installed here")
