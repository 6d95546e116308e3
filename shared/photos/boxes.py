"""Parses the boxes of an ISO media file (14496-12) and the meta box of pictures (23008-12)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from shared.errors import PhotoUndecodable

BOXES = 2_000  # in one box or at the top level; a file of 400 tiles has as many
ITEMS = 1_000  # a phone's grid of 48 megapixels has 200 tiles
EXTENTS = 32  # pieces of one item; encoders write one
BROKEN, CUT_OFF = "the picture is broken: ", "it is cut off, its end is missing; upload it again"


@dataclass
class Meta:
    """The content of the meta box: the items, their places, properties and relations."""

    primary: int = 0
    kinds: dict[int, bytes] = field(default_factory=dict)
    places: dict[int, tuple[int, list[tuple[int, int]]]] = field(default_factory=dict)
    references: list[tuple[bytes, int, tuple[int, ...]]] = field(default_factory=list)
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    associations: dict[int, list[int]] = field(default_factory=dict)
    within: bytes = b""
    left: int = 0  # bytes that items may still occupy; a limit, because several items may name the same place


def walk(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and content of each box; the content of `mdat` is empty, since pixels are read by their offsets."""
    place = count = 0
    while place + 8 <= len(data):
        count += 1
        if count > BOXES:
            raise PhotoUndecodable(f"the picture has more boxes than the limit of {BOXES}: save it again")
        length, name, head = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8], 8
        if length == 1:
            length, head = int.from_bytes(data[place + 8 : place + 16]), 16
        end = len(data) if length == 0 else place + length
        if end > len(data) and name != b"mdat":
            raise PhotoUndecodable(f"{BROKEN}{CUT_OFF}")
        if end < place + head:
            raise PhotoUndecodable(f"{BROKEN}one of its boxes has no valid length")
        yield name, b"" if name == b"mdat" else data[place + head : end]
        place = end


def read_meta(content: bytes) -> Meta:
    """Parse the meta box; struct.error or IndexError if it ends too early."""
    meta, boxes = Meta(), dict(walk(content[4:]))
    if b"pitm" not in boxes:
        raise PhotoUndecodable(f"{BROKEN}there is no still picture in it")
    meta.primary = int.from_bytes(boxes[b"pitm"][4:])
    meta.within = boxes.get(b"idat", b"")
    _read_kinds(boxes.get(b"iinf", b""), meta)
    _read_places(boxes.get(b"iloc", b""), meta)
    _read_references(boxes.get(b"iref", b""), meta)
    parts = dict(walk(boxes.get(b"iprp", b"")))
    meta.properties = list(walk(parts.get(b"ipco", b"")))
    _read_associations(parts.get(b"ipma", b""), meta)
    return meta


def _read_kinds(content: bytes, meta: Meta) -> None:
    for name, entry in walk(content[6 if content[:1] == b"\0" else 8 :]):
        if name == b"infe" and entry[0] in (2, 3):
            wide = 2 if entry[0] == 3 else 0
            meta.kinds[int.from_bytes(entry[4 : 6 + wide])] = entry[8 + wide : 12 + wide]
    _check_count(len(meta.kinds), ITEMS, "items")


def _read_places(content: bytes, meta: Meta) -> None:
    numbers = _Numbers(content, 6)
    version, sizes = content[0], (content[4] >> 4, content[4] & 15, content[5] >> 4, content[5] & 15)
    wide = 4 if version == 2 else 2
    count = numbers.next(wide)
    _check_count(count, ITEMS, "items")
    for _ in range(count):
        item = numbers.next(wide)
        method = numbers.next(2) & 15 if version else 0
        numbers.next(2)
        base, extents = numbers.next(sizes[2]), numbers.next(2)
        _check_count(extents, EXTENTS, "pieces of an item")
        found = []
        for _ in range(extents):
            if version:
                numbers.next(sizes[3])
            found.append((base + numbers.next(sizes[0]), numbers.next(sizes[1])))
        meta.places[item] = method, found


def _read_references(content: bytes, meta: Meta) -> None:
    wide = 4 if content[:1] == b"\1" else 2
    for name, entry in walk(content[4:]):
        numbers = _Numbers(entry, 0)
        begin, count = numbers.next(wide), numbers.next(2)
        _check_count(count, ITEMS, "references")
        meta.references.append((name, begin, tuple(numbers.next(wide) for _ in range(count))))


def _read_associations(content: bytes, meta: Meta) -> None:
    numbers, wide = _Numbers(content, 8), content[:1] != b"\0"
    count, long = int.from_bytes(content[4:8]), bool(content[3:4] and content[3] & 1)
    _check_count(count, ITEMS, "items")
    for _ in range(count):
        item, several = numbers.next(4 if wide else 2), numbers.next(1)
        meta.associations[item] = [numbers.next(2) & 0x7FFF if long else numbers.next(1) & 0x7F for _ in range(several)]


class _Numbers:
    """Reads integers one after the other, most significant byte first; struct.error beyond the end."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data, self._place = data, place

    def next(self, width: int) -> int:
        """Return the integer in the next `width` bytes."""
        end = self._place + width
        if end > len(self._data):
            raise struct.error("cut off")
        value, self._place = int.from_bytes(self._data[self._place : end]), end
        return value


def _check_count(count: int, limit: int, what: str) -> None:
    if count > limit:
        raise PhotoUndecodable(f"the picture has more {what} than the limit of {limit}: save it again")
