"""A picture file before its pixels are decoded: its header, and the part of the file that holds the pixels.

A file is parsed once, at the speed of `re` and `struct`, and every figure that determines a decoder's memory or time is
checked against a limit. Pillow then gets the pixels only: text, EXIF, thumbnails, further frames and trailing data are
left out, so that floods of them cost nothing.
"""

from dataclasses import dataclass

from shared.errors import PhotoTooLarge, PhotoUndecodable
from shared.settings import Limits

SIDE = 65_500  # pixels; no JPEG is longer, and PNG needs memory for two more rows
BYTES_A_PIXEL = 11  # of a decoder at `photo_pixels`, 1.1 GB in all; progressive RGB without subsampling needs 10
SMALL = 100_000_000  # bytes of memory that a decoder may always use, however low `photo_pixels` is set
ARRAY = 3  # bytes per pixel of the decoded array, besides Pillow's picture
ICC_BYTES = 4 * 1024 * 1024  # profiles with tables have less than half of it


@dataclass(frozen=True, eq=False)
class Container:
    """A parsed picture file.

    Attributes:
        format: format of the content, whatever the file's name: JPEG, MPO, PNG, WEBP, AVIF or HEIF.
        width, height: of the pixels as stored, before the orientation is applied.
        memory: most bytes that a decoder needs, according to the header.
        pixels: a file of that format with nothing but what is needed for the pixels.
        exif, xmp, icc: the metadata as found, or None.
        animated: whether there are further frames.
    """

    format: str
    width: int
    height: int
    memory: int
    pixels: bytes
    exif: bytes | None = None
    xmp: bytes | None = None
    icc: bytes | None = None
    animated: bool = False


def check_size(width: int, height: int, memory: int, limits: Limits) -> None:
    """Refuse a picture that is too large according to its header.

    `memory` may be up to `BYTES_A_PIXEL` times `limits.photo_pixels`.

    Raises:
        PhotoTooLarge: the message names the figure and its limit.
        PhotoUndecodable: the picture has no pixels.
    """
    if not width or not height:
        raise PhotoUndecodable("the picture is broken: it has no pixels")
    if width * height > limits.photo_pixels:
        raise PhotoTooLarge(f"the picture has {width} x {height} pixels, more than the limit of {limits.photo_pixels}")
    if max(width, height) > SIDE:
        raise PhotoTooLarge(f"the picture has {width} x {height} pixels, more than the limit of {SIDE} a side")
    most = max(limits.photo_pixels * BYTES_A_PIXEL, SMALL)
    if memory > most:
        raise PhotoTooLarge(
            f"decoding {width} x {height} pixels of this kind takes {memory // 1_000_000} MB of memory, more than the "
            f"limit of {most // 1_000_000}: send it smaller, or as an ordinary jpg"
        )
