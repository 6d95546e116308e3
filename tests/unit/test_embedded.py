"""Pictures inside requests, in every form in which programs write base64, and how answers name them."""

import random
from base64 import b64encode, encodebytes, urlsafe_b64encode
from urllib.parse import quote

import pytest

from shared.buckets import MemoryBucket
from shared.contract.data_urls import decode_content, is_embedded
from shared.contract.references import LONGEST_EMBEDDED, LONGEST_NAME, shorten_reference, show_reference
from shared.errors import PhotoTooLarge, PhotoUnavailable
from shared.operations.object_names import Places
from shared.photos import PhotoFetcher
from shared.settings import Limits
from tests import pictures

SMALL = pictures.jpeg(pictures.hopper()[::8, ::8].copy())
PLAIN = b64encode(SMALL).decode()
UNPADDED = [b64encode(SMALL + bytes(more)).decode() for more in range(3)]
LINES = encodebytes(SMALL).decode()
WRITTEN = {
    "as the standard says": f"data:image/jpeg;base64,{PLAIN}",
    "in lines": f"data:image/jpeg;base64,{LINES}",
    "in lines of Windows": "data:image/jpeg;base64," + LINES.replace("\n", "\r\n"),
    "in lines that are indented": "data:image/jpeg;base64,\n  " + LINES.replace("\n", "\n  "),
    "url-safe": "data:image/jpeg;base64," + urlsafe_b64encode(SMALL).decode(),
    "percent-encoded": "data:image/jpeg;base64," + quote(PLAIN, safe=""),
    "percent-encoded line breaks": "data:image/jpeg;base64," + LINES.replace("\n", "%0D%0A"),
    "with a charset": f"data:image/jpeg;charset=utf-8;base64,{PLAIN}",
    "with a charset behind": f"data:image/jpeg;base64;charset=utf-8,{PLAIN}",
    "with a name": f'data:image/jpeg;name="me at home.jpg";base64,{PLAIN}',
    "in capitals": f"DATA:IMAGE/JPEG;BASE64,{PLAIN}",
    "with spaces": f" data: image/jpeg ; base64 , {PLAIN} ",
    "without a type": f"data:;base64,{PLAIN}",
    "without its scheme": f"image/jpeg;base64,{PLAIN}",
    "without scheme and type": f"base64,{PLAIN}",
    "bare": PLAIN,
    "bare in lines": LINES,
    "bare and url-safe": urlsafe_b64encode(SMALL).decode(),
    "bare, and no picture": b64encode(b"hello " * 200).decode(),
    "bare and short": b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR").decode(),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_an_embedded_picture_is_read_however_it_is_written(how):
    reference = WRITTEN[how]
    assert is_embedded(reference)
    (found,) = PhotoFetcher(Limits(), False, lambda key: None).fetch([reference])
    if "picture" not in how and "short" not in how:
        assert found == SMALL
    assert isinstance(found, bytes)
    assert Places(MemoryBucket(), {}).key(reference) is None, "nobody takes it for the key of an object"


@pytest.mark.parametrize("more", range(3))
def test_padding_may_be_missing_or_too_long(more):
    data = SMALL + bytes(more)
    bare = b64encode(data).decode().rstrip("=")
    for padding in ("", "=", "==", "===", "%3D%3D", " =\n="):
        assert decode_content(f"data:image/jpeg;base64,{bare}{padding}", 10**6) == data


NOISE = random.Random(7).randbytes(3000)  # a + in every 64 characters
PICTURES = [b"\xff\xd8\xff\xe0" + begin + NOISE[: 600 + more] for more in range(3) for begin in (b"", b"\xfb\xef\xbe")]
WIDTHS = (4, 60, 64, 76)


def lines(text: str, width: int) -> list[str]:
    return [text[start : start + width] for start in range(0, len(text), width)]


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode, lambda data: b64encode(data).rstrip(b"=")])
@pytest.mark.parametrize("heading", ["data:image/jpeg;base64,", "data:image/jpeg;base64, ", ""])
@pytest.mark.parametrize("data", PICTURES)
def test_a_plus_that_a_form_has_made_a_space_is_a_plus_and_layout_is_none(data, heading, encode):
    text = encode(data).decode()
    lost = text.replace("+", " ")
    written = [lost, lost.replace("=", "%3D"), lost.replace("/", "%2F"), quote(lost), quote(quote(text)), f"{lost}\n"]
    for width in WIDTHS:
        broken = lines(text, width)
        written += [between.join(broken) for between in ("\r\n", " ", "\n    ", "  \n", "\t", " \r\n ", "%20", "   ")]
        written += [between.join(lines(lost, width)) for between in ("\r\n", "%0A", "\n\n")]
        if width > 4:
            written += ["\n   ".join(lines(lost, width))]
    for one in written:
        assert decode_content(heading + one, 10**6) == data, one


def test_a_url_that_was_broken_with_its_heading_at_one_width_is_joined():
    text = "data:image/jpeg;base64," + b64encode(PICTURES[0]).decode()
    assert decode_content(" ".join(lines(text, 76)), 10**6) == PICTURES[0]


def test_spaces_by_the_million_are_read_in_bounded_memory():
    assert decode_content("data:;base64," + "A " * 2_000_000, 10**7) == bytes(1_500_000)


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("data:image/jpeg;base64", "no comma"),
        ("data:image/jpeg;base64,/9j/*4AA", r"'\*' at position 5"),
        ("data:image/jpeg;base64,/9j/\u00e44AA", "at position 5"),
        ("data:image/jpeg;base64,/9j/4", "cut off"),
        ("data:image/jpeg;base64,/9j/==AA", "'=' at position 5"),
    ],
)
def test_what_is_no_base64_says_where(reference, says):
    with pytest.raises(PhotoUnavailable, match=says):
        decode_content(reference, 10**6)


def test_the_limit_counts_the_bytes_and_not_how_they_are_written():
    reference = "data:;base64," + "".join(f"%{ord(one):02X}" for one in b64encode(bytes(900)).decode())
    assert decode_content(reference, 900) == bytes(900)
    with pytest.raises(PhotoTooLarge, match="limit of 899"):
        decode_content(reference, 899)


@pytest.mark.parametrize(
    "key", ["photos/a.jpg", "iVBORw0KGgo", "UklGR/a.jpg", "AAAA", "a" * 1024, "base64/a.jpg", "a,b", "image/jpeg/a.jpg"]
)
def test_a_key_is_not_taken_for_a_picture(key):
    assert not is_embedded(key)
    assert PhotoFetcher(Limits(), False, {key: b"object"}.get).fetch([key]) == [b"object"]


@pytest.mark.parametrize("tail", ["!", "=" * 9 + "a", "\u2028", " " * 9 + "!"])
def test_megabytes_are_told_apart_at_once(tail):
    for filling in (" ", "A", "=", "\n"):
        assert not is_embedded(filling * 4_000_000 + tail)


def test_an_answer_tells_long_references_apart_by_their_ends():
    for begin in ("data:image/jpeg;base64,/9j/", "/9j/4AAQSkZJRgABAQAAAQABAAD", "https://h.example/", "photos/"):
        several = [begin + "A" * 20_000 + end for end in ("A", "B", "CC")]
        told = [shorten_reference(one) for one in several]
        assert len(set(told)) == 3
        longest = LONGEST_EMBEDDED if is_embedded(several[0]) else LONGEST_NAME
        assert max(map(len, told)) <= longest
        assert all(one.startswith(begin[:6]) for one in told)
        assert f"{len(several[2])} characters" in told[2]


def test_an_answer_calls_a_short_reference_as_the_request_did():
    for reference in (
        "photos/a.jpg",
        "s3://photos/a.jpg",
        "data:image/png;base64,AAAA",
        "https://h.example/" + "a" * 900,
    ):
        assert shorten_reference(reference) == reference


def test_a_message_shows_little_of_an_embedded_picture():
    for reference in WRITTEN.values():
        assert len(show_reference(reference)) <= 60
