"""What no log line may say, taken out of text: secrets, pictures, faces. The second line of defence, not the first.

| what | becomes |
|---|---|
| user and password in a URL | `https://[redacted]@host/path` |
| query and fragment of a URL, where signatures and tokens stand | `https://host/path?[redacted]` |
| a `data:` URL | `data:[redacted]` |
| the value of an Authorization, a cookie, a token, a password, a signature | `authorization: [redacted]` |
| `whsec_...`, an AWS access key id, a JSON web token | `[redacted]` |
| base64 of 40 characters and more: a picture, a key | `[base64, 123 characters]` |
| eight fractions and more in a row: a face's vector | `[123 numbers]` |

Code that logs must not hand such things to a logger in the first place; other people's libraries and the text of
unforeseen errors may. Each pattern takes time in proportion to the text, whatever the text is.
"""

import re

REDACTED = "[redacted]"
SHORTEST_BASE64 = 40  # an AWS secret access key has just so many; a SHA-256 in hex has 64 and is told apart
SHORTEST_WORD = 16  # letters and digits of both cases in a row, as base64 has them and names in keys do not
FEWEST_NUMBERS = 8  # a face's vector has 128 or 512, a progress report five

_NUMBER = r"[-+]?(?:\d{1,20}\.\d{0,30}|\.\d{1,30})(?:e[-+]?\d{1,4})?"
_WRAPPED = rf"(?:np\.float\d\d\()?{_NUMBER}\)?"
_VECTOR = re.compile(rf"(?<![\w.]){_WRAPPED}(?:(?:[\s,;\[\]]|\\n){{1,20}}{_WRAPPED}){{{FEWEST_NUMBERS - 1},}}+")
_URL = re.compile(r""":[/\\]+(?:[^\s"'<>]|'(?![\s,)\]}:]|\Z))*+""")
_SLASHES = re.compile(r"(:[/\\]+)")
_PLAIN_AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]*\]|[^:@]*)(?::\d*)?")
_DATA = re.compile(r"""\bdata:(?:[\w.+-]{1,100}/[\w.+-]{1,100})?(?:;[^,\s"']{0,200})?,[^\s"'<>]*""", re.IGNORECASE)
_HEADER = re.compile(
    r"""\b((?:proxy-)?authorization|(?:set-)?cookie)(["']?\s{0,3}[:=,]\s{0,3}(?:b?["'])?)[^\r\n"']+""", re.IGNORECASE
)
_SCHEME = re.compile(r"\b(bearer|basic|AWS4-HMAC-SHA256)\s+(?=[^\s,]*[0-9A-Z=])[^\s,\"']{8,}", re.IGNORECASE)
_NAMED = re.compile(
    r"""((?:token|signature|password|passwd|secret|credential|api[_-]?key|access[_-]?key(?:[_-]?id)?)["']?\s{0,3}[=:]\s{0,3}"""
    r"""(?:b?["'])?)[^\s"'&,;)}\]]+""",
    re.IGNORECASE,
)
_KNOWN = re.compile(r"whsec_[A-Za-z0-9+/=_-]+|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?")
_BASE64 = re.compile(rf"[A-Za-z0-9+/_-]{{{SHORTEST_BASE64},}}+=*")
_WORD = re.compile(rf"[A-Za-z0-9+]{{{SHORTEST_WORD},}}+")


def redact(text: str) -> str:
    """The text without what the table above names."""
    text = _DATA.sub(f"data:{REDACTED}", text)
    text = _HEADER.sub(rf"\1\2{REDACTED}", text)
    text = _SCHEME.sub(rf"\1 {REDACTED}", text)
    text = _URL.sub(_without_secrets, text)
    text = _KNOWN.sub(REDACTED, text)
    text = _NAMED.sub(rf"\1{REDACTED}", text)
    text = _BASE64.sub(_named_base64, text)
    return _VECTOR.sub(_counted, text)


def _without_secrets(url: re.Match[str]) -> str:
    """A URL from its colon on, without user, password, query and fragment, also where URLs stand in its path."""
    place, query = url.group(), ""
    for mark in "?#":
        place, found, rest = place.partition(mark)
        query = query or (f"?{REDACTED}" if found and rest else found)
    pieces = _SLASHES.split(place)
    return "".join(piece if _SLASHES.fullmatch(piece) else _host_and_path(piece) for piece in pieces) + query


def _host_and_path(piece: str) -> str:
    authority, slash, path = piece.partition("/")
    if _PLAIN_AUTHORITY.fullmatch(authority) and not (":" in authority and "@" in path):
        return piece
    if "@" in authority:
        return f"{REDACTED}@{authority.rpartition('@')[2]}{slash}{path}"
    return f"{REDACTED}@{path.rpartition('@')[2]}" if "@" in path else REDACTED  # a password may have a slash


def _named_base64(run: re.Match[str]) -> str:
    """How long it was, where it is none of our keys, paths and hashes."""
    text = run.group()
    for word in _WORD.findall(text):
        if any(c.isupper() for c in word) and any(c.islower() for c in word) and any(c.isdigit() for c in word):
            return f"[base64, {len(text)} characters]"
    return text


def _counted(vector: re.Match[str]) -> str:
    return f"[{len(re.findall(_NUMBER, vector.group()))} numbers]"
