"""References to pictures, made safe to show: a URL may contain a password, a signature or the whole picture.

| function | for | keeps |
|---|---|---|
| `show_reference` | messages, warnings, logs | scheme, host and path of a URL, a key; one line, bounded |
| `show_host` | messages | only the host |
| `strip_secrets` | what an answer echoes | scheme, host, path, names of parameters, values known to be harmless |
| `split_store_url` | whoever reads or removes the object | bucket and key |
| `shorten_reference` | naming a picture in an answer | the same; the end of a long one as its length and hash |

People who sign URLs choose the parameter's name freely, so a list of secret parameters is never complete. Here the list
is of what may stay: of a URL's values only sizes, formats, qualities and versions are kept, and only if they look
    right.
"""

import hashlib
import re

from shared.contract.data_urls import is_embedded
from shared.contract.visible import visible

SHOWN = 120  # characters of a reference in a message; a data URL may have millions
LONGEST = 16 * 1024  # characters of a URL or key that is parsed; servers take half of that, stores a sixteenth
MEDIA_TYPE = 40  # characters of a data URL's heading
LONGEST_NAME = 2048  # characters of a picture's name in an answer; keys have at most 1024 bytes
LONGEST_EMBEDDED = 100  # the same for an embedded picture
CUT = "..."

STORE_URL = re.compile(r"(?:s3|oss)://([^/]*)/?(.*)", re.IGNORECASE | re.DOTALL)
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
HOST = re.compile(r"(\[[\w:.%]*\]|[\w.-]*)(:[0-9]*)?")
END_OF_HOST = re.compile(r"[/?#\\]")
NAMELESS_SECRET = re.compile(r"(?=.*[0-9])[\w:~+=%-]{24,}|[\w:~+=%.-]{48,}")  # looks like a token; a name is shorter
DISGUISED = re.compile(r"\s*(https?:|//|\\\\)", re.IGNORECASE)  # a URL to some readers, a key to us
PLAIN = re.compile(r"[\w ./()+-]*")  # no character of these begins a parameter, a user or a URL
PATH_TOKEN = re.compile(
    r"s--.*--|[\w,|~.]+:[\w-]{6,}", re.DOTALL
)  # Cloudinary's signature; a bot's token before a path
SEPARATOR = r"[?&;#]|%(?:25)*(?:3[fFbB]|2[36])"  # also if encoded, even twice: it still separates secrets
END_OF_PATH = re.compile(SEPARATOR)
EQUALS = re.compile(r"=|%(?:25)*3[dD]")
AT = re.compile(r"@|%(?:25)*40|\uff20")
COLON = re.compile(r":|%(?:25)*3[aA]|\uff1a")
PARAMETER = re.compile(rf"({SEPARATOR})((?:(?!{SEPARATOR}).)*)", re.DOTALL)
NAME = re.compile(r"[\w.-]{1,40}")
FILE = re.compile(r"[\w ()./-]*\.(?:jpe?g|png|webp|gif|heic|avif|bmp|tiff?)", re.IGNORECASE)
HARMLESS = re.compile(
    r"(?:w|h|width|height|size|q|quality|v|ver|version|page|dpr|scale|year|month|day|dt|date)"
    r"=v?[0-9]{1,6}(?:[.,x-][0-9]{1,6}){0,3}"
    r"|(?:fm|fmt|format|ext|type)=(?:jpe?g|png|webp|gif|heic|avif|bmp|tiff?|auto)"
    r"|(?:fit|crop|mode)=[a-z]{1,12}"
    r"|x-oss-process=image(?:/[a-z]{1,20}(?:,[a-z]{1,9}_[0-9]{1,5}){0,9}){1,9}",
    re.IGNORECASE | re.ASCII,
)


def split_store_url(reference: str) -> tuple[str, str] | None:
    """Return the bucket's name and the key in s3://name/key or oss://name/key; None for any other reference."""
    found = STORE_URL.fullmatch(reference)
    return None if found is None else (found[1], found[2])


def show_reference(reference: str) -> str:
    """Return a reference for a message: without user, password, query, fragment and control characters.

    Parts of a URL's path that look like a token are left out too. If the URL is so odd that it cannot be told which
    part is the password, everything is.
    """
    scheme, colon, rest = reference.partition(":")
    if is_embedded(reference) and not colon:
        return _to_line(f"{reference[:MEDIA_TYPE]}{CUT}")
    if colon and scheme.lower().strip() == "data":
        return _to_line("data:" + rest.partition(",")[0][:MEDIA_TYPE] + "," + CUT)
    if len(reference) > LONGEST:
        return _to_line(f"{scheme[:MEDIA_TYPE]}:{CUT}" if SCHEME.fullmatch(scheme[:MEDIA_TYPE]) else CUT)
    place, path, query = _split_reference(reference)
    if place:
        path = "/".join(CUT if NAMELESS_SECRET.fullmatch(part) else part for part in path.split("/"))
    return _to_line(place + path + (f"?{CUT}" if query else ""))


def show_host(host: str, url: str) -> str:
    """Return the host of a URL for a message, or `...` if it may contain part of a password."""
    if _split_reference(url)[0].endswith(f"//{CUT}"):
        return CUT
    return _to_line(host) if HOST.fullmatch(f"[{host}]" if ":" in host else host) else CUT


def strip_secrets(reference: str) -> str:
    """Replace by `...` what could let a reader fetch the picture, so that the reference can be passed on.

    A key, a data URL and a URL with only harmless parameters are returned unchanged. If a URL is so odd that it cannot
    be told which part is the password, the result is that of `show_reference`. The function is idempotent.
    """
    if PLAIN.fullmatch(reference) and not reference.startswith("//"):
        return reference if len(reference) <= LONGEST else show_reference(reference)
    if is_embedded(reference):
        return reference
    if len(reference) > LONGEST:
        return show_reference(reference)
    place, path, query = _split_reference(reference)
    if place:
        return place + path + PARAMETER.sub(_strip_parameter, query)
    return path + PARAMETER.sub(_strip_key_part, query)


def shorten_reference(reference: str) -> str:
    """Return the name of a picture in an answer: the reference without secrets, whole if it is short.

    A long one is cut to its beginning, its length and the beginning of its SHA-256. So two references of one request
    that begin alike, as all base64 pictures of one camera do, differ, and the sender can find out which one is meant.
    """
    embedded = is_embedded(reference)
    told = reference if embedded else strip_secrets(reference)
    longest = LONGEST_EMBEDDED if embedded else LONGEST_NAME
    if len(told) <= longest and len(reference) <= LONGEST:
        return told
    hashed = told if len(reference) <= LONGEST else reference  # too long to strip: nothing of it would be left to hash
    digest = hashlib.sha256(hashed.encode(errors="replace")).hexdigest()[:12]
    end = f"{CUT} ({len(reference)} characters, sha256 {digest})"
    return told[: longest - len(end)].removesuffix(CUT) + end


def _split_reference(reference: str) -> tuple[str, str, str]:
    """Split into scheme and host, path, and raw query.

    The first is empty for a key; the others are empty if everything is hidden.
    """
    if "://" not in reference and not DISGUISED.match(reference):
        return "", *_split_key(reference)
    scheme, slashes, rest = reference.partition("//")
    if not slashes or not scheme.endswith(":") or not SCHEME.fullmatch(scheme[:-1]):
        found = SCHEME.match(reference.strip()) if "@" not in reference.partition(":")[0] else None
        known = found is not None and found[0].lower() in ("http", "https")
        return (f"{found[0]}:{CUT}" if found is not None and known else f"//{CUT}"), "", ""
    host, mark, path = _split(rest, END_OF_HOST)
    host, path = host.rpartition("@")[2], mark + path
    if not HOST.fullmatch(host) or _hides_a_password(host, path):
        return f"{scheme}//{CUT}", "", ""
    path, query = _split_query(path)
    if AT.search(path.replace("@", "")):  # an encoded URL within this one
        path = f"/{CUT}"
    return f"{scheme}//{host}", "/".join(map(_strip_segment, path.split("/"))), query


def _split_key(key: str) -> tuple[str, str]:
    path, query = _split_query(key)
    colon = COLON.search(key) or re.search(r"//|\\", key)
    if colon and AT.search(key, colon.end()):
        return CUT, ""
    return "/".join(map(_strip_segment, path.split("/"))), query


def _strip_segment(part: str) -> str:
    if PATH_TOKEN.fullmatch(part):
        return CUT
    name, equals, value = _split(part, EQUALS)
    return part if not value or HARMLESS.fullmatch(part) else name + equals + CUT


def _split_query(text: str) -> tuple[str, str]:
    found = END_OF_PATH.search(text)
    return (text, "") if found is None else (text[: found.start()], text[found.start() :])


def _split(text: str, at: re.Pattern[str]) -> tuple[str, str, str]:
    """Split like `str.partition`, at the first match of a pattern."""
    found = at.search(text)
    return (text, "", "") if found is None else (text[: found.start()], found[0], text[found.end() :])


def _hides_a_password(host: str, rest: str) -> bool:
    """Return whether an apparent host may be a user or half of a password that contains / ? or #.

    After a name with a dot, `/@ann/` is a path, and an @ in a parameter's value says nothing about the host.
    """
    if "@" not in rest:
        return False
    if ":" in host.rpartition("]")[2] or "." not in host.partition(":")[0]:
        return True
    return re.search(r"[^/]@|//@", rest.partition("=")[0]) is not None or re.match(r"/@[^/]*@", rest) is not None


def _strip_parameter(found: re.Match[str]) -> str:
    before, parameter = found.groups()
    name, equals, value = _split(parameter, EQUALS)
    if not parameter or HARMLESS.fullmatch(parameter):
        return before + parameter
    if not equals or not NAME.fullmatch(name) or NAMELESS_SECRET.fullmatch(name):
        return before + CUT
    return before + name + equals + (CUT if value else "")


def _strip_key_part(found: re.Match[str]) -> str:
    """Like `_strip_parameter`, but for keys, because file names may contain `&`, `;` and `#`."""
    before, parameter = found.groups()
    return before + parameter if before in "&;#" and FILE.fullmatch(parameter) else _strip_parameter(found)


def _to_line(text: str) -> str:
    """Return the text as one line of at most `SHOWN` characters, as it goes into logs and terminals."""
    told = visible(text[: SHOWN + 1])
    return told if len(told) <= SHOWN else told[: SHOWN - len(CUT)] + CUT
