"""Containers: data besides the pixels of a picture file does not change them, and metadata is still read."""

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps, PngImagePlugin

from shared.errors import PhotoTooLarge, PhotoUndecodable
from shared.faces import FaceError
from shared.photos import container, decode_photo, jpeg, png
from shared.photos.assessment import UNDECODABLE, inspect_photo
from shared.settings import Limits
from tests import pictures
from tests.hostile.pictures import chunk, segment
from tests.hostile.pictures import progressive as empty_scans

LIMITS = Limits()
XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def portrait() -> Pillow.Image:
    return Pillow.fromarray(pictures.hopper()[::3, ::3].copy())


def saved(picture: Pillow.Image, format: str, **options) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def orientation(tag: int = 0x0112, value: int = 6) -> Pillow.Exif:
    exif = Pillow.Exif()
    exif[tag] = value
    return exif


def as_pillow_sees_it(data: bytes) -> np.ndarray:
    """Return the picture as Pillow alone decodes it from the whole file."""
    with Pillow.open(BytesIO(data)) as opened:
        return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("restarts", [0, 2])
def test_a_jpg_with_all_that_cameras_write_has_the_pixels_that_pillow_sees(subsampling, progressive, restarts):
    options = {"subsampling": subsampling, "progressive": progressive, "restart_marker_rows": restarts}
    data = saved(
        portrait(),
        "JPEG",
        exif=orientation(),
        comment=b"x" * 99,
        xmp=XMP.encode(),
        icc_profile=b"p" * 90_000,
        **options,
    )
    extended = segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"x" * 60_000) * 300  # a phone's depth map
    data = data[:2] + extended + data[2:] + b"a film behind the picture" * 1000
    assert np.array_equal(decode_photo(data, LIMITS).image, as_pillow_sees_it(data))


def test_a_jpg_of_two_pictures_gives_the_first_and_is_no_animation():
    data = saved(portrait(), "MPO", save_all=True, append_images=[Pillow.new("RGB", (30, 30))], exif=orientation())
    decoded = decode_photo(data, LIMITS)
    assert (decoded.format, decoded.warnings) == ("MPO", [])
    assert np.array_equal(decoded.image, as_pillow_sees_it(data))


@pytest.mark.parametrize(
    ("format", "mode"),
    [
        *(("JPEG", mode) for mode in ("1", "L", "RGB", "CMYK", "YCbCr")),
        *(("PNG", mode) for mode in ("1", "L", "P", "RGB", "I;16")),
        *(("WEBP", mode) for mode in ("L", "P", "RGB", "CMYK")),
    ],
)
def test_every_mode_has_the_pixels_that_pillow_sees(format, mode):
    deep = portrait().convert("I").point(lambda level: level * 250).convert("I;16")
    picture = deep if mode == "I;16" else portrait().convert(mode)
    data = saved(picture, format)
    expected = as_pillow_sees_it(data)
    if mode == "I;16":
        expected = np.repeat((np.asarray(picture) >> 8).astype(np.uint8)[..., None], 3, 2)
    assert np.array_equal(decode_photo(data, LIMITS).image, expected)


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_first_frame_of_an_animation_has_the_pixels_of_a_still(format, mode):
    first = portrait().convert(mode)
    frames = [first.rotate(90), first.rotate(180)]
    data = saved(first, format, save_all=True, append_images=frames, duration=10, lossless=True)
    decoded = decode_photo(data, LIMITS)
    assert np.array_equal(decoded.image, np.asarray(first.convert("RGB")))
    assert "animated: only the first frame was used" in decoded.warnings


@pytest.mark.parametrize("packed", [False, True])
def test_a_png_stands_upright_by_what_other_programs_wrote_into_its_texts(packed):
    shape = decode_photo(saved(portrait(), "PNG"), LIMITS).image.shape
    by_xmp, by_exif = PngImagePlugin.PngInfo(), PngImagePlugin.PngInfo()
    by_xmp.add_itxt("XML:com.adobe.xmp", XMP, zip=packed)
    raw = orientation().tobytes()
    by_exif.add_text("Raw profile type exif", f"\nexif\n{len(raw):8}\n{raw.hex()}\n", zip=packed)
    for told in (by_xmp, by_exif):
        assert decode_photo(saved(portrait(), "PNG", pnginfo=told), LIMITS).image.shape == (shape[1], shape[0], 3)


def test_exif_goes_before_xmp_and_without_an_orientation_leaves_it_to_xmp():
    upright = decode_photo(saved(portrait(), "JPEG", exif=orientation(value=1), xmp=XMP.encode()), LIMITS).image.shape
    by_xmp = decode_photo(saved(portrait(), "JPEG", exif=orientation(0x0131, 5), xmp=XMP.encode()), LIMITS).image.shape
    assert upright == (by_xmp[1], by_xmp[0], 3)


def test_a_damaged_png_is_refused_and_not_given_in_part():
    data = bytearray(saved(portrait(), "PNG"))
    data[len(data) // 2] ^= 0xFF
    data[len(data) // 2 + 1] ^= 0xFF
    with pytest.raises(PhotoUndecodable, match="broken"):
        decode_photo(bytes(data), LIMITS)


@pytest.mark.parametrize(("width", "height"), [(container.SIDE + 1, 1), (1, container.SIDE + 1)])
def test_a_side_that_no_camera_has_is_refused_by_the_header(width, height):
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    data = png.MAGIC + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(PhotoTooLarge, match=f"{width} x {height} pixels, more than the limit of 65500 a side"):
        decode_photo(data, LIMITS)


def test_scans_are_counted_and_so_is_what_they_walk_over():
    assert decode_photo(empty_scans(600, 400, jpeg.SCANS - 1, 3), LIMITS).image.shape == (400, 600, 3)
    with pytest.raises(PhotoUndecodable, match="101 scans, more than the limit of 100"):
        decode_photo(empty_scans(600, 400, jpeg.SCANS, 3), LIMITS)
    with pytest.raises(
        PhotoUndecodable, match="21 scans walk over 2096640000 pixels, more than the limit of 2000000000"
    ):
        decode_photo(empty_scans(9_984, 10_000, 20), LIMITS)


def test_a_scan_in_arithmetic_coding_counts_tenfold():
    data = empty_scans(9_984, 3_000, 9).replace(b"\xff\xc2", b"\xff\xca", 1)
    with pytest.raises(PhotoUndecodable, match="10 scans walk over 2995200000 pixels"):
        decode_photo(data, LIMITS)


class Engine:
    """A face engine that fails as it is told to."""

    name, same_person = "failing", 1.0

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def detect(self, image):
        raise self.error


def test_a_photo_that_there_is_no_memory_to_look_at_gets_code_2():
    verdict = inspect_photo(saved(portrait(), "PNG"), Engine(MemoryError()), LIMITS)
    assert (verdict.code, verdict.message) == (UNDECODABLE, "Image decode error")
    assert verdict.warnings == ["the picture needs more memory than there is: send it smaller"]
    assert inspect_photo(saved(portrait(), "PNG"), Engine(FaceError("no")), LIMITS).code != UNDECODABLE


def test_a_photo_that_there_is_no_memory_to_decode_gets_code_2(monkeypatch):
    def fail(*arguments):
        raise MemoryError

    monkeypatch.setattr(np, "empty", fail)
    verdict = inspect_photo(saved(portrait(), "PNG"), Engine(FaceError("no")), LIMITS)
    assert (verdict.code, verdict.warnings) == (2, ["the picture needs more memory than there is: send it smaller"])
