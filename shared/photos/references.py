"""References to pictures, fit for people's eyes: a URL may carry a password, a signature or the whole picture.

| function | for | keeps |
|---|---|---|
| `shown` | messages, warnings, logs | scheme, host and path of a URL, a key; one line, bounded |
| `shown_host` | messages | the host alone |
| `without_secrets` | what an answer echoes | all that came, but for user, password and the values of signatures |
"""

import re

SHOWN = 120  # characters of a reference that a message repeats; a data URL may have millions
LONGEST = 16 * 1024  # characters of a URL or key that is looked at; servers take half of that, stores a sixteenth
MEDIA_TYPE = 40  # characters of a data URL's heading
CUT = "..."

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
HOST = re.compile(r"(\[[\w:.%]*\]|[\w.-]*)(:[0-9]*)?")
END_OF_HOST = re.compile(r"[/?#\\]")
NAMELESS_SECRET = re.compile(r"(?=.*[0-9])[\w:~+=%-]{24,}|[\w:~+=%.-]{48,}")  # a token by its looks; a name is shorter
SECRET = re.compile(
    r"sig|sign|token|secret|pass|pwd|cred|auth|key|expire|policy|hmac|hash|jwt|session|ticket|code|user|account|^s[a-z]$",
    re.IGNORECASE,
)
DISGUISED = re.compile(r"\s*(https?:|//|\\\\)", re.IGNORECASE)  # a URL to some readers, a key to us
PATH_TOKEN = re.compile(r"(?<=/)\w+:[\w-]{24,}(?=/)")  # as bots have them in the addresses of their files
SEPARATOR, EQUALS = (
    r"[?&;#]|%3[fFbB]|%2[36]",
    r"=|%3[dD]",
)  # encoded too: a URL that was encoded twice keeps its secrets
END_OF_PATH = re.compile(SEPARATOR)
PARAMETER = re.compile(rf"({SEPARATOR})((?:(?!{SEPARATOR}|{EQUALS}).)*)({EQUALS}|)((?:(?!{SEPARATOR}).)*)", re.DOTALL)


def shown(reference: str) -> str:
    """A reference that may stand in a message: without user, password, query and fragment, without control characters.

    Parts of a URL's path that look like a token are left out too, and so is everything where the URL is so odd that
    nobody can say which part of it is the password.
    """
    scheme, colon, rest = reference.partition(":")
    if colon and scheme.lower().strip() == "data":
        return _line("data:" + rest.partition(",")[0][:MEDIA_TYPE] + "," + CUT)
    if len(reference) > LONGEST:
        return _line(f"{scheme[:MEDIA_TYPE]}:{CUT}" if SCHEME.fullmatch(scheme[:MEDIA_TYPE]) else CUT)
    if colon and scheme.lower().strip() in ("http", "https") and not rest.startswith("//"):
        return f"{scheme.strip()}:{CUT}"
    if reference.startswith("//") or "://" in reference:
        return _line(_shown_url(reference))
    return _line(_shown_key(reference))


def shown_host(host: str) -> str:
    """The host of a URL for a message; nothing of one that is more than a host."""
    return _line(host) if HOST.fullmatch(f"[{host}]" if ":" in host else host) else CUT


def without_secrets(reference: str) -> str:
    """The same reference, with `...` for what would let its reader fetch the picture: safe to be passed on.

    A key, a data URL and a URL that carries no credentials come back as they are; one so odd that nobody can say which
    part of it is the password comes back as it is shown.
    """
    head, slashes, rest = reference.partition("://")
    if head[:5].lower() == "data:":
        return reference
    if len(reference) > LONGEST:
        return shown(reference)
    if not slashes:
        first = reference.partition("/")[0]
        if DISGUISED.match(reference) or (":" in first and "@" in first):
            return shown(reference)
        return PARAMETER.sub(_redacted, reference)
    host, rest = _split_host(rest)
    host = host.rpartition("@")[2]
    if not SCHEME.fullmatch(head) or not HOST.fullmatch(host) or _hides_a_password(host, rest):
        return shown(reference)
    return head + slashes + host + PATH_TOKEN.sub(CUT, PARAMETER.sub(_redacted, rest))


def _shown_url(reference: str) -> str:
    scheme, _, rest = reference.partition("//")
    scheme = scheme if not scheme or SCHEME.fullmatch(scheme[:-1]) else CUT
    host, rest = _split_host(rest)
    host = host.rpartition("@")[2]
    if not HOST.fullmatch(host) or _hides_a_password(host, rest):
        return f"{scheme}//{CUT}"
    path, found, _ = _split(rest, END_OF_PATH)
    parts = [CUT if NAMELESS_SECRET.fullmatch(part) else part for part in path.split("/")]
    return f"{scheme}//{host}{'/'.join(parts)}" + (f"?{CUT}" if found else "")


def _shown_key(key: str) -> str:
    path, found, _ = _split(key, END_OF_PATH)
    first, slash, rest = path.partition("/")
    if ":" in first and "@" in first:
        first = CUT + first.rpartition("@")[2]
    return first + slash + rest + (f"?{CUT}" if found else "")


def _split_host(rest: str) -> tuple[str, str]:
    host, found, path = _split(rest, END_OF_HOST)
    return host, found + path


def _split(text: str, at: re.Pattern[str]) -> tuple[str, str, str]:
    """As `str.partition`, at the first match of a pattern."""
    found = at.search(text)
    return (text, "", "") if found is None else (text[: found.start()], found[0], text[found.end() :])


def _hides_a_password(host: str, rest: str) -> bool:
    """Whether what looks like a port may be half of a password that has a / ? or # in it."""
    return ":" in host.rpartition("]")[2] and "@" in rest


def _redacted(found: re.Match[str]) -> str:
    before, name, equals, value = found.groups()
    if not equals:
        return before + (CUT if NAMELESS_SECRET.fullmatch(name) else name)
    secret = SECRET.search(name) or NAMELESS_SECRET.fullmatch(value) or NAMELESS_SECRET.fullmatch(name)
    return before + name + equals + (CUT if secret and value else value)


def _line(text: str) -> str:
    """One line of at most `SHOWN` characters, whatever is in it: a message goes into logs and terminals."""
    bounded = text if len(text) <= SHOWN else text[: SHOWN - len(CUT)] + CUT
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in bounded)
