"""Decoding: every file that people send becomes upright RGB, or an error that says why not."""

import struct
import zlib
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from shared.errors import PhotoTooLarge, PhotoUndecodable
from shared.photos import decode_photo
from shared.settings import Limits
from tests import pictures

LIMITS = Limits()
TURNED_BACK = {  # how a camera stored the picture, by the orientation that it noted
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, 1),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: np.rot90(image, -1),
}


def saved(picture: Pillow.Image, format: str, **options) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def quadrants() -> np.ndarray:
    """Return four colors, wider than high, so that any wrong rotation or mirroring is noticed."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[:20, :30], image[:20, 30:], image[20:, :30], image[20:, 30:] = (
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (90, 90, 9),
    )
    return image


def header_of_a_png(width: int, height: int) -> bytes:
    """Return a bomb: a few bytes that announce many pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("orientation", TURNED_BACK)
def test_a_photo_stands_upright_whatever_its_camera_noted(orientation):
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    stored = Pillow.fromarray(np.ascontiguousarray(TURNED_BACK[orientation](quadrants())))
    for format in ("PNG", "JPEG"):
        decoded = decode_photo(
            saved(stored, format, exif=exif, **({"quality": 98} if format == "JPEG" else {})), LIMITS
        )
        assert decoded.image.shape == (40, 60, 3)
        for y, x in ((10, 10), (10, 50), (30, 10), (30, 50)):
            assert np.abs(decoded.image[y, x].astype(int) - quadrants()[y, x]).max() < 12, (format, y, x)


def test_unreadable_exif_does_not_lose_the_photo():
    decoded = decode_photo(saved(Pillow.fromarray(quadrants()), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), LIMITS)
    assert decoded.image.shape == (40, 60, 3)


def test_the_content_counts_and_not_the_name():
    assert decode_photo(pictures.png(quadrants()), LIMITS).format == "PNG"
    assert decode_photo(pictures.jpeg(quadrants()), LIMITS).format == "JPEG"


def test_cmyk_becomes_rgb_with_a_warning():
    decoded = decode_photo(saved(Pillow.fromarray(pictures.hopper()).convert("CMYK"), "JPEG", quality=95), LIMITS)
    assert np.abs(decoded.image.astype(int) - pictures.hopper()).mean() < 4
    assert any("CMYK" in warning for warning in decoded.warnings)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGBA"])
def test_other_modes_become_rgb(mode):
    decoded = decode_photo(saved(Pillow.fromarray(pictures.hopper()).convert(mode), "PNG"), LIMITS)
    gray = pictures.hopper().mean()
    assert decoded.image.shape == (600, 512, 3)
    assert decoded.image.dtype == np.uint8
    assert decoded.image.mean() == pytest.approx(gray, abs=6)


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_keep_their_brightness(channels):
    image = pictures.hopper() if channels == 3 else pictures.hopper()[..., 1]
    written = cv2.imencode(
        ".png", image[..., ::-1].astype(np.uint16) * 257 if channels == 3 else image.astype(np.uint16) * 257
    )
    decoded = decode_photo(bytes(written[1]), LIMITS).image
    assert np.abs(decoded.astype(int) - image.reshape(600, 512, channels)).max() <= 1


def test_what_is_transparent_lies_on_white():
    image = np.dstack([quadrants(), np.zeros((40, 60), np.uint8)])
    decoded = decode_photo(saved(Pillow.fromarray(image, "RGBA"), "PNG"), LIMITS)
    assert (decoded.image == 255).all()
    assert any("transparent" in warning for warning in decoded.warnings)


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_an_animation_gives_its_first_frame_and_says_so(format):
    first, second = Pillow.new("RGB", (32, 32), "red"), Pillow.new("RGB", (32, 32), "blue")
    decoded = decode_photo(saved(first, format, save_all=True, append_images=[second], duration=100), LIMITS)
    assert decoded.image[16, 16, 0] > 240
    assert decoded.image[16, 16, 2] < 15
    assert any("first frame" in warning for warning in decoded.warnings)


def test_a_bomb_is_refused_before_its_pixels_are_made():
    for side in (60_000, 2_000_000):
        with pytest.raises(PhotoTooLarge, match="pixels"):
            decode_photo(header_of_a_png(side, side), LIMITS)
    with pytest.raises(PhotoTooLarge, match="12000 x 12000"):
        decode_photo(header_of_a_png(12000, 12000), LIMITS)


def test_the_limit_of_pixels_is_the_setting():
    photo = pictures.jpeg(pictures.hopper())
    decode_photo(photo, Limits(photo_pixels=512 * 600))
    with pytest.raises(PhotoTooLarge, match="512 x 600"):
        decode_photo(photo, Limits(photo_pixels=512 * 600 - 1))


def test_a_file_over_the_limit_of_bytes_is_not_even_opened():
    with pytest.raises(PhotoTooLarge, match="limit of 1000"):
        decode_photo(b"x" * 1001, Limits(photo_bytes=1000))


@pytest.mark.parametrize("encode", [pictures.jpeg, pictures.png])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.7, 0.95])
def test_a_truncated_file_is_refused(encode, share):
    whole = encode(pictures.hopper())
    with pytest.raises(PhotoUndecodable):
        decode_photo(whole[: max(int(len(whole) * share), 12)], LIMITS)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"<svg/>", b"%PDF-1.7", b"GIF89a" + b"\0" * 40, b"BM" + b"\0" * 60, b"II*\0" + b"\xff" * 40]
)
def test_what_is_no_jpg_png_or_webp_is_refused_with_advice(data):
    with pytest.raises(PhotoUndecodable, match=r"send a jpg|broken"):
        decode_photo(data, LIMITS)


def test_a_damaged_file_never_raises_anything_else():
    generator = np.random.default_rng(3)
    small = pictures.hopper()[::8, ::8].copy()
    for whole in (pictures.jpeg(small), pictures.png(small), saved(Pillow.fromarray(small), "WEBP")):
        for _ in range(150):
            damaged = bytearray(whole)
            for place in generator.integers(0, len(whole), 6):
                damaged[place] = generator.integers(0, 256)
            try:
                decode_photo(bytes(damaged), LIMITS)
            except (PhotoUndecodable, PhotoTooLarge):
                continue
