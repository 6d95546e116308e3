"""What an AV1 stream says of itself before it is decoded (AV1 specification, 5.3 to 5.5): its size and its frames."""

from collections.abc import Iterator
from dataclasses import dataclass

from shared.errors import PhotoUndecodable

FRAMES = 8  # a still has one, a layered one four; a frame that is not shown takes as long as another
UNITS = 10_000  # tile groups and what else is between frames
SEQUENCE, FRAME_HEADER, FRAME = 1, 3, 6  # of obu_type


@dataclass(frozen=True)
class SequenceHeader:
    """Profile 0 is 4:2:0 or gray of 8 or 10 bits, 1 adds 4:4:4, 2 adds 12 bits; sizes in pixels."""

    profile: int
    width: int
    height: int


def sequence_header(stream: bytes) -> SequenceHeader:
    """The one header of a stream; PhotoUndecodable for none, several that differ, or too many frames."""
    found, frames = set(), 0
    for kind, content in _units(stream):
        if kind == SEQUENCE:
            found.add(_header(content))
        frames += kind in (FRAME_HEADER, FRAME)
    if frames > FRAMES:
        raise PhotoUndecodable(f"the picture has {frames} frames in one item, more than the limit of {FRAMES}")
    if len(found) != 1:
        raise PhotoUndecodable(f"the picture is broken: it has {len(found)} headers of its pixels instead of one")
    return found.pop()


def _units(stream: bytes) -> Iterator[tuple[int, bytes]]:
    place = count = 0
    while place < len(stream):
        count += 1
        if count > UNITS:
            raise PhotoUndecodable(f"the picture has more parts than the limit of {UNITS}: save it anew")
        first = stream[place]
        place += 2 if first & 4 else 1
        length = len(stream) - place
        if first & 2:
            length, place = _leb128(stream, place)
        if place + length > len(stream):
            raise PhotoUndecodable("the picture is broken: it is cut off, its end is missing; upload it again")
        yield first >> 3 & 15, stream[place : place + length]
        place += length


def _leb128(stream: bytes, place: int) -> tuple[int, int]:
    """A length, and where it ends."""
    value = 0
    for number, byte in enumerate(stream[place : place + 8]):
        value |= (byte & 127) << 7 * number
        if byte < 128:
            return value, place + number + 1
    raise PhotoUndecodable("the picture is broken: one of its parts has no length")


def _header(content: bytes) -> SequenceHeader:
    bits = _Bits(content)
    profile = bits.next(3)
    bits.next(1)
    if bits.next(1):  # reduced_still_picture_header
        bits.next(5)
    else:
        if bits.next(1):  # timing_info_present_flag
            raise PhotoUndecodable("an avif made of a film is not read here: send a jpg or png of it")
        delays = bits.next(1)
        for _ in range(bits.next(5) + 1):
            bits.next(12)
            if bits.next(5) > 7:
                bits.next(1)
            if delays and bits.next(1):
                bits.next(4)
    across, down = bits.next(4) + 1, bits.next(4) + 1
    return SequenceHeader(profile, bits.next(across) + 1, bits.next(down) + 1)


class _Bits:
    """Bits in a row, most significant first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data[:128]), 8 * len(data[:128])

    def next(self, width: int) -> int:
        """The number in the next `width` bits."""
        self._left -= width
        if self._left < 0:
            raise PhotoUndecodable("the picture is broken: the header of its pixels is cut off")
        return self._value >> self._left & ((1 << width) - 1)
