"""Pictures that stand in a request themselves, as programs and people write them.

| reference | read as |
|---|---|
| `data:image/jpeg;base64,...` | RFC 2397, with any parameters, in any case, with white space around |
| `image/jpeg;base64,...`, `base64,...` | the same, whose beginning was forgotten |
| base64 alone | a picture, where it begins as one does or is longer than any key |

Of base64 both alphabets are read (RFC 4648, 4 and 5), broken into lines or not, padded or not, percent-encoded or not.
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
BARE = re.compile(r"[A-Za-z0-9+/_\s-]++[=\s]*+", re.ASCII)
BEGINNING = 16  # characters of base64: the 12 bytes by which a picture is known
PICTURE = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|....ftyp|GIF8[79]a", re.DOTALL)
WHITE_SPACE = b" \t\r\n\f\v"
STANDARD = bytes.maketrans(b"-_", b"+/")
STRANGE = re.compile(rb"[^A-Za-z0-9+/]")


def is_embedded(reference: str) -> bool:
    """Whether the reference is the picture itself, and not the name of one."""
    return HEADED.match(reference, 0, HEADING) is not None or _is_bare(reference)


def content(reference: str, most: int) -> bytes:
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
    data = _unquoted(text)
    return _decoded(data, most) if "base64" in parameters else data


def _is_bare(reference: str) -> bool:
    if BARE.fullmatch(reference) is None:
        return False
    return len(reference) > LONGEST_KEY or _begins_as_a_picture(reference)


def _begins_as_a_picture(text: str) -> bool:
    beginning = "".join(text[: 2 * BEGINNING].split())[:BEGINNING].encode().translate(STANDARD)
    return len(beginning) == BEGINNING and b"=" not in beginning and PICTURE.match(b64decode(beginning)) is not None


def _decoded(text: bytes, most: int) -> bytes:
    packed = text.translate(STANDARD, WHITE_SPACE).rstrip(b"=")
    if len(packed) * 3 // 4 > most:
        raise PhotoTooLarge(f"the data URL holds more than the limit of {most} bytes")
    if strange := STRANGE.search(packed):
        place, character = strange.start() + 1, ascii(strange[0].decode("latin-1"))
        raise PhotoUnavailable(f"what stands behind data:...;base64, is no base64: it has {character} at place {place}")
    if len(packed) % 4 == 1:
        raise PhotoUnavailable(f"the data URL is cut off: its base64 has {len(packed)} characters, which make no bytes")
    return a2b_base64(packed + b"=" * (-len(packed) % 4))


def _unquoted(text: str) -> bytes:
    """Percent-escapes undone. As quoted-printable, whose = is its %: urllib's way takes 90 times the text's memory."""
    data = text.encode()
    return a2b_qp(data.replace(b"=", b"=3D").replace(b"%", b"=")) if b"%" in data else data
