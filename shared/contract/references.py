"""References to pictures, fit for people's eyes: a URL may carry a password, a signature or the whole picture.

| function | for | keeps |
|---|---|---|
| `show_reference` | messages, warnings, logs | scheme, host and path of a URL, a key; one line, bounded |
| `show_host` | messages | the host alone |
| `strip_secrets` | what an answer echoes | scheme, host, path, names of parameters, values known to be harmless |
| `shorten_reference` | what an answer calls a picture | the same, the end of a long one by its length and its hash |

Who signs URLs names the signature as he likes, so that a list of such names is never whole. The list here is the other
way round: of the values of a URL only sizes, formats, qualities and versions are kept, and only where they look it.
"""

import hashlib
import re

from shared.contract.data_urls import is_embedded
from shared.contract.visible import visible

SHOWN = 120  # characters of a reference that a message repeats; a data URL may have millions
LONGEST = 16 * 1024  # characters of a URL or key that is looked at; servers take half of that, stores a sixteenth
MEDIA_TYPE = 40  # characters of a data URL's heading
LONGEST_NAME = 2048  # characters by which an answer calls a picture; keys have at most 1024 bytes
LONGEST_EMBEDDED = 100  # of one that is the picture itself
CUT = "..."

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
HOST = re.compile(r"(\[[\w:.%]*\]|[\w.-]*)(:[0-9]*)?")
END_OF_HOST = re.compile(r"[/?#\\]")
NAMELESS_SECRET = re.compile(r"(?=.*[0-9])[\w:~+=%-]{24,}|[\w:~+=%.-]{48,}")  # a token by its looks; a name is shorter
DISGUISED = re.compile(r"\s*(https?:|//|\\\\)", re.IGNORECASE)  # a URL to some readers, a key to us
PLAIN = re.compile(r"[\w ./()+-]*")  # nothing in it begins a parameter, a user or a URL
PATH_TOKEN = re.compile(r"s--.*--|[\w,|~.]+:[\w-]{6,}", re.DOTALL)  # Cloudinary's signature; a bot's, before its files
SEPARATOR = r"[?&;#]|%(?:25)*(?:3[fFbB]|2[36])"  # encoded too, also twice: it keeps its secrets
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


def show_reference(reference: str) -> str:
    """A reference that may stand in a message: without user, password, query and fragment, without control characters.

    Parts of a URL's path that look like a token are left out too, and so is everything where the URL is so odd that
    nobody can say which part of it is the password.
    """
    scheme, colon, rest = reference.partition(":")
    if is_embedded(reference) and not colon:
        return _line(f"{reference[:MEDIA_TYPE]}{CUT}")
    if colon and scheme.lower().strip() == "data":
        return _line("data:" + rest.partition(",")[0][:MEDIA_TYPE] + "," + CUT)
    if len(reference) > LONGEST:
        return _line(f"{scheme[:MEDIA_TYPE]}:{CUT}" if SCHEME.fullmatch(scheme[:MEDIA_TYPE]) else CUT)
    place, path, query = _parts(reference)
    if place:
        path = "/".join(CUT if NAMELESS_SECRET.fullmatch(part) else part for part in path.split("/"))
    return _line(place + path + (f"?{CUT}" if query else ""))


def show_host(host: str, url: str) -> str:
    """The host of a URL for a message; nothing of one that is more than a host or may be half of a password."""
    if _parts(url)[0].endswith(f"//{CUT}"):
        return CUT
    return _line(host) if HOST.fullmatch(f"[{host}]" if ":" in host else host) else CUT


def strip_secrets(reference: str) -> str:
    """The same reference, with `...` for what could let its reader fetch the picture: safe to be passed on.

    A key, a data URL and a URL that carries no parameters but harmless ones come back as they are; one so odd that
    nobody can say which part of it is the password comes back as it is shown. Twice is the same as once.
    """
    if PLAIN.fullmatch(reference) and not reference.startswith("//"):
        return reference if len(reference) <= LONGEST else show_reference(reference)
    if is_embedded(reference):
        return reference
    if len(reference) > LONGEST:
        return show_reference(reference)
    place, path, query = _parts(reference)
    if place:
        return place + path + PARAMETER.sub(_parameter, query)
    return path + PARAMETER.sub(_part_of_a_key, query)


def shorten_reference(reference: str) -> str:
    """What an answer calls a picture: the reference without secrets, whole where it is short.

    Of a long one the beginning, its length and the beginning of its SHA-256, so that two of one request that begin
    alike, as all pictures of one camera do in base64, are told apart, and the sender can find out which it was.
    """
    embedded = is_embedded(reference)
    told = reference if embedded else strip_secrets(reference)
    longest = LONGEST_EMBEDDED if embedded else LONGEST_NAME
    if len(told) <= longest and len(reference) <= LONGEST:
        return told
    hashed = told if len(reference) <= LONGEST else reference  # of those without secrets nothing is left
    digest = hashlib.sha256(hashed.encode(errors="replace")).hexdigest()[:12]
    end = f"{CUT} ({len(reference)} characters, sha256 {digest})"
    return told[: longest - len(end)].removesuffix(CUT) + end


def _parts(reference: str) -> tuple[str, str, str]:
    """Scheme and host, path, and the query as it came; the first is empty for a key, the others where all is hidden."""
    if "://" not in reference and not DISGUISED.match(reference):
        return "", *_parts_of_key(reference)
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
    if AT.search(path.replace("@", "")):  # encoded: a whole URL within this one
        path = f"/{CUT}"
    return f"{scheme}//{host}", "/".join(map(_part_of_a_path, path.split("/"))), query


def _parts_of_key(key: str) -> tuple[str, str]:
    path, query = _split_query(key)
    colon = COLON.search(key) or re.search(r"//|\\", key)
    if colon and AT.search(key, colon.end()):
        return CUT, ""
    return "/".join(map(_part_of_a_path, path.split("/"))), query


def _part_of_a_path(part: str) -> str:
    if PATH_TOKEN.fullmatch(part):
        return CUT
    name, equals, value = _split(part, EQUALS)
    return part if not value or HARMLESS.fullmatch(part) else name + equals + CUT


def _split_query(text: str) -> tuple[str, str]:
    found = END_OF_PATH.search(text)
    return (text, "") if found is None else (text[: found.start()], text[found.start() :])


def _split(text: str, at: re.Pattern[str]) -> tuple[str, str, str]:
    """As `str.partition`, at the first match of a pattern."""
    found = at.search(text)
    return (text, "", "") if found is None else (text[: found.start()], found[0], text[found.end() :])


def _hides_a_password(host: str, rest: str) -> bool:
    """Whether what looks like a host may be a user or half of a password that has a / ? or # in it.

    After a name with a dot in it `/@ann/` is a path, and an @ in a parameter's value is no matter of the host.
    """
    if "@" not in rest:
        return False
    if ":" in host.rpartition("]")[2] or "." not in host.partition(":")[0]:
        return True
    return re.search(r"[^/]@|//@", rest.partition("=")[0]) is not None or re.match(r"/@[^/]*@", rest) is not None


def _parameter(found: re.Match[str]) -> str:
    before, parameter = found.groups()
    name, equals, value = _split(parameter, EQUALS)
    if not parameter or HARMLESS.fullmatch(parameter):
        return before + parameter
    if not equals or not NAME.fullmatch(name) or NAMELESS_SECRET.fullmatch(name):
        return before + CUT
    return before + name + equals + (CUT if value else "")


def _part_of_a_key(found: re.Match[str]) -> str:
    """As `_parameter`, but the names of files have `&`, `;` and `#` in them too."""
    before, parameter = found.groups()
    return before + parameter if before in "&;#" and FILE.fullmatch(parameter) else _parameter(found)


def _line(text: str) -> str:
    """One line of at most `SHOWN` characters, whatever is in it: a message goes into logs and terminals."""
    told = visible(text[: SHOWN + 1])
    return told if len(told) <= SHOWN else told[: SHOWN - len(CUT)] + CUT
