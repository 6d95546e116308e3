"""Parses the chunks of a webp file (RFC 9649), and keeps the first frame of an animation."""

from collections.abc import Iterator

from shared.errors import PhotoUndecodable
from shared.photos.container import Container

CHUNKS = 20_000  # an animation has one per frame, so this is about ten minutes
BYTES_A_PIXEL = 16  # measured: two canvases of libwebp, Pillow's copy of one, and Pillow's picture
ALPHA_AND_ANIMATION = 0x12  # the flags of VP8X that are kept; the others announce chunks that are left out
PIXELS = (b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")


def is_webp(data: bytes) -> bool:
    """Return whether the bytes begin like a webp file."""
    return data.startswith(b"RIFF") and data[8:12] == b"WEBP"


def read(data: bytes) -> Container:
    """Parse a webp file; PhotoUndecodable if it is broken, or has too many chunks."""
    found: dict[bytes, bytes] = {}
    kept: list[bytes] = []
    frames = 0
    for name, content in _chunks(data):
        if name == b"VP8X" and not kept:
            flags = content[:1] and bytes([content[0] & ALPHA_AND_ANIMATION])
            kept.append(_chunk(name, flags + content[1:]))
        elif name in PIXELS and not frames:
            kept.append(_chunk(name, content))
        elif name in (b"EXIF", b"XMP ", b"ICCP"):
            found.setdefault(name, content)
        frames += name == b"ANMF"
    body = b"WEBP" + b"".join(kept)
    width, height = _size(kept[0] if kept else b"")
    return Container(
        "WEBP",
        width,
        height,
        width * height * BYTES_A_PIXEL,
        b"RIFF" + len(body).to_bytes(4, "little") + body,
        found.get(b"EXIF"),
        found.get(b"XMP "),
        found.get(b"ICCP"),
        frames > 1,
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and content of each chunk, up to the length that the file declares."""
    place, count, end = 12, 0, 8 + int.from_bytes(data[4:8], "little")
    while place + 8 <= end:
        count += 1
        if count > CHUNKS:
            raise PhotoUndecodable(f"the picture has more chunks than the limit of {CHUNKS}: save it again")
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        if place + 8 + length > min(end, len(data)):
            raise PhotoUndecodable("the picture is broken: it is cut off within a chunk; upload it again")
        yield data[place : place + 4], data[place + 8 : place + 8 + length]
        place += 8 + length + (length & 1)


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) & 1)


def _size(first: bytes) -> tuple[int, int]:
    """Return width and height from the first chunk: VP8X's canvas, or the header of the only picture."""
    name, content = first[:4], first[8:]
    if name == b"VP8X" and len(content) >= 10:
        return 1 + int.from_bytes(content[4:7], "little"), 1 + int.from_bytes(content[7:10], "little")
    if name == b"VP8L" and len(content) >= 5 and content[0] == 0x2F:
        bits = int.from_bytes(content[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if name == b"VP8 " and len(content) >= 10 and content[3:6] == b"\x9d\x01\x2a":
        sides = int.from_bytes(content[6:8], "little"), int.from_bytes(content[8:10], "little")
        return sides[0] & 0x3FFF, sides[1] & 0x3FFF
    raise PhotoUndecodable("the picture is broken: its size cannot be read")
