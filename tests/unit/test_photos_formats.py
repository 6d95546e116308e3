"""Formats: avif is read within its limits; for every other kind of file the message names it and says what to do."""

import struct
import tracemalloc
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

from shared.errors import PhotoError, PhotoTooLarge, PhotoUndecodable
from shared.photos import avif, decode_photo, decoding
from shared.photos.boxes import read_meta, walk
from shared.photos.sequence_header import FRAMES, sequence_header
from shared.settings import Limits
from tests import pictures

LIMITS = Limits()


def saved(image: np.ndarray | Pillow.Image, format: str = "AVIF", **options) -> bytes:
    picture = image if isinstance(image, Pillow.Image) else Pillow.fromarray(image)
    buffer = BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def hopper(side: int = 96) -> np.ndarray:
    return np.ascontiguousarray(pictures.hopper()[100 : 100 + side, 150 : 150 + side])


def quadrants() -> np.ndarray:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:20, :30], image[:20, 30:], image[20:, :30] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    return image


JPEG, PNG, AVIF = pictures.jpeg(hopper()), pictures.png(hopper()), saved(hopper())
KINDS = {
    "empty": (b"", "is empty"),
    "zeros": (bytes(5000), "nothing but zeros"),
    "white space": (b" \n" * 900, "nothing but white space"),
    "gif": (saved(hopper(), "GIF"), "gif files are not supported"),
    "bmp": (saved(hopper(), "BMP"), "bmp files are not supported"),
    "tiff": (saved(hopper(), "TIFF"), "tiff and raw files of cameras"),
    "ico": (saved(hopper(), "ICO"), "ico files are not supported"),
    "jpeg 2000": (saved(hopper(), "JPEG2000"), "jpeg 2000 files are not supported"),
    "jpeg xl": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(90), "jpeg xl files are not supported"),
    "canon's raw": (b"II*\0\x10\0\0\0CR\2\0" + bytes(90), "raw file"),
    "canon's newer raw": (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(90), "raw file"),
    "fuji's raw": (b"FUJIFILMCCD-RAW 0201" + bytes(90), "raw file"),
    "nikon's raw": (b"MM\0*\0\0\0\x08" + bytes(90), "raw file"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200), "the picture is broken: "),
    "heif": (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(200), "the picture is broken: "),
    "photoshop": (b"8BPS\0\1" + bytes(90), "Photoshop"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a pdf is a document"),
    "svg": (b'<?xml version="1.0"?>\n<!-- a -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an svg is a drawing"),
    "mp4": (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2" + bytes(90), "a video is not a photo"),
    "quicktime": (b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + bytes(90), "a video is not a photo"),
    "matroska": (b"\x1aE\xdf\xa3" + bytes(90), "a video is not a photo"),
    "avi": (b"RIFF\0\1\0\0AVI LIST" + bytes(90), "a video is not a photo"),
    "mp3": (b"ID3\4\0" + bytes(90), "a sound file"),
    "zip": (b"PK\3\4" + bytes(90), "an archive"),
    "page": (b"\xef\xbb\xbf \n<!DOCTYPE HTML><html>", "a web page"),
    "xml": (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "this is XML"),
    "json": (b'{"message": "no"}', "this is JSON"),
    "git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git-lfs pointer"),
    "git-annex": (b"/annex/objects/SHA256E-s1--0.jpg\n", "a pointer to a file"),
    "base64": (b"/9j/4AAQSkZJRgABAQAAAQABAAD", "as base64 text"),
    "converted": (JPEG.decode("latin-1").encode(), "a text conversion"),
    "replaced": (JPEG.decode("utf-8", "replace").encode(), "a text conversion"),
    "converted png": (PNG.replace(b"\r\n", b"\n"), "a text conversion"),
    "form": (b"------x\r\nContent-Disposition: form-data\r\n\r\n" + JPEG, "an upload form"),
    "aws-chunked": (b"2a;chunk-signature=" + b"0" * 64 + b"\r\n" + JPEG, "aws-chunked"),
    "after an empty line": (b"\r\n" + JPEG, "2 bytes before the picture"),
    "after a byte order mark": (b"\xef\xbb\xbf" + PNG, "3 bytes before the picture"),
    "apple double": (b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(90), "beside a file"),
    "shortcut": (b"[InternetShortcut]\r\nURL=http://a\r\n", "a link to a page"),
    "text": (b"hello", "this is text"),
    "impossible png": (PNG[:24] + b"\4\2" + PNG[26:], "its header cannot be read"),
    "something": (b"\x07\x93\xfe\x01" * 30, "not a picture in a known format"),
}
KINDS["page of windows"] = ("<html><body>".encode("utf-16"), "a web page")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_that_is_no_picture_is_told_by_name(kind):
    data, says = KINDS[kind]
    with pytest.raises(PhotoUndecodable, match=says):
        decode_photo(data, LIMITS)


def test_no_two_kinds_are_told_alike_that_ask_for_different_things():
    assert len({says for _, says in KINDS.values()}) >= 26


@pytest.mark.parametrize("data", [JPEG, PNG, saved(hopper(), "WEBP"), AVIF, saved(hopper(), "JPEG", progressive=True)])
@pytest.mark.parametrize("share", [0.6, 0.9, 0.99])
def test_a_picture_that_is_cut_off_says_so(data, share):
    with pytest.raises(PhotoUndecodable, match="is cut off"):
        decode_photo(data[: int(len(data) * share)], LIMITS)


def test_a_heic_of_a_phone_is_decoded_upright():
    """96 x 64 pixels, red on the left and blue on the right, saved by libheif with x265; the file says: turn it."""
    decoded = decode_photo((Path(__file__).parent / "turned.heic").read_bytes(), LIMITS)
    assert decoded.format == "HEIF"
    assert decoded.image.shape == (96, 64, 3)
    top, bottom = decoded.image[10, 32], decoded.image[-10, 32]
    assert top.argmax() == 0
    assert bottom.argmax() == 2


def test_an_avif_is_the_picture_that_was_saved():
    decoded = decode_photo(saved(hopper(), quality=90), LIMITS)
    assert decoded.format == "AVIF"
    assert np.abs(decoded.image.astype(int) - hopper()).mean() < 6
    assert decoded.warnings == []


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:2:2", "4:4:4", "4:0:0"])
def test_an_avif_of_every_kind_of_color_is_read(subsampling):
    assert decode_photo(saved(hopper(), subsampling=subsampling), LIMITS).image.shape == (96, 96, 3)


def test_an_avif_s_transparent_parts_lie_on_white_and_its_first_frame_counts():
    clear = decode_photo(saved(np.dstack([hopper(), np.zeros((96, 96), np.uint8)])), LIMITS)
    assert clear.image.min() > 250
    assert any("transparent" in warning for warning in clear.warnings)
    red, blue = Pillow.new("RGB", (64, 64), "red"), Pillow.new("RGB", (64, 64), "blue")
    moving = decode_photo(saved(red, save_all=True, append_images=[blue]), LIMITS)
    assert moving.image[32, 32, 0] > 240
    assert any("first frame" in warning for warning in moving.warnings)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_avif_is_turned_as_its_boxes_say(orientation):
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    same = decode_photo(saved(quadrants(), "PNG", exif=exif), LIMITS).image
    data = saved(quadrants(), exif=exif, quality=95)  # takes the note out of `exif`
    exif_by_pillow = Pillow.open(BytesIO(data)).getexif()[0x0112] if orientation > 1 else 1
    assert exif_by_pillow == orientation
    assert np.abs(decode_photo(data, LIMITS).image.astype(int) - same).mean() < 6


def test_an_avif_s_profile_is_kept():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decode_photo(saved(hopper(), icc_profile=profile), LIMITS).icc == profile


def tile(image: np.ndarray) -> avif._Item:
    data = saved(image, quality=95)
    meta = read_meta(dict(walk(data))[b"meta"])
    meta.left = len(data)
    return avif._item(meta, meta.primary, data)


def grid(columns: int = 2, size: tuple[int, int] = (128, 64)) -> bytes:
    left, right = np.full((64, 64, 3), 200, np.uint8), np.full((64, 64, 3), 50, np.uint8)
    content = bytes([0, 0, 0, columns - 1]) + struct.pack(">HH", *size)
    properties = {b"ispe": bytes(4) + struct.pack(">II", *size)}
    return avif._write(avif._Item(b"grid", properties, content, (tile(left), tile(right))), None)


def test_an_avif_of_tiles_is_put_together():
    image = decode_photo(grid(), LIMITS).image
    assert image.shape == (64, 128, 3)
    assert image[:, :60].mean() > 190
    assert image[:, 70:].mean() < 60


@pytest.mark.parametrize("data", [grid(3), grid(2, (12_800, 64)), grid(2, (128, 6400))])
def test_tiles_that_make_no_such_picture_are_refused(data):
    with pytest.raises(PhotoUndecodable, match=r"tiles|grid"):
        decode_photo(data, LIMITS)


def test_the_limits_of_an_avif_hold_before_its_pixels_are_made():
    decode_photo(AVIF, Limits(photo_pixels=96 * 96))
    with pytest.raises(PhotoTooLarge, match="96 x 96 pixels"):
        decode_photo(AVIF, Limits(photo_pixels=96 * 96 - 1))


@pytest.mark.parametrize("sides", [(16_000, 16_000), (4000, 4000), (95, 96)])
def test_a_bomb_whose_boxes_say_another_size_than_its_stream_is_refused_at_once(sides):
    boxes = AVIF.replace(
        b"ispe" + bytes(4) + struct.pack(">II", 96, 96), b"ispe" + bytes(4) + struct.pack(">II", *sides)
    )
    assert boxes != AVIF
    tracemalloc.start()
    with pytest.raises(PhotoError, match=r"boxes say|pixels, more than"):
        decode_photo(boxes, LIMITS)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_a_stream_that_announces_more_than_its_boxes_is_refused():
    large = avif._write(tile(hopper()), None)
    item = tile(hopper(160))
    wrong = avif._Item(item.kind, item.properties | {b"ispe": bytes(4) + struct.pack(">II", 96, 96)}, item.data)
    decode_photo(large, LIMITS)
    with pytest.raises(PhotoUndecodable, match="160 x 160 pixels, but its boxes say"):
        decode_photo(avif._write(wrong, None), LIMITS)


def test_frames_that_nobody_sees_are_counted():
    item = tile(hopper())
    assert sequence_header(item.data).width == 96
    frame = bytes([6 << 3 | 2, 1, 0])
    with pytest.raises(PhotoUndecodable, match=f"more than the limit of {FRAMES}"):
        sequence_header(item.data + frame * FRAMES)


def test_items_that_are_said_to_lie_in_one_place_do_not_multiply_it():
    data = bytearray(grid())
    places = data.index(b"iloc") + 12
    for number in range(3):
        struct.pack_into(">II", data, places + 14 * number + 6, 0, len(data))
    with pytest.raises(PhotoUndecodable, match="more content than the file"):
        decode_photo(bytes(data), LIMITS)


def test_a_damaged_avif_never_raises_anything_else():
    generator = np.random.default_rng(5)
    for whole in (AVIF, grid(), saved(np.dstack([hopper(), hopper()[..., 0]]))):
        for _ in range(60):
            damaged = bytearray(whole)
            for place in generator.integers(0, min(len(whole), 700), 4):
                damaged[place] = generator.integers(0, 256)
            try:
                decode_photo(bytes(damaged), LIMITS)
            except (PhotoUndecodable, PhotoTooLarge):
                continue


def test_without_a_decoder_an_avif_is_told_to_be_one(monkeypatch):
    monkeypatch.setattr(decoding, "AVIF", False)
    with pytest.raises(PhotoUndecodable, match="avif is not supported by the Pillow"):
        decode_photo(AVIF, LIMITS)
