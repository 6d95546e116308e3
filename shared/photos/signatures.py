"""Recognizes files by their first bytes, with a sentence for each kind that is not a supported picture: what to do."""

import re

PICTURES = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|....ftyp(?:avif|avis|hei[cmsx]|hev[cmsx]|mi[af]1|msf1)", re.S
)
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
LOOKED_AT = 1024  # bytes; the words that tell kinds of text apart are among them
FEW = 64  # most bytes that a script may have put before a picture by mistake

SAVE = "send a jpg or png of it"
RAW = f"a camera's raw file is not a picture yet: develop it, and {SAVE}"
VIDEO = "a video is not a photo: send a frame of it as a jpg or png"
SOUND = "a sound file is not a photo: send a jpg or png"
ARCHIVE = "an archive is not a photo: unpack it, and send the pictures in it one by one"
RARE = "{} files are not supported: " + SAVE
PROFESSIONAL = "a {} file has layers and not a single picture: " + SAVE

BINARY: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.S), sentence)
    for pattern, sentence in (
        (rb"\0{16}", "the file has nothing but zeros in it, as after a failed download: send a jpg or png"),
        (rb"GIF8", "gif files are not supported, their 256 colors are too few for a face: send a jpg or png"),
        (rb"BM.{12}[\x0c-\x7c]\0\0\0", RARE.format("bmp")),
        (rb"II\*\0.{4}CR", RAW),
        (rb"FUJIFILMCCD-RAW|IIR[OS]|MMOR|IIU\0|FOVb|\0MRM|II\x1a\0\0\0HEAP|....ftypcrx ", RAW),
        (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", f"tiff and raw files of cameras (dng, nef, arw) are not supported: {SAVE}"),
        (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", RARE.format("jpeg 2000")),
        (rb"\xff\x0a|\0\0\0\x0cJXL ", RARE.format("jpeg xl")),
        (rb"II\xbc", RARE.format("jpeg xr")),
        (rb"8BPS", PROFESSIONAL.format("Photoshop")),
        (rb"gimp xcf", PROFESSIONAL.format("Gimp")),
        (rb"%PDF-", "a pdf is a document, not a picture: send a jpg or png of its page"),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript is a document, not a picture: send a jpg or png of its page"),
        (rb"\0\0[\x01\x02]\0.\0", RARE.format("ico")),
        (rb"P[1-7]\s", RARE.format("netpbm")),
        (rb"qoif", RARE.format("qoi")),
        (rb"v/1\x01|#\?RADIANCE|#\?RGBE", RARE.format("high dynamic range (exr, hdr)")),
        (rb"DDS ", RARE.format("dds")),
        (rb"....ftypM4A |ID3|OggS|fLaC|RIFF....WAVE|\xff[\xf1\xf9\xfb\xf3]", SOUND),
        (rb"....(?:ftyp|moov|mdat|wide|free|skip)", VIDEO),
        (rb"\x1aE\xdf\xa3|RIFF....AVI |FLV\x01|\0\0\x01[\xba\xb3]|\x30\x26\xb2\x75|G.{187}G", VIDEO),
        (rb"PK[\x03\x05]|7z\xbc\xaf|Rar!|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|.{257}ustar", ARCHIVE),
        (rb"\x1f\x8b", "the file is compressed by gzip more than once: unpack it, and send the picture"),
        (rb"\0\x05\x16[\0\x07]", "this is the metadata (._ file) that macOS keeps beside a file: send the file itself"),
        (rb"bplist00", "this is a property list, iCloud's placeholder for a file: download the photo, and send that"),
        (rb"\x7fELF|MZ|\xcf\xfa\xed\xfe", "a program is not a photo: send a jpg or png"),
    )
)  # fmt: skip

XML = "this is XML, not a picture, usually the error message of a store that refused the download: read it"
JSON = "this is JSON, not a picture, usually the error message of a server that refused the download: read it"
TEXT = "this is text, not a picture: send a jpg or png"
MESSAGES = (XML, JSON, TEXT)  # kinds of text that may be a server's error message

SVG = re.compile(r"(?=<)(?:(?!<html|<!doctype html).)*?<svg", re.DOTALL)
TAGS = "html|head|body|title|script|style|meta|link|div|p|h[1-6]|center|table|form|span|a|b|i|br|hr|font|iframe|pre"
PAGE = re.compile(rf"<!doctype html|<(?:{TAGS})[\s/>]|<.*<html", re.DOTALL)
ELSEWHERE = "this is a pointer to a file that is stored elsewhere, not the picture: fetch that file, and upload it"
TEXTS = (
    (
        re.compile(r"version https://git-lfs\.github\.com/"),
        "this is a git-lfs pointer, not the picture: fetch the picture with `git lfs pull`, and upload it",
    ),
    (re.compile(r"version https://.*oid sha256:|/annex/objects/", re.DOTALL), ELSEWHERE),
    (SVG, "an svg is a drawing, not a photo: send a jpg or png"),
    (PAGE, "this is a web page (HTML), not a picture: send a jpg or png, not the page that shows it"),
    (re.compile(r"<\?xml|<error"), XML),
    (re.compile(r"\{|\[\s*\{"), JSON),
    (
        re.compile(r"\[internetshortcut\]|\[desktop entry\]"),
        "this is a link to a page, not a picture: send the file itself",
    ),
)

CONVERTED = re.compile(
    rb"(?:\xc3\xbf\xc3\x98\xc3\xbf|\xef\xbf\xbd{1,4}.{0,12}(?:JFIF|Exif)|(?:\xc2\x89|\xef\xbf\xbd)PNG|\x89PNG(?!\r\n\x1a\n)[\r\n])",
    re.S,
)
ENCODED = re.compile(rb"\s*(?:data:image/|/9j/|iVBORw0KGgo|UklGR)")
FORM = re.compile(rb"--[-\w'()+,./:=? ]{1,70}\r?\nContent-", re.I)
FRAMES = re.compile(rb"[0-9a-fA-F]{1,8}(?:;chunk-signature=[0-9a-f]{64})?\r\n(?=\xff\xd8\xff|\x89PNG|RIFF)")


def is_picture(data: bytes) -> bool:
    """Return whether the bytes begin like a picture in a supported format."""
    return PICTURES.match(data) is not None


def is_page(data: bytes) -> bool:
    """Return whether the bytes are a web page."""
    text = _text(data)
    return SVG.match(text) is None and PAGE.match(text) is not None


def is_text(data: bytes) -> bool:
    """Return whether the bytes are text of some kind, as servers send it instead of a file."""
    head = data[:LOOKED_AT]
    return bool(head.strip()) and not is_picture(data) and all(byte >= 32 or byte in b"\t\n\r\f" for byte in head)


def describe_file(data: bytes) -> str | None:
    """Return what kind of file it is and what to do about it; None if its kind is unknown."""
    if not data:
        return "the file is empty, its upload may have failed: send a jpg or png"
    if not data[:LOOKED_AT].strip() and not data.strip():
        return "the file has nothing but white space in it: send a jpg or png"
    if CONVERTED.match(data):
        return "the picture was damaged by a text conversion (of encoding or line ends): send it as binary data"
    if FRAMES.match(data):
        return "the frames of a chunked upload (aws-chunked) are still in the file: upload it with another tool"
    found = next((sentence for pattern, sentence in BINARY if pattern.match(data)), None)
    return found or _of_text(data) or _of_prefix(data)


def explain_file(data: bytes) -> str:
    """Return what kind of file it is that is no picture, or that it is none, and what its sender can do."""
    return describe_file(data) or "the file is not a picture in a known format: send a jpg, png, webp, heic or avif"


def _of_text(data: bytes) -> str | None:
    text = _text(data)
    if ENCODED.match(data):
        return "the file contains the picture as base64 text: decode it, and upload the bytes"
    if FORM.match(data):
        return "the file begins with the frame of an upload form: store only the picture in the form"
    found = next((sentence for pattern, sentence in TEXTS if pattern.match(text)), None)
    return found or (TEXT if is_text(data) else None)


def _of_prefix(data: bytes) -> str | None:
    """Describe a picture with a few bytes before it, such as a byte order mark or an empty line from a script."""
    place = min(
        (place for magic in (b"\xff\xd8\xff", b"\x89PNG\r\n") if (place := data.find(magic, 0, FEW)) > 0), default=0
    )
    if not place:
        return None
    return f"there are {place} bytes before the picture, perhaps from a script that serves it: send it without them"


def _text(data: bytes) -> str:
    """Return the beginning of a text in lower case; decodes UTF-16, too."""
    head = data[:LOOKED_AT]
    wide = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return head.decode(wide, "ignore").lstrip().lower()
