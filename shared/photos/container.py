"""What is known of a picture file before a pixel is made: its header, and the part of it that makes the pixels.

A file is walked once, at the speed of `re` and `struct`, and every figure that a decoder's memory and time hang on is
held against a limit. Pillow is then given the pixels alone: text, EXIF, thumbnails, further frames and trailing data
have no way to it, so that no flood of them can cost anything.
"""

from dataclasses import dataclass

from shared.errors import PhotoTooLarge, PhotoUndecodable
from shared.settings import Limits

SIDE = 65_500  # pixels; no JPEG is longer, and PNG needs two rows of memory beside the picture
BYTES_A_PIXEL = 11  # of the decoder at `photo_pixels`: 1.1 GB; a progressive RGB without subsampling needs 10
SMALL = 100_000_000  # bytes of the decoder that any picture may take, however low `photo_pixels` is set
ARRAY = 3  # bytes a pixel of what `decode` returns, beside Pillow's own picture
ICC_BYTES = 4 * 1024 * 1024  # a profile of tables has less than two of these megabytes


@dataclass(frozen=True, eq=False)
class Container:
    """A picture file, taken apart.

    Attributes:
        format: of the content, whatever the file was called: JPEG, MPO, PNG, WEBP, AVIF or HEIF.
        width, height: of the pixels as they are stored.
        memory: bytes that a decoder needs for them at most, by the header.
        pixels: a file of that format with nothing in it but what makes the pixels.
        exif, xmp, icc: as they were found, or None.
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
    """Refuse by the header what would take too much; PhotoTooLarge names the figure and the limit.

    `memory` may be `BYTES_A_PIXEL` for each of `limits.photo_pixels`. PhotoUndecodable for a picture without pixels.
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
