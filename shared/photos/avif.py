"""Parses the boxes of an avif file (ISO 14496-12, 23008-12, AV1-AVIF 1.1) and rewrites it with a single picture.

The rewritten file has the primary item, its tiles if it is a grid, and the same of its transparency. Their AV1 streams
are parsed up to the sequence headers, because a decoder allocates memory for the size in that header, no matter what
the boxes say, and takes time for every frame, whether it is shown or not.
"""

import struct
from dataclasses import dataclass

from shared.errors import PhotoUndecodable
from shared.photos.boxes import BROKEN, CUT_OFF, Meta, read_meta, walk
from shared.photos.container import ARRAY, Container
from shared.photos.sequence_header import SequenceHeader, sequence_header

PLANES, MANY_PLANES = 5, 8  # bytes per pixel of 4:2:0 with 10 bits and of 4:4:4 with 12 bits, both with transparency
FORMS = 12 + ARRAY  # bytes per pixel of libavif's RGBA, its copy, Pillow's picture, and the decoded array
KEPT = (b"ispe", b"pixi", b"auxC")


@dataclass(frozen=True)
class _Item:
    """A picture or a part of one, as the boxes describe it."""

    kind: bytes
    properties: dict[bytes, bytes]
    data: bytes
    tiles: tuple["_Item", ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        if b"ispe" not in self.properties:
            raise PhotoUndecodable(f"{BROKEN}an item in it has no size")
        width, height = struct.unpack_from(">II", self.properties[b"ispe"], 4)
        return width, height


def is_avif(data: bytes) -> bool:
    """Return whether the bytes begin like an avif file."""
    if data[4:8] != b"ftyp":
        return False
    brands = data[8 : min(int.from_bytes(data[:4]), 200)]
    return any(brands[place : place + 4] in (b"avif", b"avis") for place in range(0, len(brands), 4))


def read(data: bytes) -> Container:
    """Parse an avif file; PhotoUndecodable if it is broken, or exceeds the limits of parts and frames."""
    try:
        top = dict(walk(data))
        meta = read_meta(top.get(b"meta", b""))
        meta.left = len(data)
        picture = _item(meta, meta.primary, data)
        alpha = _alpha(meta, data, picture)
        headers = [_check_size(one) for whole in (picture, alpha) if whole for one in whole.tiles or (whole,)]
    except (struct.error, IndexError) as error:
        raise PhotoUndecodable(f"{BROKEN}{CUT_OFF}") from error
    width, height = picture.size
    coded = sum(one.width * one.height for one in headers)
    planes = PLANES if all(one.profile == 0 for one in headers) else MANY_PLANES
    coded = max(coded, width * height) * planes * (2 if picture.tiles else 1)
    return Container(
        "AVIF",
        width,
        height,
        coded + width * height * FORMS,
        _write(picture, alpha),
        exif=_turn(picture),
        icc=_profile(meta),
        animated=b"moov" in top,
    )


def _item(meta: Meta, number: int, data: bytes, tile: bool = False) -> _Item:
    kind = meta.kinds.get(number, b"")
    if kind not in ((b"av01",) if tile else (b"av01", b"grid")):
        raise PhotoUndecodable("this kind of avif is not supported: send a jpg or png of it")
    found = (meta.properties[index - 1] for index in meta.associations.get(number, []) if index)
    properties: dict[bytes, bytes] = {}
    for name, content in found:
        if name != b"colr" or content.startswith(b"nclx"):
            properties.setdefault(name, content)
    numbers = next((to for name, begin, to in meta.references if name == b"dimg" and begin == number), ())
    tiles = tuple(_item(meta, one, data, True) for one in numbers) if kind == b"grid" else ()
    item = _Item(kind, properties, _content(meta, number, data), tiles)
    if kind == b"grid":
        _check_grid(item)
    return item


def _check_grid(item: _Item) -> None:
    """Check that a grid has as many tiles as it declares, and the size that its boxes declare."""
    wide = 4 if item.data[1] & 1 else 2
    sides = int.from_bytes(item.data[4 : 4 + wide]), int.from_bytes(item.data[4 + wide : 4 + 2 * wide])
    if (item.data[2] + 1) * (item.data[3] + 1) != len(item.tiles) or sides != item.size:
        raise PhotoUndecodable(f"{BROKEN}its tiles do not add up to the size that it declares")


def _content(meta: Meta, number: int, data: bytes) -> bytes:
    method, extents = meta.places.get(number, (0, []))
    source = meta.within if method == 1 else data
    pieces = [(begin, begin + length if length else len(source)) for begin, length in extents]
    if any(end > len(source) or begin > end for begin, end in pieces):
        raise PhotoUndecodable(f"{BROKEN}{CUT_OFF}")
    meta.left -= sum(end - begin for begin, end in pieces)
    if meta.left < 0 or not pieces:
        raise PhotoUndecodable(f"{BROKEN}an item in it has no content, or more content than the file")
    return b"".join(source[begin:end] for begin, end in pieces)


def _alpha(meta: Meta, data: bytes, picture: _Item) -> _Item | None:
    """Return the item with the picture's transparency, if there is one of the same size."""
    for name, begin, to in meta.references:
        if name == b"auxl" and meta.primary in to:
            found = _item(meta, begin, data)
            urn = found.properties.get(b"auxC", b"")
            if (b":alpha" in urn or b"auxid:1\0" in urn) and found.size == picture.size:
                return found
    return None


def _check_size(item: _Item) -> SequenceHeader:
    """Return the sequence header of an item's stream; PhotoUndecodable if its size is not the one in the boxes."""
    header = sequence_header(item.data)
    if (header.width, header.height) != item.size:
        raise PhotoUndecodable(f"{BROKEN}it has {header.width} x {header.height} pixels, but its boxes say {item.size}")
    return header


def _turn(picture: _Item) -> bytes | None:
    """Return the rotation and mirroring of the boxes as EXIF; the file's own EXIF is ignored (AV1-AVIF, MIAF)."""
    angle = picture.properties.get(b"irot", b"\0")[0] & 3
    mirror = picture.properties.get(b"imir")
    axis = 2 if mirror is None else mirror[0] & 1
    orientation = ((4, 2, 1), (5, 7, 8), (2, 4, 3), (7, 5, 6))[angle][axis]
    return b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0) + bytes(4)


def _profile(meta: Meta) -> bytes | None:
    indexes = meta.associations.get(meta.primary, [])
    found = (meta.properties[index - 1] for index in indexes if index)
    return next((one[4:] for name, one in found if name == b"colr" and one[:4] in (b"prof", b"rICC")), None)


def _write(picture: _Item, alpha: _Item | None) -> bytes:
    """Write a file with these items only."""
    items = [picture, *picture.tiles, *((alpha, *alpha.tiles) if alpha else ())]
    numbers = {id(item): number for number, item in enumerate(items, 1)}
    links = [(b"dimg", numbers[id(one)], [numbers[id(tile)] for tile in one.tiles]) for one in items if one.tiles]
    if alpha:
        links.append((b"auxl", numbers[id(alpha)], [1]))
    head = _box(b"ftyp", b"avif\0\0\0\0avifmif1miaf")
    begin = len(head) + len(_describe(items, links, 0)) + 8
    body = b"".join(item.data for item in items)
    return head + _describe(items, links, begin) + _box(b"mdat", body)


def _describe(items: list[_Item], links: list[tuple[bytes, int, list[int]]], begin: int) -> bytes:
    """Return the meta box for items whose contents follow one another from the offset `begin`."""
    places, entries, properties, owners = b"", b"", [], b""
    for number, item in enumerate(items, 1):
        places += struct.pack(">HHHII", number, 0, 1, begin, len(item.data))
        begin += len(item.data)
        entries += _box(b"infe", b"\2\0\0\0" + struct.pack(">HH", number, 0) + item.kind + b"\0")
        own = [(name, one) for name, one in item.properties.items() if name in KEPT or name == b"colr"]
        own += [(b"av1C", item.properties[b"av1C"][:4])] if b"av1C" in item.properties else []
        owners += struct.pack(">HB", number, len(own))
        for name, one in own:
            properties.append(_box(name, one))
            owners += struct.pack(">H", len(properties) | (0x8000 if name == b"av1C" else 0))
    count = struct.pack(">H", len(items))
    references = b"".join(_box(name, struct.pack(f">HH{len(to)}H", number, len(to), *to)) for name, number, to in links)
    return _box(
        b"meta",
        bytes(4)
        + _box(b"hdlr", bytes(8) + b"pict" + bytes(13))
        + _box(b"pitm", bytes(4) + b"\0\1")
        + _box(b"iloc", bytes(4) + b"\x44\0" + count + places)
        + _box(b"iinf", bytes(4) + count + entries)
        + (_box(b"iref", bytes(4) + references) if references else b"")
        + _box(
            b"iprp",
            _box(b"ipco", b"".join(properties)) + _box(b"ipma", b"\0\0\0\1" + struct.pack(">I", len(items)) + owners),
        ),
    )


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content
