"""Reads size and number of frames of an AV1 stream without decoding it (AV1 specification, 5.3 to 5.5)."""

from collections.abc import Iterator
from dataclasses import dataclass

from shared.errors import PhotoUndecodable

FRAMES = 8  # a still picture has one, a layered one four; hidden frames take as long to decode as visible ones
UNITS = 10_000  # open bitstream units: frames, tile groups and others
SEQUENCE, FRAME_HEADER, FRAME = 1, 3, 6  # values of obu_type


@dataclass(frozen=True)
class SequenceHeader:
    """The sequence header of a stream.

    Attributes:
        profile: 0 is 4:2:0 or gray with 8 or 10 bits, 1 adds 4:4:4, 2 adds 12 bits.
        width, height: in pixels.
    """

    profile: int
    width: int
    height: int


def sequence_header(stream: bytes) -> SequenceHeader:
    """Return the sequence header of a stream; PhotoUndecodable for none, for different ones, or for too many frames."""
    found, frames = set(), 0
    for kind, content in _units(stream):
        if kind == SEQUENCE:
            found.add(_header(content))
        frames += kind in (FRAME_HEADER, FRAME)
    if frames > FRAMES:
        raise PhotoUndecodable(f"the picture has {frames} frames in one item, more than the limit of {FRAMES}")
    if len(found) != 1:
        raise PhotoUndecodable(f"the picture is broken: it has {len(found)} sequence headers instead of one")
    return found.pop()


def _units(stream: bytes) -> Iterator[tuple[int, bytes]]:
    place = count = 0
    while place < len(stream):
        count += 1
        if count > UNITS:
            raise PhotoUndecodable(f"the picture has more parts than the limit of {UNITS}: save it again")
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
    """Read a length in LEB128; return it and the offset after it."""
    value = 0
    for number, byte in enumerate(stream[place : place + 8]):
        value |= (byte & 127) << 7 * number
        if byte < 128:
            return value, place + number + 1
    raise PhotoUndecodable("the picture is broken: one of its parts has no valid length")


def _header(content: bytes) -> SequenceHeader:
    bits = _Bits(content)
    profile = bits.next(3)
    bits.next(1)
    if bits.next(1):  # reduced_still_picture_header
        bits.next(5)
    else:
        if bits.next(1):  # timing_info_present_flag
            raise PhotoUndecodable("avif files made from videos are not supported: send a jpg or png of a frame")
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
    """Reads bits one after the other, most significant first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data[:128]), 8 * len(data[:128])

    def next(self, width: int) -> int:
        """Return the integer in the next `width` bits."""
        self._left -= width
        if self._left < 0:
            raise PhotoUndecodable("the picture is broken: its sequence header is cut off")
        return self._value >> self._left & ((1 << width) - 1)
