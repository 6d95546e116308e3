"""Reads the orientation of a photo from its EXIF (a TIFF 6.0 directory) or XMP, and nothing else of them."""

import re
import struct

ORIENTATION = 0x0112
TYPES = {3: "H", 4: "I", 8: "h", 9: "i"}  # the integer types; cameras write 3
PREFIX = b"Exif\0\0"
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def read_orientation(exif: bytes | None, xmp: bytes | None) -> int:
    """Return the orientation of the EXIF, or else of the XMP; 1 if neither has one.

    Raises:
        ValueError: the EXIF cannot be read.
    """
    orientation = _read_directory(exif) if exif else None
    if orientation is None and xmp and (found := XMP_ORIENTATION.search(xmp)):
        return int(found[1])
    return 1 if orientation is None else orientation


def _read_directory(exif: bytes) -> int | None:
    """Return the orientation in the first directory; one pass over at most 65,535 entries, and no offsets followed."""
    exif = exif.removeprefix(PREFIX).removeprefix(PREFIX)  # some programs write it twice
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    try:
        if order is None:
            raise ValueError("it has no TIFF header")
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        entries = struct.iter_unpack(order + "HHI4s", exif[start + 2 : start + 2 + 12 * count][: 12 * count])
        found = [(kind, value) for tag, kind, _, value in entries if tag == ORIENTATION and kind in TYPES]
    except struct.error as error:
        raise ValueError("its directory is cut off") from error
    if not found:
        return None
    kind, value = found[-1]
    return int(struct.unpack_from(order + TYPES[kind], value)[0])
