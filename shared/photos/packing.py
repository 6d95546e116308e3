"""Pictures that came packed: by a server, or by whoever put them into a store.

| `Content-Encoding` | what is done |
|---|---|
| none, empty, identity, aws-chunked, binary, utf-8 and whatever else is no compression | the bytes are the picture |
| gzip, x-gzip, deflate, also several | unpacked, as far as the limit of bytes |
| br, zstd and other compressions | refused: nobody asked for them |
| any, but the bytes begin as a picture does | the bytes are the picture: what was said of them is wrong |

What begins as gzip is unpacked wherever it comes from: stores keep the encoding of an upload beside the object, and
some lose it.
"""

import zlib

from shared.errors import PhotoTooLarge, PhotoUndecodable
from shared.photos.signatures import is_picture

GZIP = b"\x1f\x8b"
GZIPS = {"gzip", "x-gzip"}
UNREADABLE = {"br", "zstd", "compress", "x-compress", "dcb", "dcz", "bzip2", "x-bzip2", "xz", "lzma", "pack200-gzip"}
MEMBERS = 100  # of one gzip; who appends writes a few, and each costs a look at all that follows
LAYERS = 3  # packed within packed
WRAPPED, RAW = 15, -15  # zlib's windows: deflate as the standard says, and as some servers send it
WITH_HEADER = 31  # of gzip


def unpack(data: bytes, encoding: str, most: int) -> bytes:
    """The picture in what a server sent.

    Args:
        data: the body.
        encoding: its `Content-Encoding`, empty where there is none.
        most: bytes that the picture may have.

    Raises:
        PhotoTooLarge: there is more in it; found out without unpacking more.
        PhotoUndecodable: it is packed in a way that we don't read, or broken.
    """
    codings = [one.strip().lower() for one in encoding.split(",")]
    for coding in reversed(codings[-LAYERS:]):
        if is_picture(data):
            return data
        if coding in UNREADABLE:
            raise PhotoUndecodable(f"it comes compressed by {coding}, which was not asked for and is not read")
        if coding in GZIPS and data and not data.startswith(GZIP):
            raise PhotoUndecodable("it is said to come compressed by gzip, and is neither that nor a picture")
        if coding == "deflate":
            data = _inflated(data, most)
        elif coding in GZIPS:
            data = _gunzipped(data, most)
    return open_packed(data, most)


def open_packed(data: bytes, most: int) -> bytes:
    """The picture in a file that is packed with gzip; any other file as it is. Errors as of `unpack`."""
    for _ in range(LAYERS):
        if not data.startswith(GZIP):
            break
        data = _gunzipped(data, most)
    return data


def _gunzipped(data: bytes, most: int) -> bytes:
    unpacked, members = bytearray(), 0
    while data.startswith(GZIP):
        members += 1
        if members > MEMBERS:
            raise PhotoUndecodable(f"it is packed in more than {MEMBERS} pieces of gzip")
        piece, data = _piece(data, WITH_HEADER, most - len(unpacked), most)
        unpacked += piece
    return bytes(unpacked)


def _inflated(data: bytes, most: int) -> bytes:
    try:
        return _piece(data, WRAPPED, most, most)[0]
    except PhotoUndecodable:
        return _piece(data, RAW, most, most)[0]


def _piece(data: bytes, window: int, left: int, most: int) -> tuple[bytes, bytes]:
    """What the first stream holds, `left` bytes at most, and what follows it."""
    unpacking = zlib.decompressobj(window)
    try:
        piece = unpacking.decompress(data, left + 1)
    except zlib.error as error:
        raise PhotoUndecodable("it comes compressed, and that is broken: upload it again") from error
    if len(piece) > left:
        raise PhotoTooLarge(f"the picture has more than the limit of {most} bytes once it is unpacked")
    if not unpacking.eof:
        raise PhotoUndecodable("it comes compressed, and is cut off: upload it again")
    return piece, unpacking.unused_data
