"""Quotes what a server says instead of sending a picture, if it helps the sender of the request and shows no secret.

Stores answer in XML, as S3, OSS, Azure and Google do, or in JSON; other servers with text or a page. Quoted is the
part that says why, without the parts of the URL that messages may not show, in whatever form the server repeats them.
"""

import codecs
import html
import json
import re
from urllib.parse import unquote, unquote_plus

from shared.contract.redaction import redact
from shared.photos.references import CUT, NAME, NAMELESS_SECRET, show_reference
from shared.photos.signatures import is_page

READ = 16 * 1024  # bytes of a body that are read; Azure's have 500, Amazon's with a whole signature 3,000
LONGEST = 240  # characters that are quoted
FEWEST = 4  # characters of the shortest part of a URL that is searched for; shorter ones occur in every text

XML = re.compile(r"<(?:\w+:)?(Code|Message|Details?|AuthenticationErrorDetail|Reason)>\s*([^<]{1,600})", re.IGNORECASE)
CDATA = re.compile(r"<!\[CDATA\[([^<]*)\]\]>")
JSON = re.compile(
    r'"(code|status|error|error_?code|message|msg|error_?message|error_description|details?|reason|title)"'
    r'\s*:\s*("(?:[^"\\]|\\.){1,600}")',
    re.IGNORECASE,
)
UNSEEN = re.compile(r"<(script|style|svg)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", re.IGNORECASE | re.DOTALL)
TITLE = re.compile(r"<title[^>]*>([^<]{1,300})", re.IGNORECASE)
TAG = re.compile(r"<[^<>]*>")
SENTENCE = re.compile(r"(?<=[.!?])\s+|[\r\n]+")
SEPARATORS = re.compile(r"[?&;#]")
PIECES = re.compile(r"[/?&;=~,|:@#]+")

EXPIRED = re.compile(r"expir", re.IGNORECASE)
SKEWED = re.compile(r"skew|time frame|clock|not (?:yet )?valid|not valid yet|request time|timestamp", re.IGNORECASE)
AGENT = re.compile(r"user[ -]?agent|robot policy", re.IGNORECASE)
TELLING = re.compile(f"{EXPIRED.pattern}|{SKEWED.pattern}|{AGENT.pattern}", re.IGNORECASE)


def quote_refusal(body: bytes, url: str) -> str:
    """Return a quote of a body with advice, to be appended to a message; empty if the body says nothing.

    Args:
        body: beginning of the body, unpacked.
        url: the URL of the request, with the secrets that must not be repeated.
    """
    words = _words(_decode(body[:READ]))
    quote = _line(_without_secrets(words, url))
    return f' and says "{quote}"{_advice(words)}' if quote else ""


def quote_title(body: bytes, url: str) -> str:
    """Return the title of a page, quoted in parentheses; empty if it has none."""
    found = TITLE.search(_decode(body[:READ]))
    title = _line(_without_secrets(html.unescape(found[1]), url)) if found else ""
    return f' ("{title}")' if title else ""


def _decode(body: bytes) -> str:
    """Return the text of a body, whose end may be cut off: UTF-8 or UTF-16, else what most old servers write."""
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return body.decode("utf-16", "replace")
    try:
        return codecs.getincrementaldecoder("utf-8-sig")().decode(body)
    except UnicodeDecodeError:
        return body.decode("cp1252", "replace")


def _words(text: str) -> str:
    """Return the words that say why: from the telling members of XML and JSON, or from the visible text of a page."""
    if text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        found = [_unescape(value) for _, value in JSON.findall(text)]
    elif is_page(text.encode()):
        page = UNSEEN.sub(" ", text)
        named = TITLE.search(page)
        seen = html.unescape(TAG.sub("\n", page.replace(named[0], "") if named else page))
        found = [html.unescape(named[1])] if named else []
        found += [one for one in SENTENCE.split(seen) if TELLING.search(one)][:2]
    elif "<" in text:
        found = [html.unescape(value) for _, value in XML.findall(CDATA.sub(r"\1", text))]
    else:
        sentences = [one for one in SENTENCE.split(text) if one.strip()]
        found = [one for one in sentences if TELLING.search(one)][:2] or sentences[:2]
    lines = (" ".join(one.split()) for one in found)
    return ": ".join(dict.fromkeys(one for one in lines if one))


def _unescape(value: str) -> str:
    try:
        return str(json.loads(value))
    except ValueError:
        return value.strip('"')


def _advice(text: str) -> str:
    if EXPIRED.search(text):
        return ": the link has expired, sign it again"
    if SKEWED.search(text):
        return ": the link was signed by a machine with a wrong clock, or is not valid yet; sign it again"
    if AGENT.search(text):
        return ": PHOTOG_USER_AGENT sets the User-Agent header that this service sends"
    return ""


def _without_secrets(text: str, url: str) -> str:
    """Remove everything of the URL that `show_reference` leaves out, and whatever else looks like a secret."""
    seen = set(PIECES.split(show_reference(url))) | _names(url)
    hidden = {one for piece in PIECES.split(url) for one in (piece, unquote(piece), unquote_plus(piece))}
    hidden |= {one for piece in hidden for one in PIECES.split(piece)}
    for one in sorted(hidden - seen, key=len, reverse=True):
        if len(one) >= FEWEST:
            text = text.replace(one, CUT)
    words = (CUT if NAMELESS_SECRET.fullmatch(word.strip(".,;()[]'\"")) else word for word in redact(text).split())
    return " ".join(words)


def _names(url: str) -> set[str]:
    """Return the names of the URL's parameters; error messages contain these words, as in SignatureDoesNotMatch."""
    pairs = [one.partition("=") for one in SEPARATORS.split(url)[1:]]
    values = {piece for _, _, value in pairs for one in (value, unquote(value)) for piece in PIECES.split(one)}
    named = {name for name, equals, _ in pairs if equals and NAME.fullmatch(name)}
    return {name for name in named - values if not NAMELESS_SECRET.fullmatch(name)}


def _line(text: str) -> str:
    cut = text if len(text) <= LONGEST else text[: LONGEST - len(CUT)] + CUT
    return "".join(one if one.isprintable() and one != '"' else " " for one in cut).strip()
