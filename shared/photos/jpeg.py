"""Parses the markers of a jpg file (ISO 10918-1, annex B), and limits the work that its scans cause."""

import re
from dataclasses import dataclass, field

from shared.errors import PhotoUndecodable
from shared.photos.container import ARRAY, Container

SEGMENTS = 5_000  # 50 MB of full segments make 800; phones that append depth maps write a few hundred
SCANS = 100  # encoders write 6 to 20; every scan walks over the whole picture, however few bytes it has
SCANNED_PIXELS = 2_000_000_000  # 20 scans of 100 megapixels
ARITHMETIC = 10  # weight of a scan in arithmetic coding, where a thousandth of a bit may encode a whole decision

MAGIC = b"\xff\xd8\xff"
MARKER = re.compile(rb"\xff([\x01-\xfe])", re.DOTALL)
MARKER_AMONG_PIXELS = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])", re.DOTALL)  # RST0 to RST7 are part of the pixels
SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
ONE_SCAN_AT_MOST_BUFFERED = {0xC0, 0xC1, 0xC9}
ARITHMETIC_SOF = {*range(0xC9, 0xD0)} - {0xCC}
EOI, SOS, APP0, APP1, APP2, APP14, APP15, COM = 0xD9, 0xDA, 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
ALONE = {0x01, *range(0xD0, 0xDA)}  # markers without a length
RESERVED = {*range(0x02, 0xC0), 0xC8, *range(0xF0, 0xFE)}
EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
ICC, MPF, GAIN_MAP = b"ICC_PROFILE\0", b"MPF\0", b' hdrgm:Version="'


@dataclass
class _Header:
    """The content of the segments before the first scan."""

    kept: list[bytes] = field(default_factory=lambda: [MAGIC[:2]])
    segments: int = 0
    frame: int = 0
    size: tuple[int, int] = (0, 0)
    samples: int = 0
    components: int = 0
    exif: list[bytes] = field(default_factory=list)
    xmp: bytes | None = None
    icc: list[bytes] = field(default_factory=list)
    several: bool = False
    gain_map: bool = False


def read(data: bytes) -> Container:
    """Parse a jpg file; PhotoUndecodable if it is broken, or exceeds the limits of scans and segments."""
    header = _Header()
    start = _read_header(data, header)
    scans, end = _count_scans(data, start, header.segments)
    _check_work(header, scans)
    width, height = header.size
    buffered = scans > 1 or header.frame not in ONE_SCAN_AT_MOST_BUFFERED
    pixel = 1 if header.components == 1 else 4
    memory = width * height * pixel + max(2 * header.samples * buffered, width * height * ARRAY)
    return Container(
        "MPO" if header.several and not header.gain_map else "JPEG",
        width,
        height,
        memory,
        b"".join([*header.kept, data[start:end]]),
        b"".join(header.exif) or None,
        header.xmp,
        _profile(header.icc),
    )


def _read_header(data: bytes, header: _Header) -> int:
    """Read everything before the first scan into `header`, and return the offset of that scan."""
    place = 2
    while found := MARKER.search(data, place):
        marker, place = found[1][0], found.end()
        if marker in ALONE:
            continue
        if marker in RESERVED:
            break
        if marker == SOS:
            return found.start()
        header.segments += 1
        _check_segments(header.segments)
        end = place + int.from_bytes(data[place : place + 2])
        if end > len(data) or end < place + 2:
            break
        _read_segment(marker, data[place + 2 : end], data[found.start() : end], header)
        place = end
    raise PhotoUndecodable("the picture is broken: its header ends before the pixels begin")


def _read_segment(marker: int, content: bytes, whole: bytes, header: _Header) -> None:
    if marker in SOF:
        _read_frame(marker, content, header)
    if marker in (APP0, APP14) or not (APP0 <= marker <= APP15 or marker == COM):
        header.kept.append(whole)  # APP0 and APP14 declare the color space
    elif marker == APP1 and content.startswith(EXIF):
        header.exif.append(content[len(EXIF) :])
    elif marker == APP1 and content.startswith(XMP):
        header.xmp = content[len(XMP) :]
        header.gain_map |= GAIN_MAP in content
    elif marker == APP2 and content.startswith(ICC):
        header.icc.append(content[len(ICC) :])
    elif marker == APP2 and content.startswith(MPF):
        header.several = True


def _read_frame(marker: int, content: bytes, header: _Header) -> None:
    if len(content) < 6 or len(content) < 6 + 3 * content[5] or header.frame:
        raise PhotoUndecodable("the picture is broken: its header describes no frame, or more than one")
    header.frame, header.components = marker, content[5]
    height, width = int.from_bytes(content[1:3]), int.from_bytes(content[3:5])
    header.size = width, height
    factors = [(content[place] >> 4, content[place] & 15) for place in range(7, 6 + 3 * header.components, 3)]
    if not factors or 0 in sum(factors, ()):
        raise PhotoUndecodable("the picture is broken: its frame has a component without samples")
    across, down = max(one for one, _ in factors), max(one for _, one in factors)
    blocks = -(-width // (8 * across)) * -(-height // (8 * down))
    header.samples = blocks * 64 * sum(one * other for one, other in factors)


def _count_scans(data: bytes, start: int, segments: int) -> tuple[int, int]:
    """Return the number of scans from `start` on, and the offset of the picture's end.

    Empty scans count: they take a decoder as long as any other.
    """
    scans, place = 0, start
    while found := MARKER_AMONG_PIXELS.search(data, place):
        marker, place = found[1][0], found.end()
        if marker == EOI:
            return scans, place
        scans += marker == SOS
        segments += 1
        _check_segments(segments)
        if marker not in ALONE and marker not in RESERVED:
            place += int.from_bytes(data[place : place + 2])
    return scans, len(data)


def _check_segments(segments: int) -> None:
    if segments > SEGMENTS:
        raise PhotoUndecodable(f"the picture has more segments than the limit of {SEGMENTS}: save it again")


def _check_work(header: _Header, scans: int) -> None:
    if scans > SCANS:
        raise PhotoUndecodable(f"the picture has {scans} scans, more than the limit of {SCANS}: save it again")
    width, height = header.size
    walked = width * height * scans * (ARITHMETIC if header.frame in ARITHMETIC_SOF else 1)
    if scans > 1 and walked > SCANNED_PIXELS:
        raise PhotoUndecodable(
            f"the picture's {scans} scans walk over {walked} pixels, more than the limit of {SCANNED_PIXELS}: save it "
            "again as a jpg that is not progressive"
        )


def _profile(pieces: list[bytes]) -> bytes | None:
    """Join the pieces of an ICC profile, which begin with their number and their count; None if one is missing."""
    pieces = sorted(pieces)
    if not pieces or len(pieces[0]) < 2 or pieces[0][1] != len(pieces):
        return None
    return b"".join(piece[2:] for piece in pieces)
