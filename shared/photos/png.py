"""Parses the chunks of a png file (W3C PNG 3rd edition), and limits their number and their unpacked size."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from shared.errors import PhotoUndecodable
from shared.photos.container import ARRAY, ICC_BYTES, Container

CHUNKS = 100_000  # encoders write one per 8 kB or more, 6,400 in 50 MB; some write one per row, 65,500 at most
TEXT_BYTES = 1024 * 1024  # of an unpacked text; only EXIF and XMP are read, which have a tenth of that

MAGIC = b"\x89PNG\r\n\x1a\n"
NEEDED = (b"PLTE", b"tRNS")
HEADER_BYTES = 768  # of the longest chunk that is needed besides the pixels, a palette of 256 colors
EXIF_TEXT, XMP_TEXT = b"Raw profile type exif", b"XML:com.adobe.xmp"
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
BYTES_BY_COLOR = {0: 1, 2: 4, 3: 1, 4: 4, 6: 4}  # bytes per pixel of Pillow's picture by color type; 16-bit gray has 2


@dataclass
class _Parts:
    """The chunks that matter, sorted by purpose."""

    kept: list[bytes] = field(default_factory=list)
    pixels: list[bytes] = field(default_factory=list)
    metadata: dict[bytes, bytes] = field(default_factory=dict)
    frames: int = 0
    first_is_frame: bool = False
    ended: bool = False


def read(data: bytes) -> Container:
    """Parse a png file; PhotoUndecodable if it is broken, or has too many chunks."""
    parts = _Parts()
    for name, content, whole in _chunks(data):
        if name == b"IDAT":
            if not parts.ended:
                parts.pixels.append(content)
        else:
            parts.ended = bool(parts.pixels)
            _sort(name, content, whole, parts)
    metadata = parts.metadata
    header = metadata.get(b"IHDR", b"")
    if len(header) < 13 or not parts.pixels:
        raise PhotoUndecodable("the picture is broken: it has no header, or no pixels")
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
    pixel = BYTES_BY_COLOR.get(header[9], 4) * (2 if header[8:10] == b"\x10\0" else 1)
    return Container(
        "PNG",
        width,
        height,
        width * height * (pixel + ARRAY),
        b"".join([MAGIC, *parts.kept, _chunk(b"IDAT", b"".join(parts.pixels)), _chunk(b"IEND", b"")]),
        metadata.get(b"eXIf") or _exif(metadata.get(EXIF_TEXT)),
        _text(metadata.get(XMP_TEXT)),
        _profile(metadata.get(b"iCCP")),
        parts.frames > 0 and parts.frames + (not parts.first_is_frame) > 1,
    )


def _sort(name: bytes, content: bytes, whole: bytes, parts: _Parts) -> None:
    """Keep a chunk as a whole if the pixels need it, keep the content of metadata, and drop everything else."""
    before = not parts.pixels
    if name in NEEDED and before:
        parts.kept.append(whole)
    elif name == b"IHDR" and name not in parts.metadata:
        parts.kept.insert(0, whole)
        parts.metadata[name] = content
    elif name in (b"eXIf", b"iCCP"):
        parts.metadata[name] = content
    elif name in TEXTS and content.startswith((EXIF_TEXT + b"\0", XMP_TEXT + b"\0")):
        parts.metadata[content[: content.index(b"\0")]] = name + content
    elif name == b"acTL" and before:
        parts.frames = int.from_bytes(content[:4])
    elif name == b"fcTL" and before:
        parts.first_is_frame = True


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield the name, content and whole of each chunk up to IEND; the last one may be cut off."""
    place, count = len(MAGIC), 0
    while place + 8 <= len(data):
        length, name = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8]
        count += 1
        if count > CHUNKS:
            raise PhotoUndecodable(f"the picture has more chunks than the limit of {CHUNKS}: save it again")
        if name == b"IEND":
            return
        whole = data[place : place + 12 + length] if length <= HEADER_BYTES else b""
        yield name, data[place + 8 : place + 8 + length], whole
        place += 12 + length


def _chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + name + content + zlib.crc32(content, zlib.crc32(name)).to_bytes(4)


def _unpack(packed: bytes, limit: int) -> bytes | None:
    """Unpack zlib data; None if they are broken, or larger than the limit once unpacked."""
    unpacking = zlib.decompressobj()
    try:
        content = unpacking.decompress(packed, limit)
    except zlib.error:
        return None
    return None if unpacking.unconsumed_tail else content


def _text(chunk: bytes | None) -> bytes | None:
    """Return the text of a tEXt, zTXt or iTXt chunk."""
    if chunk is None:
        return None
    name, content = chunk[:4], chunk[chunk.index(b"\0") + 1 :]
    if name == b"zTXt":
        return _unpack(content[1:], TEXT_BYTES)
    if name == b"iTXt":
        packed, parts = content[:1] == b"\1", content[2:].split(b"\0", 2)
        if len(parts) < 3:
            return None
        return _unpack(parts[2], TEXT_BYTES) if packed else parts[2]
    return content


def _exif(chunk: bytes | None) -> bytes | None:
    """Return the EXIF that ImageMagick writes as text: three heading lines, then hexadecimal."""
    text = _text(chunk)
    if text is None or len(text) > TEXT_BYTES:
        return None
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return None


def _profile(chunk: bytes | None) -> bytes | None:
    """Return the ICC profile of an iCCP chunk: a name, the compression method, then the compressed profile."""
    name, _, content = (chunk or b"").partition(b"\0")
    return _unpack(content[1:], ICC_BYTES) if name and content[:1] == b"\0" else None
