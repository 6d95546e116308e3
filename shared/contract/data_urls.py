"""Pictures embedded in a request, in the forms in which programs and people write them.

| reference | read as |
|---|---|
| `data:image/jpeg;base64,...` | RFC 2397, with any parameters, in any case, with white space around |
| `image/jpeg;base64,...`, `base64,...` | the same, with its beginning missing |
| base64 alone | a picture, if it begins as one does or is longer than any key |

Both base64 alphabets are read (RFC 4648, sections 4 and 5), with or without line breaks and padding. Percent-encoding
is undone, also if only part of the text is encoded or if it was encoded more than once.

A form that is posted unescaped turns each + into a space. So a space counts as a +, unless it is layout:

| spaces | are |
|---|---|
| at both ends of the whole text, and before its padding, where no + can be | layout |
| between pieces of equal length, as where lines were joined | layout |
| at the same end of every line | layout: indentation |
| any other | + |
"""

import re
from base64 import b64decode
from binascii import a2b_base64, a2b_qp

from shared.errors import PhotoTooLarge, PhotoUnavailable

LONGEST_KEY = 1024  # bytes; a longer text cannot be a key
HEADING = 300  # characters within which the comma of a heading must come
HEADED = re.compile(
    r"\s*(?:data:|(?:image/[\w.+-]+\s*)?(?:;[^,;]*)*;\s*base64\s*,|base64\s*,)", re.IGNORECASE | re.ASCII
)
BARE = re.compile(r"[A-Za-z0-9+/_%\s-]++[=\s]*+", re.ASCII)
BEGINNING = 16  # characters of base64: the 12 bytes that identify a picture's format
PICTURE = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|....ftyp|GIF8[79]a", re.DOTALL)
WHITE_SPACE = b" \t\r\n\f\v"
STANDARD = bytes.maketrans(b"-_", b"+/")
FEWEST_LINES = 3  # lines of equal length, enough to show that a shorter first line is no coincidence
MOST_SPACES = 1_000_000  # in 64 MB of base64; if there are more, they are layout
MOST_ENCODINGS = 3  # nested percent-encodings that are undone
STRANGE = re.compile(rb"[^A-Za-z0-9+/]")


def is_embedded(reference: str) -> bool:
    """Return whether the reference is the picture itself rather than the name of one."""
    return HEADED.match(reference, 0, HEADING) is not None or _is_bare(reference)


def decode_content(reference: str, most: int) -> bytes:
    """Return the bytes of an embedded picture.

    Args:
        most: limit in bytes.

    Raises:
        PhotoUnavailable: if it is not a data URL or not base64.
        PhotoTooLarge: if it has more than `most` bytes.
    """
    if _is_bare(reference):
        return _decode_base64(reference.encode(), most)
    heading, comma, text = reference.partition(",")
    if not comma:
        raise PhotoUnavailable(
            "the data URL has no comma before its data; write data:image/jpeg;base64, followed by the picture in base64"
        )
    parameters = [one.strip().lower() for one in heading.rpartition(":")[2].split(";")]
    return _decode_base64(text.encode(), most) if "base64" in parameters else _undo_percent(text.encode())


def _is_bare(reference: str) -> bool:
    if BARE.fullmatch(reference) is None:
        return False
    return len(reference) > LONGEST_KEY or _begins_like_picture(reference)


def _begins_like_picture(text: str) -> bool:
    beginning = _undo_percent(text[: 6 * BEGINNING].encode(), MOST_ENCODINGS).strip()
    return any(map(_is_picture, (beginning.translate(None, WHITE_SPACE), beginning.replace(b" ", b"+"))))


def _is_picture(text: bytes) -> bool:
    beginning = text[:BEGINNING].translate(STANDARD)
    if len(beginning) < BEGINNING or STRANGE.search(beginning):
        return False
    return PICTURE.match(b64decode(beginning)) is not None


def _decode_base64(text: bytes, most: int) -> bytes:
    packed = _join_lines(_undo_percent(text, MOST_ENCODINGS)).translate(STANDARD)
    if len(packed) * 3 // 4 > most:
        raise PhotoTooLarge(f"the data URL holds more than the limit of {most} bytes")
    if strange := STRANGE.search(packed):
        place, character = strange.start() + 1, ascii(strange[0].decode("latin-1"))
        raise PhotoUnavailable(f"the text after data:...;base64, is not base64: it has {character} at position {place}")
    if len(packed) % 4 == 1:
        raise PhotoUnavailable(
            f"the data URL is cut off: {len(packed)} characters of base64 make no whole number of bytes"
        )
    return a2b_base64(packed + b"=" * (-len(packed) % 4))


def _join_lines(text: bytes) -> bytes:
    """Return the base64 without white space and padding; see the table above."""
    core = text.strip(WHITE_SPACE).rstrip(WHITE_SPACE + b"=")
    spaces = core.count(b" ")
    if not spaces or spaces > MOST_SPACES or _are_lines(core.split()):
        return core.translate(None, WHITE_SPACE)
    return _strip_indentation(core).translate(None, WHITE_SPACE.replace(b" ", b"")).replace(b" ", b"+")


def _are_lines(pieces: list[bytes]) -> bool:
    """Return whether the pieces between white space are lines of one text that was wrapped at a fixed width.

    The first piece may be shorter, as after a heading, if enough of the others have the same length.
    """
    first, *middle, last = map(len, pieces)
    width = middle[0] if middle else first
    begins = first == width or (first < width and len(middle) >= FEWEST_LINES)
    return begins and last <= width and not width % 4 and all(one == width for one in middle)


def _strip_indentation(text: bytes) -> bytes:
    """Return the text without the spaces that all lines have at their beginning or at their end."""
    lines = [line for line in text.splitlines() if line.strip()]
    before = min((len(line) - len(line.lstrip(b" ")) for line in lines[1:]), default=0)
    behind = min((len(line) - len(line.rstrip(b" ")) for line in lines[:-1]), default=0)
    bare = [lines[0], *(line[before:] for line in lines[1:])]
    return b"".join([*(line[: len(line) - behind] for line in bare[:-1]), bare[-1]])


def _undo_percent(data: bytes, times: int = 1) -> bytes:
    """Undo percent-escapes.

    Done as quoted-printable with % for =, because urllib's way takes 90 times the text's memory.
    """
    for _ in range(times):
        if b"%" not in data:
            break
        data = a2b_qp(data.replace(b"=", b"=3D").replace(b"%", b"="))
    return data
