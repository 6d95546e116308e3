"""Decodes picture files of all supported formats to upright sRGB; limits are checked before pixels are decoded."""

import re
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
import pi_heif
from PIL import Image as Pillow
from PIL import UnidentifiedImageError, features

from shared.errors import PhotoTooLarge, PhotoUndecodable
from shared.imaging.array_types import Image
from shared.photos import avif, exif, jpeg, png, profiles, signatures, webp
from shared.photos.container import Container, check_size
from shared.photos.profiles import ColorSpace, UnreadableProfile
from shared.settings import Limits

# What Pillow's plugins raise for broken files; with a narrower list a fuzzed file could stop a worker.
BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, OverflowError, TypeError, AssertionError),
    *(struct.error, zlib.error),
    RuntimeError,  # from the avif plugin
)

CUT_OFF = re.compile("truncated|unexpected end|end of file|premature", re.IGNORECASE)  # as Pillow's plugins put it
STRIP_PIXELS = 4_000_000  # pixels decoded to RGB at once; each intermediate form of them takes 16 MB
HEIF_BYTES_A_PIXEL = 16  # planes, libheif's RGB, its copy and Pillow's picture
UPRIGHT = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # orientations in which rows become columns
BACKWARDS = (3, 4, 6, 7)  # orientations in which the first row comes last

AVIF_MISSING = "avif is not supported by the Pillow that is installed here: send a jpg or png"
AVIF = features.check("avif")
pi_heif.register_heif_opener()


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded picture, upright.

    Attributes:
        image: sRGB, uint8, (H, W, 3), contiguous, with the EXIF orientation applied.
        warnings: what was left out or changed, for the sender.
        format: format of the content, whatever the file's name: JPEG, MPO, PNG, WEBP, AVIF or HEIF.
        icc: color profile of the file's values, as an RGB file may contain it; None if there is no usable profile.
        space: the profile's color space; None if the file's values are sRGB already.
        own: the file's values in that space; None without `keep_own`, or if `image` has the file's values.
    """

    image: Image
    warnings: list[str] = field(default_factory=list)
    format: str = ""
    icc: bytes | None = None
    space: ColorSpace | None = None
    own: Image | None = None

    def to_file_space(self, image: Image) -> Image:
        """Convert an edited version of `self.image` from sRGB to the file's color space; needs `keep_own`.

        The result has the file's values wherever `image` has not changed.
        """
        if self.space is None or self.own is None:
            return image
        return self.space.from_srgb(image, self.image, self.own)


def decode_photo(data: bytes, limits: Limits, keep_own: bool = False) -> Decoded:
    """Decode a picture file.

    Transparent parts become white, 16 bits become 8, CMYK, palette and gray become RGB, an animation gives its first
    frame, and colors are converted from the file's profile to sRGB.

    Args:
        data: the file's bytes.
        limits: limits of bytes, pixels and memory.
        keep_own: also keep the file's values if its profile is not sRGB's, for `Decoded.to_file_space`.

    Raises:
        PhotoTooLarge: the file exceeds `limits.photo_bytes`; or, by its header, `limits.photo_pixels` or the limits of
            side and memory in `container.py`; or the available memory.
        PhotoUndecodable: the file is not a jpg, png, webp, heic or avif, is broken, or exceeds the limits of scans,
            segments, chunks or frames.
    """
    if len(data) > limits.photo_bytes:
        raise PhotoTooLarge(f"the picture has {len(data)} bytes, more than the limit of {limits.photo_bytes}")
    try:
        container = _container(data)
        check_size(container.width, container.height, container.memory, limits)
        with _open(container.pixels, container.format) as opened:
            return _upright(opened, container, keep_own)
    except MemoryError as error:
        raise PhotoTooLarge("the picture needs more memory than there is: send it smaller") from error
    except UnidentifiedImageError as error:
        raise PhotoUndecodable(_unknown(data)) from error
    except Pillow.DecompressionBombError as error:
        raise PhotoTooLarge(f"the picture is too large: {error}") from error
    except BROKEN as error:
        raise PhotoUndecodable(_describe_damage(error)) from error


def check_header(data: bytes, limits: Limits) -> None:
    """Raise the error that `decode_photo` raises for a file that is not a picture or too large, by its header alone."""
    if len(data) > limits.photo_bytes:
        raise PhotoTooLarge(f"the picture has {len(data)} bytes, more than the limit of {limits.photo_bytes}")
    try:
        container = _container(data)
    except UnidentifiedImageError as error:
        raise PhotoUndecodable(_unknown(data)) from error
    except BROKEN as error:
        raise PhotoUndecodable(_describe_damage(error)) from error
    check_size(container.width, container.height, container.memory, limits)


def _container(data: bytes) -> Container:
    if data.startswith(jpeg.MAGIC):
        return jpeg.read(data)
    if data.startswith(png.MAGIC):
        return png.read(data)
    if webp.is_webp(data):
        return webp.read(data)
    if AVIF and avif.is_avif(data):
        return avif.read(data)
    if _has_brand(data, signatures.HEIC_BRANDS):
        return _heif(data)
    raise UnidentifiedImageError


def _heif(data: bytes) -> Container:
    """Read the header with libheif, which has its own limits."""
    with _open(data, "HEIF") as opened:
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


def _open(pixels: bytes, format: str) -> Pillow.Image:
    """Open a file and read its header, without Pillow's warning about many pixels: we have our own limit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
        return Pillow.open(BytesIO(pixels), formats=["JPEG" if format == "MPO" else format])


def _upright(opened: Pillow.Image, container: Container, keep_own: bool) -> Decoded:
    notes: list[str] = []
    if container.animated:
        notes.append("animated: only the first frame was used")
    orientation = _orientation(container, notes)
    if opened.mode.startswith("I"):
        notes.append("16 bits were reduced to 8")
    if opened.has_transparency_data:
        notes.append("transparent parts were put on white")
    if opened.mode == "CMYK":
        ink = profiles.srgb_of_cmyk(container.icc)
        if ink is None:
            notes.append("CMYK was converted without its color profile")
        return Decoded(_pixels(opened, orientation, _rgb if ink is None else ink.apply), notes, container.format)
    image, icc = _pixels(opened, orientation, _rgb), profiles.rgb_profile(container.icc)
    if icc is None:
        return Decoded(image, notes, container.format)
    space = ColorSpace(icc)
    try:
        if space.is_srgb():
            return Decoded(image, notes, container.format, icc)
    except UnreadableProfile:
        notes.append("its color profile could not be used: its colors were taken for sRGB")
        return Decoded(image, notes, container.format)
    own = image.copy() if keep_own else None
    space.to_srgb(image)
    return Decoded(image, notes, container.format, icc, space, own)


def _orientation(container: Container, notes: list[str]) -> int:
    """Return the orientation, 1 to 8; unreadable EXIF gives a note and 1, since the picture can still be used."""
    try:
        return exif.read_orientation(container.exif, container.xmp)
    except ValueError:
        notes.append("EXIF could not be read: the picture may lie on its side")
        return 1


def _pixels(opened: Pillow.Image, orientation: int, to_rgb: Callable[[Pillow.Image], Pillow.Image]) -> Image:
    """Return the upright picture, converted strip by strip so that no intermediate form holds the whole picture."""
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
    return strip if strip.mode == "RGB" else strip.convert("RGB")  # which copies an RGB picture too


def _unknown(data: bytes) -> str:
    """Return what kind of file it is that cannot be read, and what its sender can do."""
    if avif.is_avif(data):
        return "the picture is broken: it cannot be decoded" if AVIF else AVIF_MISSING
    if signatures.is_picture(data):
        return "the picture is broken: its header cannot be read"
    return signatures.explain_file(data)


def _has_brand(data: bytes, brands: tuple[bytes, ...]) -> bool:
    """Return whether the file is an ISO media file with one of these major brands."""
    return data[4:8] == b"ftyp" and data[8:12] in brands


def _describe_damage(error: Exception) -> str:
    cause = str(error) or type(error).__name__
    if CUT_OFF.search(cause):
        return "the picture is broken: it is cut off, its end is missing; upload it again"
    return f"the picture is broken: {cause}"
