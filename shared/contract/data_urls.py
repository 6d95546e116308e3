"""Pictures that stand in a request themselves, as programs and people write them.

| reference | read as |
|---|---|
| `data:image/jpeg;base64,...` | RFC 2397, with any parameters, in any case, with white space around |
| `image/jpeg;base64,...`, `base64,...` | the same, whose beginning was forgotten |
| base64 alone | a picture, where it begins as one does or is longer than any key |

Of base64 both alphabets are read (RFC 4648, 4 and 5), broken into lines or not, padded or not, percent-encoded or not,
also where some of it is and where it was encoded more than once.

A form that is posted unescaped turns each + into a space. So a space is a +, unless it is layout:

| spaces | are |
|---|---|
| at the ends of the whole, and before its padding, where no + can be | layout |
| between pieces of one length, as where lines were joined | layout |
| at the same ends of all lines | layout: indentation |
| any other | + |
"""

import re
from base64 import b64decode
from binascii import a2b_base64, a2b_qp

from shared.errors import PhotoTooLarge, PhotoUnavailable

LONGEST_KEY = 1024  # bytes; what is longer cannot be a key
HEADING = 300  # characters, within which the comma of a heading stands
HEADED = re.compile(
    r"\s*(?:data:|(?:image/[\w.+-]+\s*)?(?:;[^,;]*)*;\s*base64\s*,|base64\s*,)", re.IGNORECASE | re.ASCII
)
BARE = re.compile(r"[A-Za-z0-9+/_%\s-]++[=\s]*+", re.ASCII)
BEGINNING = 16  # characters of base64: the 12 bytes by which a picture is known
PICTURE = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|....ftyp|GIF8[79]a", re.DOTALL)
WHITE_SPACE = b" \t\r\n\f\v"
STANDARD = bytes.maketrans(b"-_", b"+/")
FEWEST_LINES = 3  # of one length, that show that a shorter one before them is no chance
MOST_SPACES = 1_000_000  # of 64 MB of base64; where there are more, they are layout
MOST_ENCODINGS = 3  # one within the other, of which each is undone
STRANGE = re.compile(rb"[^A-Za-z0-9+/]")


def is_embedded(reference: str) -> bool:
    """Whether the reference is the picture itself, and not the name of one."""
    return HEADED.match(reference, 0, HEADING) is not None or _is_bare(reference)


def decode_content(reference: str, most: int) -> bytes:
    """The bytes of an embedded picture.

    Raises PhotoUnavailable for what is no data URL or no base64, PhotoTooLarge for what has more than `most` bytes.
    """
    if _is_bare(reference):
        return _decoded(reference.encode(), most)
    heading, comma, text = reference.partition(",")
    if not comma:
        raise PhotoUnavailable(
            "the data URL has no comma before its data: write data:image/jpeg;base64, and then the picture in base64"
        )
    parameters = [one.strip().lower() for one in heading.rpartition(":")[2].split(";")]
    return _decoded(text.encode(), most) if "base64" in parameters else _unquoted(text.encode())


def _is_bare(reference: str) -> bool:
    if BARE.fullmatch(reference) is None:
        return False
    return len(reference) > LONGEST_KEY or _begins_as_a_picture(reference)


def _begins_as_a_picture(text: str) -> bool:
    beginning = _unquoted(text[: 6 * BEGINNING].encode(), MOST_ENCODINGS).strip()
    return any(map(_is_a_picture, (beginning.translate(None, WHITE_SPACE), beginning.replace(b" ", b"+"))))


def _is_a_picture(text: bytes) -> bool:
    beginning = text[:BEGINNING].translate(STANDARD)
    if len(beginning) < BEGINNING or STRANGE.search(beginning):
        return False
    return PICTURE.match(b64decode(beginning)) is not None


def _decoded(text: bytes, most: int) -> bytes:
    packed = _joined(_unquoted(text, MOST_ENCODINGS)).translate(STANDARD)
    if len(packed) * 3 // 4 > most:
        raise PhotoTooLarge(f"the data URL holds more than the limit of {most} bytes")
    if strange := STRANGE.search(packed):
        place, character = strange.start() + 1, ascii(strange[0].decode("latin-1"))
        raise PhotoUnavailable(f"what stands behind data:...;base64, is no base64: it has {character} at place {place}")
    if len(packed) % 4 == 1:
        raise PhotoUnavailable(f"the data URL is cut off: its base64 has {len(packed)} characters, which make no bytes")
    return a2b_base64(packed + b"=" * (-len(packed) % 4))


def _joined(text: bytes) -> bytes:
    """Base64 without white space and padding; see the table above."""
    core = text.strip(WHITE_SPACE).rstrip(WHITE_SPACE + b"=")
    spaces = core.count(b" ")
    if not spaces or spaces > MOST_SPACES or _are_lines(core.split()):
        return core.translate(None, WHITE_SPACE)
    return _without_indentation(core).translate(None, WHITE_SPACE.replace(b" ", b"")).replace(b" ", b"+")


def _are_lines(pieces: list[bytes]) -> bool:
    """Whether the pieces between white space are those of one text that was broken at one width.

    The first may be shorter where a heading stood before it, if enough others have one length.
    """
    first, *middle, last = map(len, pieces)
    width = middle[0] if middle else first
    begins = first == width or (first < width and len(middle) >= FEWEST_LINES)
    return begins and last <= width and not width % 4 and all(one == width for one in middle)


def _without_indentation(text: bytes) -> bytes:
    """The text without the spaces that all lines have at their beginnings, or at their ends."""
    lines = [line for line in text.splitlines() if line.strip()]
    before = min((len(line) - len(line.lstrip(b" ")) for line in lines[1:]), default=0)
    behind = min((len(line) - len(line.rstrip(b" ")) for line in lines[:-1]), default=0)
    bare = [lines[0], *(line[before:] for line in lines[1:])]
    return b"".join([*(line[: len(line) - behind] for line in bare[:-1]), bare[-1]])


def _unquoted(data: bytes, times: int = 1) -> bytes:
    """Percent-escapes undone. As quoted-printable, whose = is its %: urllib's way takes 90 times the text's memory."""
    for _ in range(times):
        if b"%" not in data:
            break
        data = a2b_qp(data.replace(b"=", b"=3D").replace(b"%", b"="))
    return data
