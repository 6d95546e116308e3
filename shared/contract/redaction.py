"""Removal of secrets, pictures and faces from log text. It is the second line of defense, not the first.

| text | becomes |
|---|---|
| user and password in a URL | `https://[redacted]@host/path` |
| the same without slashes, without a scheme, or encoded | `[redacted]@host/path` |
| query and fragment of a URL, query of a key, which may hold signatures and tokens | `https://host/path?[redacted]` |
| a `data:` URL | `data:[redacted]` |
| the value of an Authorization, a cookie, a token, a password, a signature and the like | `authorization: [redacted]` |
| `whsec_...`, an AWS access key id, a JSON web token | `[redacted]` |
| base64 of 40 characters and more: a picture, a key | `[base64, 123 characters]` |
| a word of a sentence after `ExpiredToken: ` or `token: `, such as `Invalid` | stays |
| eight or more fractions in a row: a face embedding | `[123 numbers]` |

Code that logs must not pass such things to a logger in the first place; other people's libraries and the text of
unforeseen errors may. Each pattern takes time in proportion to the text, whatever the text is.
"""

import re

REDACTED = "[redacted]"
SHORTEST_BASE64 = 40  # the length of an AWS secret access key; a SHA-256 in hex has 64 and is recognized apart
SHORTEST_WORD = 16  # letters of both cases and digits in a row, as in base64 but not in the names in keys
LONGEST_NAME = 64  # characters of a secret's name that are examined
FEWEST_NUMBERS = 8  # an embedding has 128 or 512, a progress report five

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
_REMARK_WORDS = (  # words that begin a remark about a secret or follow its kind; none of them is a secret
    r"(?:an?|and|any|are|as|at|authentication|authorization|been|but|by|can|cannot|could|denied|did|does|error|expired|"
    r"failed|for|forbidden|format|from|given|has|have|header|if|in|inactive|incorrect|invalid|is|it|its|malformed|"
    r"mismatch|missing|must|no|none|not|null|of|on|or|outdated|please|provided|rejected|required|revoked|scheme|sent|"
    r"should|that|the|there|this|to|tokens?|try|unauthorized|undefined|unknown|unsupported|use|used|was|were|when|"
    r"which|with|wrong|you|your)"
)
_SCHEME = re.compile(
    rf"\b(?:(bearer)\s+(?!{_REMARK_WORDS}[.,:;!?]?(?:[\s\"')]|\Z))[^\s,\"']+|(basic|digest|AWS4-HMAC-SHA256)\s+(?=[^\s,]*[0-9A-Z=])[^\s,\"']{{6,}})",
    re.IGNORECASE,
)
_WITHIN_NAME = (  # anywhere in a name
    r"token|signature|passw(?:or)?d|passphrase|passcode|secret|credential|hmac|"
    r"(?:api|access|account|shared|private|signing|encryption|storage|session)[_-]?key(?:[_-]?id)?"
)
_WHOLE_NAME = (  # only as the whole name or its last word: inside words they mean other things
    r"(?:(?<![A-Za-z])|(?<=%[0-9A-F]{2})|(?<=[a-z])(?-i:(?=[A-Z])))"
    r"(?:sig|sign|pass|pwd?|pin|auth|jwt|md5|mac|digest|bearer|login|j?session(?:[_-]?id)?|cred|creds|sas|sid|oh|"
    r"hdnts|hdnea|verify|ak|sk|pk)"
)
_NAMED = re.compile(
    rf"""((?:{_WITHIN_NAME}|{_WHOLE_NAME})(?:\\{{0,2}}["'])?\s{{0,3}}(?:[=:]|%{{1,2}}(?:25){{0,9}}3D)\s{{0,3}})"""
    r"""b?(?:\\?"[^"\r\n]{1,4096}"?|\\?'[^'\r\n]{1,4096}'?|[^\s"'&)}\]]+)""",
    re.IGNORECASE,
)
_ERROR_NAME = re.compile(  # a code such as ExpiredToken, followed by a sentence; not a name whose value people choose
    r"(?:bad|denied|duplicate|expired|illegal|incorrect|invalid|malformed|mismatch(?:ed)?|missing|no|not|no_?such|"
    r"rejected|revoked|unauthorized|unknown|unrecognized|unsupported|unverified|wrong)"
    r"[A-Za-z_-]*(?:token|signature|credentials?|hmac|key(?:[_-]?id)?|sig|digest|jwt|md5|mac|session)\Z",
    re.IGNORECASE,
)
_CHOSEN_NAME = re.compile(r"pass|pwd?\b|pin\b|secret|login", re.IGNORECASE)
_FIRST = re.compile(r"""(\\?["'])?(([A-Za-z]+)[.,;:!?]?)(?=([\s"'\\)}\]]|\Z))""")
_REMARK = re.compile(_REMARK_WORDS, re.IGNORECASE)
_SENTENCE = re.compile(r"[A-Z]?[a-z]{1,14}")
_CONTINUES = re.compile(r"\s+[a-z]+\b(?![=:])")
_SECRET_NAME = re.compile(rf"(?:{_WITHIN_NAME}|{_WHOLE_NAME}|authorization|cookie)\Z", re.IGNORECASE)
_USER_IN_PATH = re.compile(r"[^/]@")  # the path begins inside a password; /@ann/ is a folder
_QUERY = re.compile(r"""(?<=\w)\?(?=[\w%:])[^\s"'<>]+""")
_TOKEN = re.compile(r"""[^\s"'<>]+""")
_AT = re.compile(r"@|%(?:25)*40")
_USER = re.compile(r":(?!//)|(?<!:)//|%(?:25)*3A", re.IGNORECASE)  # before an @: a user's name or password
_KNOWN = re.compile(
    r"(?<=/)s--[\w-]+--(?=/)|whsec_[A-Za-z0-9+/=_-]+|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"
)
_BASE64 = re.compile(rf"[A-Za-z0-9+/_-]{{{SHORTEST_BASE64},}}+=*")
_WORD = re.compile(rf"[A-Za-z0-9+]{{{SHORTEST_WORD},}}+")


def redact(text: str) -> str:
    """Return the text without what the table above lists."""
    text = _DATA.sub(f"data:{REDACTED}", text)
    text = _HEADER.sub(rf"\1\2{REDACTED}", text)
    text = _SCHEME.sub(lambda found: f"{found[1] or found[2]} {REDACTED}", text)
    text = _URL.sub(_redact_url, text)
    text = _QUERY.sub(f"?{REDACTED}", text)
    text = _TOKEN.sub(_redact_user, text)
    text = _KNOWN.sub(REDACTED, text)
    text = _NAMED.sub(_redact_value, text)
    text = _BASE64.sub(_summarize_base64, text)
    return _VECTOR.sub(_summarize_vector, text)


def is_secret_name(name: str) -> bool:
    """Return whether a value with this name is a password, a token, a signature or the like."""
    return _SECRET_NAME.search(name) is not None


def _redact_value(found: re.Match[str]) -> str:
    """Redact the value after a secret's name, unless it is a word that says what is wrong with the secret."""
    text, begin = found.string, found.end(1)
    word = _FIRST.match(text, begin)
    if word is None or found[1].rstrip()[-1] != ":" or word.end(2) > found.end():
        return found[1] + REDACTED
    name = re.split(r"[^\w-]", text[max(0, found.start() - LONGEST_NAME) : begin].rstrip(": \t\"'\\"))[-1]
    spoken = _SENTENCE.fullmatch(word[3]) is not None and _CONTINUES.match(text, word.end()) is not None
    said = _REMARK.fullmatch(word[3]) is not None and (word[1] is None or not _CHOSEN_NAME.search(name))
    if not (said or (spoken and _ERROR_NAME.search(name))):
        return found[1] + REDACTED
    return text[found.start() : word.end(2)] + _NAMED.sub(_redact_value, text[word.end(2) : found.end()])


def _redact_url(url: re.Match[str]) -> str:
    """Return a URL from its colon on without user, password, query and fragment, also of URLs within its path."""
    place, query = url.group(), ""
    for mark in "?#":
        place, found, rest = place.partition(mark)
        query = query or (f"?{REDACTED}" if found and rest else found)
    pieces = _SLASHES.split(place)
    return "".join(piece if _SLASHES.fullmatch(piece) else _redact_host(piece) for piece in pieces) + query


def _redact_host(piece: str) -> str:
    authority, slash, path = piece.partition("/")
    odd = "@" in path and (":" in authority or _USER_IN_PATH.search(path) is not None)
    if _PLAIN_AUTHORITY.fullmatch(authority) and not odd:
        return piece
    if "@" in authority:
        return f"{REDACTED}@{authority.rpartition('@')[2]}{slash}{path}"
    return f"{REDACTED}@{path.rpartition('@')[2]}" if "@" in path else REDACTED  # a password may contain a slash


def _redact_user(found: re.Match[str]) -> str:
    """Return a word without the user and password before its last @, however unusually they are written."""
    word = found.group()
    before, *after = _AT.split(word)
    begin = len(word) - len(after[-1]) if after else 0
    return f"{REDACTED}@{word[begin:]}" if begin > len(before) and _USER.search(word, 0, begin - 1) else word


def _summarize_base64(run: re.Match[str]) -> str:
    """Return the length of the run in place of it, unless it looks like a key, path or hash of ours."""
    text = run.group()
    for word in _WORD.findall(text):
        if any(c.isupper() for c in word) and any(c.islower() for c in word) and any(c.isdigit() for c in word):
            return f"[base64, {len(text)} characters]"
    return text


def _summarize_vector(vector: re.Match[str]) -> str:
    return f"[{len(re.findall(_NUMBER, vector.group()))} numbers]"
