"""Picture files that mean harm, of every format; each a small file that would take much memory, much time or both.

`corpus()` makes each one's bytes only when they are asked for. Most are a few hundred bytes to a few hundred kB; those
that have to be large are repetitions, made in a fraction of a second.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL import Image as Pillow

OK, LARGE, BROKEN = "OK", "PhotoTooLarge", "PhotoUndecodable"
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class HostilePicture:
    """One picture file.

    Attributes:
        name: says what it tries; unique.
        make: its bytes.
        expected: `OK`, or the error's type; None where either is right, and only the cost counts.
        says: what the error's message tells, beside the type.
    """

    name: str
    make: Callable[[], bytes]
    expected: str | None
    says: str = ""


def corpus() -> list[HostilePicture]:
    """All of them."""
    found = [*_pngs(), *_jpegs(), *_webps(), *_others()]
    assert len({one.name for one in found}) == len(found)
    return found


def starving() -> list[HostilePicture]:
    """Pictures that are accepted, for a machine that has not the memory for them."""
    return [
        HostilePicture("png", lambda: png(9_000, 9_000, 2), LARGE, "more memory than there is"),
        HostilePicture("jpg", lambda: progressive(9_000, 9_000, 1, 3), None),
        HostilePicture("webp", lambda: _huge(8_000), None),
    ]


ZEROS = 1 << 22  # in one block


def largest() -> list[HostilePicture]:
    """Pictures as large as any that is accepted, in the forms that take the most memory."""
    return [
        HostilePicture("png RGB of 100 megapixels", lambda: png(10_000, 10_000, 2), OK),
        HostilePicture("png RGBA of 100 megapixels", lambda: png(10_000, 10_000, 6), OK),
        HostilePicture("png of 100 megapixels, 16 bits", lambda: png(10_000, 10_000, 2, 16), OK),
        HostilePicture("png gray of 100 megapixels, 16 bits", lambda: png(10_000, 10_000, 0, 16), OK),
        HostilePicture("png RGB of 100 megapixels, interlaced", lambda: png(10_000, 10_000, 2, interlaced=True), OK),
        HostilePicture("jpg of 100 megapixels", lambda: _saved((9_999, 9_999), "JPEG"), OK),
        HostilePicture("jpg of 100 megapixels, on its side", lambda: _turned(9_999), OK),
        HostilePicture("jpg of 100 megapixels, progressive", lambda: progressive(9_992, 9_992, 19, 3), OK),
        HostilePicture("jpg of 91 megapixels, CMYK, progressive", lambda: progressive(9_536, 9_536, 19, 4), OK),
        HostilePicture("webp of 68 megapixels", lambda: _saved((8_291, 8_291), "WEBP", lossless=True, method=0), OK),
    ]


def png(width: int, height: int, color: int, depth: int = 8, interlaced: bool = False, more: bytes = b"") -> bytes:
    """Black, packed as tight as can be; `more` are chunks before the pixels."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    rows = height if not interlaced else height * 2
    return _png(width, height, color, depth, (width * samples * depth + 7) // 8 + 1, rows, interlaced, more)


def chunk(name: bytes, content: bytes) -> bytes:
    """One chunk of a png."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def header(width: int, height: int, color: int, depth: int = 8, interlaced: bool = False) -> bytes:
    """The beginning of a png."""
    return PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced))


def segment(marker: int, content: bytes) -> bytes:
    """One segment of a jpg."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def progressive(width: int, height: int, scans: int, components: int = 1) -> bytes:
    """A black jpg whose first scan is whole; the others say of all blocks, a few bytes long, that nothing follows."""
    blocks = -(-width // 8) * -(-height // 8)
    runs = -(-blocks // 0x7FFF)
    bits = ("0" + "1" * 14) * runs
    empty = int(bits.ljust(-(-len(bits) // 8) * 8, "1"), 2).to_bytes(-(-len(bits) // 8)).replace(b"\xff", b"\xff\0")
    return b"".join(
        [
            b"\xff\xd8",
            segment(0xDB, b"\0" + b"\1" * 64),
            _frame(0xC2, width, height, components),
            segment(0xC4, b"\0" + b"\1" + bytes(15) + b"\0"),
            segment(0xC4, b"\x10" + b"\1" + bytes(15) + b"\xe0"),
            _scan(components, b"\0\0\0") + bytes(-(-blocks * components // 8)),
            (_scan(1, b"\1\x3f\0", 0x10) + empty) * scans,
            b"\xff\xd9",
        ]
    )


def photo(format: str = "JPEG", side: int = 64, **options: object) -> bytes:
    """A small picture that is nobody's enemy."""
    gradient = Pillow.linear_gradient("L").resize((side, side))
    return _encoded(Pillow.merge("RGB", [gradient, gradient.rotate(90), gradient.rotate(180)]), format, **options)


def _frame(marker: int, width: int, height: int, components: int, sampling: int = 0x11) -> bytes:
    parts = b"".join(bytes([number + 1, sampling, 0]) for number in range(components))
    return segment(marker, struct.pack(">BHHB", 8, height, width, components) + parts)


def _scan(components: int, spectrum: bytes, tables: int = 0) -> bytes:
    parts = b"".join(bytes([number + 1, tables]) for number in range(components))
    return segment(0xDA, bytes([components]) + parts + spectrum)


def _png(
    width: int, height: int, color: int, depth: int, row: int, rows: int, interlaced: bool = False, more: bytes = b""
) -> bytes:
    pixels = chunk(b"IDAT", _packed_zeros(row * rows))
    return header(width, height, color, depth, interlaced) + more + pixels + chunk(b"IEND", b"")


def _packed_zeros(count: int) -> bytes:
    """So many zero bytes, packed by zlib; most are one block, repeated, as packing a gigabyte takes seconds."""
    packing = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = packing.compress(bytes(ZEROS)) + packing.flush(zlib.Z_FULL_FLUSH)
    last = packing.compress(bytes(count % ZEROS)) + packing.flush()
    checksum = (count % 65_521) << 16 | 1  # Adler-32 of zeros
    return b"\x78\xda" + block * (count // ZEROS) + last + struct.pack(">I", checksum)


def _encoded(picture: Pillow.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def _saved(size: tuple[int, int], format: str, **options: object) -> bytes:
    return _encoded(Pillow.new("RGB", size, (200, 90, 60)), format, **options)


def _turned(side: int) -> bytes:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    return _saved((side, side), "JPEG", exif=exif)


def _exif(entries: int, size: int, padding: int = 0) -> bytes:
    """A directory whose every entry claims `size` bytes of all that is there."""
    one = b"".join(struct.pack(">HHII", 0x8000 + number % 0x7FFF, 7, size, 0) for number in range(entries))
    return b"MM\0*\0\0\0\x08" + struct.pack(">H", entries) + one + bytes(4 + padding)


LOOP = b"MM\0*\0\0\0\x08\0\1\x87\x69\0\4\0\0\0\1\0\0\0\x08\0\0\0\x08"


def _bombs(name: bytes, content: bytes, size: int, count: int = 1) -> bytes:
    bomb = zlib.compress(bytes(size), 9)
    return b"".join(chunk(name, content.replace(b"?", b"%d" % number) + bomb) for number in range(count))


def _pngs() -> Iterator[HostilePicture]:
    def one(name: str, make: Callable[[], bytes], expected: str | None = OK, says: str = "") -> HostilePicture:
        return HostilePicture("png " + name, make, expected, says)

    def with_chunks(name: str, chunks: Callable[[], bytes], expected: str | None = OK) -> HostilePicture:
        return one(name, lambda: png(64, 64, 2, more=chunks()), expected, "chunks" if expected == BROKEN else "")

    yield one("100,000,000 pixels wide", lambda: _png(100_000_000, 1, 2, 8, 1000, 1), LARGE, "65500 a side")
    yield one("100,000,000 pixels high", lambda: _png(1, 100_000_000, 0, 1, 2, 1000), LARGE, "65500 a side")
    yield one("33,000,000 x 3", lambda: _png(33_000_000, 3, 0, 8, 1000, 1), LARGE, "65500 a side")
    yield one("65,501 x 1", lambda: png(65_501, 1, 2), LARGE, "65500 a side")
    yield one("65,500 x 1", lambda: png(65_500, 1, 2))
    yield one("1 x 65,500", lambda: png(1, 65_500, 2))
    yield one("of 100,010,000 pixels", lambda: _png(10_001, 10_000, 2, 8, 100, 1), LARGE, "100000000")
    yield one("2^31 x 2^31", lambda: _png(2**31 - 1, 2**31 - 1, 2, 8, 10, 1), LARGE, "100000000")
    yield one("0 x 0", lambda: _png(0, 0, 2, 8, 1, 1), BROKEN)
    yield one("1 x 0", lambda: _png(1, 0, 2, 8, 4, 1), BROKEN)
    yield one("that says 100 megapixels and has none", lambda: _png(10_000, 10_000, 2, 8, 0, 0), BROKEN)
    yield one("whose pixels unpack to 200 MB", lambda: _png(8, 8, 2, 8, 1_000_000, 200))
    yield one("of color 3 without a palette", lambda: png(8, 8, 3), BROKEN)
    yield one("of a color that there is not", lambda: _png(8, 8, 7, 8, 9, 8), BROKEN)
    yield one("with two headers", lambda: header(8, 8, 2) + png(2_000, 2_000, 2)[8:])
    yield with_chunks("with a text bomb", lambda: _bombs(b"zTXt", b"a\0\0", 50_000_000))
    yield with_chunks("with 300 text bombs", lambda: _bombs(b"zTXt", b"k?\0\0", 1_000_000, 300))
    yield with_chunks("with an XMP bomb", lambda: _bombs(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0", 50_000_000))
    yield with_chunks("with EXIF in a text bomb", lambda: _bombs(b"zTXt", b"Raw profile type exif\0\0", 50_000_000))
    yield with_chunks("with a color profile bomb", lambda: _bombs(b"iCCP", b"a\0\0", 200_000_000))
    yield with_chunks("with 1,000,000 texts", lambda: chunk(b"tEXt", b"k\0" + b"x" * 20) * 1_000_000, BROKEN)
    yield with_chunks("with 4,000,000 empty chunks", lambda: chunk(b"teXt", b"") * 4_000_000, BROKEN)
    yield with_chunks("with a text called transparency", lambda: chunk(b"tEXt", b"transparency\0\1"))
    yield with_chunks("with EXIF that overlaps 65,535 times", lambda: chunk(b"eXIf", _exif(65_535, 700_000)))
    yield with_chunks("with EXIF in a loop", lambda: chunk(b"eXIf", LOOP))
    yield with_chunks("of two billion frames", lambda: chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)))
    yield one(
        "with 4,000,000 empty pieces of pixels", lambda: header(8, 8, 2) + chunk(b"IDAT", b"") * 4_000_000, BROKEN
    )
    yield one("of 20 frames", lambda: _animated("PNG", 20))


def _jpegs() -> Iterator[HostilePicture]:
    def one(name: str, make: Callable[[], bytes], expected: str | None = OK, says: str = "") -> HostilePicture:
        return HostilePicture("jpg " + name, make, expected, says)

    def with_segments(name: str, segments: Callable[[], bytes], expected: str | None = OK) -> HostilePicture:
        whole = photo()
        return one(name, lambda: whole[:2] + segments() + whole[2:], expected, "segments" if expected == BROKEN else "")

    yield one("of 12,000 empty scans", lambda: progressive(9_992, 9_992, 12_000), BROKEN, "segments")
    yield one("of 4,000 empty scans", lambda: progressive(9_992, 9_992, 4_000), BROKEN, "4001 scans")
    yield one("of 99 empty scans of 100 megapixels", lambda: progressive(9_992, 9_992, 99), BROKEN, "100 scans walk")
    yield one("of 99 empty scans of 1 megapixel", lambda: progressive(1_000, 1_000, 99))
    yield one("of 19 empty scans of 20 megapixels", lambda: progressive(4_472, 4_472, 19, 3))
    yield one("of 20 scans, arithmetic", lambda: _arithmetic(9_992, 20), BROKEN, "scans walk")
    yield one("of 9 scans, arithmetic, without data", lambda: _arithmetic(4_000, 9), None)
    yield one(
        "of 5 scans hidden behind junk", lambda: progressive(200, 200, 5).replace(b"\xff\xda", b"\xff\xff\xff\xda")
    )
    yield one("65,535 x 65,535", lambda: progressive(65_535, 65_535, 0)[:4000], LARGE, "100000000")
    yield one("CMYK progressive of 100 megapixels", lambda: progressive(9_992, 9_992, 9, 4), LARGE, "MB of memory")
    yield one("sampled so that memory is 16-fold", lambda: _sampled(9_000), None)
    yield one("with two frames", lambda: _two_frames(), BROKEN)
    yield one(
        "with a frame of no components", lambda: b"\xff\xd8" + _frame(0xC0, 8, 8, 0) + _scan(1, b"\0\x3f\0"), BROKEN
    )
    yield one(
        "with a component of no samples", lambda: b"\xff\xd8" + _frame(0xC0, 8, 8, 1, 0) + _scan(1, b"\0\x3f\0"), BROKEN
    )
    yield one("of nothing but its first bytes", lambda: b"\xff\xd8\xff", BROKEN)
    yield one("with 50 MB of junk before the header", lambda: b"\xff\xd8\xff\xe0\0\2" + bytes(50_000_000), BROKEN)
    yield with_segments("with 40 MB of stuffed zeros in its header", lambda: b"\xff\0" * 20_000_000)
    yield with_segments("with 40 MB of padding in its header", lambda: b"\xff" * 40_000_000)
    yield with_segments("with 10,000,000 comments", lambda: segment(0xFE, b"") * 10_000_000, BROKEN)
    yield with_segments("with 40 MB of EXIF", lambda: segment(0xE1, b"Exif\0\0" + b"x" * 65_000) * 600)
    yield with_segments("with EXIF in a loop", lambda: segment(0xE1, b"Exif\0\0" + LOOP))
    yield with_segments("with EXIF that overlaps", lambda: segment(0xE1, b"Exif\0\0" + _exif(5_000, 60_000)))
    yield with_segments(
        "with EXIF that overlaps 65,535 times", lambda: _split_exif(_exif(65_535, 2_000_000, 2_000_000))
    )
    yield with_segments("with 255 pieces of a profile", lambda: b"".join(_profile(piece) for piece in range(255)))
    yield with_segments("with 20 MB of Photoshop's resources", lambda: segment(0xED, _resources()) * 300)
    yield with_segments("of 4 billion pictures", lambda: segment(0xE2, _pictures(0xFFFF_FFFF, 0xFFFF_FFFF)))
    yield with_segments("of 4,000 pictures", lambda: segment(0xE2, _pictures(4_000, 64_000) + bytes(64_000)))
    yield one("with 40 MB of stuffed zeros among its pixels", lambda: photo()[:-2] + b"\xff\0" * 20_000_000, None)
    yield one("with 13,000,000 restarts among its pixels", lambda: photo()[:-2] + b"\xff\xd0" * 13_000_000, None)
    yield one("with a film behind it", lambda: photo() + b"\0\0\0\x18ftypmp42" + bytes(20_000_000))
    yield one("of which half is missing", lambda: photo(side=512)[:5000], BROKEN)


def _webps() -> Iterator[HostilePicture]:
    def one(name: str, make: Callable[[], bytes], expected: str | None = OK, says: str = "") -> HostilePicture:
        return HostilePicture("webp " + name, make, expected, says)

    yield one("of 16,383 x 16,383", lambda: _huge(16_383), LARGE, "100000000")
    yield one("of 100 megapixels", lambda: _huge(9_999), LARGE, "MB of memory")
    yield one("on a canvas of 2^24 x 2^24", lambda: _canvas(2**24, 2**24), LARGE, "100000000")
    yield one("on a canvas of 16,777,216 x 1", lambda: _canvas(2**24, 1), LARGE, "65500 a side")
    yield one("of 60 frames", lambda: _animated("WEBP", 60))
    yield one(
        "of 1,000,000 frames", lambda: _canvas(64, 64, _riff_chunk(b"ANMF", bytes(16)) * 1_000_000), BROKEN, "chunks"
    )
    yield one(
        "with EXIF that overlaps 65,535 times", lambda: _canvas_with(_riff_chunk(b"EXIF", _exif(65_535, 700_000)))
    )
    yield one("with 40 MB of EXIF", lambda: _canvas_with(_riff_chunk(b"EXIF", b"Exif\0\0" * 7_000_000)))
    yield one("of which half is missing", lambda: photo("WEBP", 512)[:2000], BROKEN)
    yield one("that is empty", lambda: _riff(b""), BROKEN)


def _others() -> Iterator[HostilePicture]:
    for format in ("TIFF", "GIF", "BMP", "ICO", "PDF", "EPS", "TGA", "PPM"):
        yield HostilePicture(f"a {format}", lambda format=format: photo(format), BROKEN, "send a jpg")  # type: ignore[misc]
    texts = {
        "nothing": b"",
        "one byte": b"\xff",
        "a page": b"<html>",
        "an svg that reads files": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "PostScript that writes files": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/tmp/pwned) (w) file\n",
        "40 MB of zeros": bytes(40_000_000),
    }
    for name, data in texts.items():
        yield HostilePicture(name, lambda data=data: data, BROKEN, "send a jpg")  # type: ignore[misc]


def _arithmetic(side: int, scans: int) -> bytes:
    parts = [b"\xff\xd8", segment(0xDB, b"\0" + b"\1" * 64), _frame(0xCA, side, side, 1), _scan(1, b"\0\0\0")]
    return b"".join([*parts, _scan(1, b"\0\1\x3f") * (scans - 1), b"\xff\xd9"])


def _sampled(side: int) -> bytes:
    """One component of sixteen blocks beside two of one: the frame's memory is by its blocks, not by its pixels."""
    whole = progressive(side, side, 3, 3)
    return whole.replace(bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]), bytes([1, 0x44, 0, 2, 0x44, 0, 3, 0x44, 0]))


def _two_frames() -> bytes:
    whole = photo()
    place = whole.index(b"\xff\xc0")
    return whole[:place] + _frame(0xC0, 8, 8, 3) + whole[place:]


def _split_exif(exif: bytes) -> bytes:
    return b"".join(segment(0xE1, b"Exif\0\0" + exif[place : place + 65_000]) for place in range(0, len(exif), 65_000))


def _profile(piece: int) -> bytes:
    return segment(0xE2, b"ICC_PROFILE\0" + bytes([piece + 1, 255]) + bytes(65_000))


def _resources() -> bytes:
    return b"Photoshop 3.0\0" + (b"8BIM" + struct.pack(">HHI", 0x03ED, 0, 0)) * 5_400


def _pictures(count: int, size: int) -> bytes:
    entries = struct.pack(">HHI4sHHIIHHII", 0xB000, 7, 4, b"0100", 0xB001, 4, 1, count, 0xB002, 7, size, 50)
    return b"MPF\0MM\0*\0\0\0\x08\0\3" + entries + bytes(4)


def _riff_chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) & 1)


def _riff(content: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(content) + 4) + b"WEBP" + content


def _canvas(width: int, height: int, more: bytes = b"") -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return _riff(_riff_chunk(b"VP8X", b"\2\0\0\0" + sides) + _riff_chunk(b"ANIM", bytes(6)) + more)


def _canvas_with(more: bytes) -> bytes:
    """A picture of 64 x 64 with a chunk behind its pixels."""
    sides = (63).to_bytes(3, "little") * 2
    return _riff(_riff_chunk(b"VP8X", b"\x08\0\0\0" + sides) + photo("WEBP")[12:] + more)


def _huge(side: int) -> bytes:
    """The header of a lossless picture of that side, and what says that all of it has one color."""
    small = photo("WEBP", 16, lossless=True)
    content = bytearray(small[20:])
    content[1:5] = struct.pack("<I", (side - 1) | (side - 1) << 14)
    return _riff(_riff_chunk(b"VP8L", bytes(content)))


def _animated(format: str, count: int) -> bytes:
    frames = [Pillow.new("RGB", (400, 400), (number, 0, 0)) for number in range(count)]
    return _encoded(frames[0], format, save_all=True, append_images=frames[1:])
