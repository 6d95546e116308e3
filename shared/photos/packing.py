"""Unpacks pictures that were compressed by a server or by the program that uploaded them.

| `Content-Encoding` | what happens |
|---|---|
| none, empty, identity, aws-chunked, binary, utf-8 or anything else that is no compression | used as they are |
| gzip, x-gzip, deflate, x-deflate, also several of them | the bytes are unpacked, up to the limit of bytes |
| br, zstd and other compressions | refused, since we do not request them |
| any, but the bytes begin like a picture | used as they are: the header is wrong |

Bytes that begin like gzip are unpacked wherever they come from: stores keep the encoding of an upload beside the
object, and some lose it.
"""

import zlib

from shared.errors import PhotoTooLarge, PhotoUndecodable
from shared.photos.signatures import is_picture

GZIP = b"\x1f\x8b"
GZIPS = {"gzip", "x-gzip"}
DEFLATES = {"deflate", "x-deflate"}
UNREADABLE = {"br", "zstd", "compress", "x-compress", "dcb", "dcz", "bzip2", "x-bzip2", "xz", "lzma", "pack200-gzip"}
MEMBERS = 100  # of one gzip file; programs that append write a few, and each one means copying all that follows
LAYERS = 3  # of compression within compression
WRAPPED, RAW = 15, -15  # zlib's window sizes for deflate as standardized, and for deflate as some servers send it
WITH_HEADER = 31  # zlib's window size for gzip


def unpack(data: bytes, encoding: str, most: int) -> bytes:
    """Return the picture in the body of a server's response.

    Args:
        data: the body.
        encoding: its `Content-Encoding`; empty if there is none.
        most: limit for the bytes of the picture.

    Raises:
        PhotoTooLarge: the picture has more bytes; no more than the limit are unpacked.
        PhotoUndecodable: the compression is not supported, or broken.
    """
    codings = [one.partition(";")[0].strip(' \t"').lower() for one in encoding.split(",")]
    for coding in reversed(codings[-LAYERS:]):
        if is_picture(data):
            return data
        if coding in UNREADABLE:
            raise PhotoUndecodable(f"it is compressed by {coding}, which was not requested and is not supported")
        if coding in GZIPS and data and not data.startswith(GZIP):
            raise PhotoUndecodable("its Content-Encoding is gzip, but it is neither compressed by gzip nor a picture")
        if coding in DEFLATES:
            data = _inflate(data, most)
        elif coding in GZIPS:
            data = _gunzip(data, most)
    return open_packed(data, most)


def open_packed(data: bytes, most: int) -> bytes:
    """Return the content of a file that is compressed by gzip, or any other file unchanged. Raises as `unpack` does."""
    for _ in range(LAYERS):
        if not data.startswith(GZIP):
            break
        data = _gunzip(data, most)
    return data


def _gunzip(data: bytes, most: int) -> bytes:
    unpacked, members = bytearray(), 0
    while data.startswith(GZIP):
        members += 1
        if members > MEMBERS:
            raise PhotoUndecodable(f"it is compressed by gzip in more than {MEMBERS} pieces: upload it uncompressed")
        piece, data = _piece(data, WITH_HEADER, most - len(unpacked), most)
        unpacked += piece
    return bytes(unpacked)


def _inflate(data: bytes, most: int) -> bytes:
    try:
        return _piece(data, WRAPPED, most, most)[0]
    except PhotoUndecodable:
        return _piece(data, RAW, most, most)[0]


def _piece(data: bytes, window: int, left: int, most: int) -> tuple[bytes, bytes]:
    """Return the content of the first stream, at most `left` bytes, and the bytes that follow the stream."""
    unpacking = zlib.decompressobj(window)
    try:
        piece = unpacking.decompress(data, left + 1)
    except zlib.error as error:
        raise PhotoUndecodable("it is compressed, and the compressed data are broken: upload it again") from error
    if len(piece) > left:
        raise PhotoTooLarge(f"the picture has more than the limit of {most} bytes once it is unpacked")
    if not unpacking.eof:
        raise PhotoUndecodable("it is compressed, and is cut off: upload it again")
    return piece, unpacking.unused_data
