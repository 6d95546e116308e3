"""From the bytes of a picture file to upright sRGB, whatever the file is; limits are checked before pixels are made."""

import re
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO

import numpy as np
from PIL import Image as Pillow
from PIL import UnidentifiedImageError, features

from shared.errors import PhotoTooLarge, PhotoUndecodable
from shared.imaging.array_types import Image
from shared.photos import avif, exif, jpeg, png, profiles, signatures, webp
from shared.photos.container import Container, check_size
from shared.photos.profiles import ColorSpace, UnreadableProfile
from shared.settings import Limits

# What Pillow's plugins raise on broken files; a narrower list would let a fuzzed file stop a worker.
BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, OverflowError, TypeError, AssertionError),
    *(struct.error, zlib.error),
    RuntimeError,  # of the avif plugin
)

CUT_OFF = re.compile(
    "truncated|unexpected end|end of file|premature", re.IGNORECASE
)  # in the words of Pillow's plugins
STRIP_PIXELS = 4_000_000  # a strip takes 16 MB in each form that it has on its way to RGB
HEIF_BYTES_A_PIXEL = 16  # planes, libheif's RGB, its copy, Pillow's picture
UPRIGHT = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # rows become columns
BACKWARDS = (3, 4, 6, 7)  # the first row comes last

AVIF_MISSING = "avif is not read by the Pillow that is installed here: send a jpg or png"
AVIF = features.check("avif")
HEIF = find_spec("pillow_heif") is not None
if HEIF:
    import_module("pillow_heif").register_heif_opener()


@dataclass(frozen=True, eq=False)
class Decoded:
    """A picture, upright.

    Attributes:
        image: sRGB, uint8, (H, W, 3), contiguous; EXIF orientation applied.
        warnings: what was left out or changed on the way, for the sender.
        format: of the content, whatever the file was called: JPEG, MPO, PNG, WEBP, AVIF or HEIF.
        icc: the color profile that the file's numbers are meant in, as a file of RGB may have it; None for sRGB's.
        space, own: the same as a color space, and the file's numbers in it; None where these are `image`.
    """

    image: Image
    warnings: list[str] = field(default_factory=list)
    format: str = ""
    icc: bytes | None = None
    space: ColorSpace | None = None
    own: Image | None = None

    def returned(self, image: Image) -> Image:
        """What became of `image`, in sRGB, as the file's profile has its numbers; needs `keep_own`.

        Equal to the file's own numbers wherever `image` has not changed.
        """
        if self.space is None or self.own is None:
            return image
        return self.space.returned(image, self.image, self.own)


def decode_photo(data: bytes, limits: Limits, keep_own: bool = False) -> Decoded:
    """Decode a picture file.

    Alpha is put on white, 16 bits become 8, CMYK, palette and gray become RGB, an animation gives its first frame,
    and colors are converted from the file's profile to sRGB.

    Args:
        data: the file.
        limits: of bytes, pixels and memory.
        keep_own: keep the numbers that a profile other than sRGB's is of too, for `Decoded.returned`.

    Raises:
        PhotoTooLarge: over `limits.photo_bytes`, over `limits.photo_pixels`, a side or the memory of `container.py` by
            its header, or over the memory that there is.
        PhotoUndecodable: no jpg, png, webp or avif (heic where pillow-heif is installed), a broken one, or one with
            more scans, segments, chunks or frames than anybody writes.
    """
    if len(data) > limits.photo_bytes:
        raise PhotoTooLarge(f"the picture has {len(data)} bytes, more than the limit of {limits.photo_bytes}")
    try:
        container = _container(data)
        check_size(container.width, container.height, container.memory, limits)
        with _opened(container.pixels, container.format) as opened:
            return _upright(opened, container, keep_own)
    except MemoryError as error:
        raise PhotoTooLarge("the picture needs more memory than there is: send it smaller") from error
    except UnidentifiedImageError as error:
        raise PhotoUndecodable(_unknown(data)) from error
    except Pillow.DecompressionBombError as error:
        raise PhotoTooLarge(f"the picture is too large: {error}") from error
    except BROKEN as error:
        raise PhotoUndecodable(_broken(error)) from error


def _container(data: bytes) -> Container:
    if data.startswith(jpeg.MAGIC):
        return jpeg.read(data)
    if data.startswith(png.MAGIC):
        return png.read(data)
    if webp.is_webp(data):
        return webp.read(data)
    if AVIF and avif.is_avif(data):
        return avif.read(data)
    if HEIF and data[4:8] == b"ftyp":
        return _heif(data)
    raise UnidentifiedImageError


def _heif(data: bytes) -> Container:
    """libheif reads the header, and bounds what is in it by itself."""
    with _opened(data, "HEIF") as opened:
        width, height = opened.size
        return Container(
            "HEIF",
            width,
            height,
            width * height * HEIF_BYTES_A_PIXEL,
            data,
            opened.info.get("exif"),
            opened.info.get("xmp"),
            opened.info.get("icc_profile"),
            getattr(opened, "n_frames", 1) > 1,
        )


def _opened(pixels: bytes, format: str) -> Pillow.Image:
    """The file with its header read; Pillow's warning of many pixels says nothing beyond our own limit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
        return Pillow.open(BytesIO(pixels), formats=["JPEG" if format == "MPO" else format])


def _upright(opened: Pillow.Image, container: Container, keep_own: bool) -> Decoded:
    said: list[str] = []
    if container.animated:
        said.append("animated: only the first frame was used")
    orientation = _orientation(container, said)
    if opened.mode.startswith("I"):
        said.append("16 bits were reduced to 8")
    if opened.has_transparency_data:
        said.append("transparent parts were put on white")
    if opened.mode == "CMYK":
        ink = profiles.srgb_of_cmyk(container.icc)
        if ink is None:
            said.append("CMYK was converted without its color profile")
        return Decoded(_pixels(opened, orientation, _rgb if ink is None else ink.apply), said, container.format)
    image, icc = _pixels(opened, orientation, _rgb), profiles.rgb_profile(container.icc)
    if icc is None:
        return Decoded(image, said, container.format)
    space = ColorSpace(icc)
    try:
        if space.is_srgb():
            return Decoded(image, said, container.format, icc)
    except UnreadableProfile:
        said.append("its color profile could not be used: its colors were taken for sRGB")
        return Decoded(image, said, container.format)
    own = image.copy() if keep_own else None
    space.to_srgb(image)
    return Decoded(image, said, container.format, icc, space, own)


def _orientation(container: Container, said: list[str]) -> int:
    """Unreadable EXIF is no reason to lose the picture."""
    try:
        return exif.read_orientation(container.exif, container.xmp)
    except ValueError:
        said.append("EXIF could not be read: the picture may lie on its side")
        return 1


def _pixels(opened: Pillow.Image, orientation: int, to_rgb: Callable[[Pillow.Image], Pillow.Image]) -> Image:
    """As an upright array, strip by strip: at once, every form on the way would have the whole picture's memory."""
    width, height = opened.size
    image = np.empty((width, height, 3) if orientation in SIDEWAYS else (height, width, 3), np.uint8)
    rows = max(STRIP_PIXELS // width, 1)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        strip = to_rgb(opened.crop((0, top, width, bottom)))
        if orientation in UPRIGHT:
            strip = strip.transpose(UPRIGHT[orientation])
        place = slice(height - bottom, height - top) if orientation in BACKWARDS else slice(top, bottom)
        image[(slice(None), place) if orientation in SIDEWAYS else place] = np.asarray(strip)
    return image


def _rgb(strip: Pillow.Image) -> Pillow.Image:
    if strip.mode.startswith("I"):
        levels = np.clip(np.asarray(strip), 0, 65535).astype(np.uint16) >> 8
        return Pillow.fromarray(levels.astype(np.uint8)).convert("RGB")
    if strip.has_transparency_data:
        layered = strip.convert("RGBA")
        return Pillow.alpha_composite(Pillow.new("RGBA", layered.size, "white"), layered).convert("RGB")
    return strip.convert("RGB")


def _unknown(data: bytes) -> str:
    """What a file is that we cannot read; its sender can do something about most."""
    if _has_brand(data, signatures.HEIC_BRANDS):
        return "heic is not installed here: send a jpg or png, or have pillow-heif installed beside the workers"
    if avif.is_avif(data):
        return "the picture is broken: no decoder takes it" if AVIF else AVIF_MISSING
    return signatures.describe_file(data) or "the bytes are no picture that we read: send a jpg, png, webp or avif"


def _has_brand(data: bytes, brands: tuple[bytes, ...]) -> bool:
    """Whether the file is one of boxes, and its main brand one of these."""
    return data[4:8] == b"ftyp" and data[8:12] in brands


def _broken(error: Exception) -> str:
    told = str(error) or type(error).__name__
    if CUT_OFF.search(told):
        return "the picture is broken: it is cut off, its end is missing; upload it again"
    return f"the picture is broken: {told}"
