"""Which way up a photo is, by its EXIF (TIFF 6.0's directory) or XMP; nothing else of them is read."""

import re
import struct

ORIENTATION = 0x0112
TYPES = {3: "H", 4: "I", 8: "h", 9: "i"}  # the whole numbers; a camera writes 3
PREFIX = b"Exif\0\0"
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def read_orientation(exif: bytes | None, xmp: bytes | None) -> int:
    """1 to 8 where somebody noted it, else 1; EXIF goes before XMP.

    Raises ValueError for EXIF that cannot be read.
    """
    noted = _noted(exif) if exif else None
    if noted is None and xmp and (found := XMP_ORIENTATION.search(xmp)):
        return int(found[1])
    return 1 if noted is None else noted


def _noted(exif: bytes) -> int | None:
    """The entry of the first directory; one pass over at most 65,535 entries, whose values are not followed."""
    exif = exif.removeprefix(PREFIX).removeprefix(PREFIX)  # some write it twice
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    try:
        if order is None:
            raise ValueError("it has no TIFF header")
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        entries = struct.iter_unpack(order + "HHI4s", exif[start + 2 : start + 2 + 12 * count][: 12 * count])
        noted = [(kind, value) for tag, kind, _, value in entries if tag == ORIENTATION and kind in TYPES]
    except struct.error as error:
        raise ValueError("its directory is cut off") from error
    if not noted:
        return None
    kind, value = noted[-1]
    return int(struct.unpack_from(order + TYPES[kind], value)[0])
