"""Color profiles: colors stay the same whatever the file's color space, and are returned in that space."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

from shared.photos import decode_photo, profiles
from shared.settings import Limits
from tests import color_profiles, pictures

LIMITS = Limits()


def file(image, icc, mode="RGB", kind="PNG", **options):
    stream = BytesIO()
    Pillow.fromarray(image).convert(mode).save(stream, kind, icc_profile=icc, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def photo():
    return np.ascontiguousarray(pictures.astronaut()[:256:2, 100:356:2])


def apart(one, other):
    return np.abs(one.astype(int) - other)


@pytest.mark.parametrize("name", ["Adobe RGB", "Display P3", "ProPhoto"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_photo_in_a_wide_space_has_the_colors_that_it_has_in_srgb(photo, name, kind):
    profile = color_profiles.rgb(name)
    lossless = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    wide = file(color_profiles.in_space(photo, profile), profile, kind=kind, **lossless)
    decoded = decode_photo(wide, LIMITS)
    assert np.mean(apart(decoded.image, photo)) < 1.5
    assert decoded.icc == profile


@pytest.mark.parametrize("name", color_profiles.SPACES)
def test_what_has_not_changed_goes_back_bit_for_bit_and_the_rest_in_its_own_colors(photo, name):
    profile = color_profiles.rgb(name)
    own = color_profiles.in_space(photo, profile)
    own[:8, :8] = (0, 255, 0)  # no sRGB holds that green
    decoded = decode_photo(file(own, profile), LIMITS, keep_own=True)
    assert np.array_equal(decoded.to_file_space(decoded.image.copy()), own)
    changed = decoded.image.copy()
    changed[40:60, 40:60] = 255 - changed[40:60, 40:60] // 2
    returned = decoded.to_file_space(changed)
    same = np.ones(own.shape[:2], bool)
    same[40:60, 40:60] = False
    assert np.array_equal(returned[same], own[same])
    assert np.percentile(apart(color_profiles.in_srgb(returned, profile), changed)[40:60, 40:60], 99) <= 6


def test_a_doubled_picture_goes_back_too(photo):
    profile = color_profiles.rgb("ProPhoto")
    own = color_profiles.in_space(photo, profile)
    decoded = decode_photo(file(own, profile), LIMITS, keep_own=True)
    twice = decoded.image.repeat(2, axis=0).repeat(2, axis=1)
    returned = decoded.to_file_space(twice)
    assert returned.shape == twice.shape
    assert apart(returned, own.repeat(2, axis=0).repeat(2, axis=1)).max() <= 3


@pytest.mark.parametrize("name", color_profiles.SPACES)
def test_gray_stays_gray_in_every_space(photo, name):
    profile = color_profiles.rgb(name)
    own = np.repeat(photo[..., 1:2], 3, axis=-1)
    decoded = decode_photo(file(own, profile), LIMITS, keep_own=True)
    darker = np.repeat(decoded.image[..., 1:2] // 2, 3, axis=-1)
    assert np.ptp(decoded.to_file_space(darker), axis=-1).max() == 0


def test_the_numbers_of_an_srgb_profile_are_taken_as_they_are(photo):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    decoded = decode_photo(file(photo, profile), LIMITS, keep_own=True)
    assert np.array_equal(decoded.image, photo)
    assert (decoded.icc, decoded.own, decoded.warnings) == (profile, None, [])


def test_only_who_asks_for_a_files_own_numbers_keeps_them(photo):
    profile = color_profiles.rgb("ProPhoto")
    assert decode_photo(file(photo, profile), LIMITS).own is None


def test_a_profile_of_gray_becomes_one_of_rgb_with_its_curve(photo):
    gray = photo[..., 1]
    decoded = decode_photo(file(gray, color_profiles.gray(1.0), "L"), LIMITS, keep_own=True)
    assert np.ptp(decoded.image, axis=-1).max() <= 1
    assert decoded.image.mean() > gray.mean() + 20  # what is linear is lighter than its numbers look
    assert np.array_equal(decoded.to_file_space(decoded.image)[..., 0], gray)
    assert apart(color_profiles.in_srgb(decoded.own, decoded.icc), decoded.image).max() <= 1
    assert decoded.icc == decode_photo(file(gray, color_profiles.gray(1.0), "L"), LIMITS).icc


def test_cmyk_is_converted_by_its_profile(photo):
    inks = np.zeros((8, 8, 4), np.uint8)
    inks[..., 0] = 200  # cyan, of which this profile's printer has none
    inks[4:, :, 3] = 255
    stream = BytesIO()
    picture = Pillow.frombytes("CMYK", (8, 8), inks.tobytes())
    picture.save(stream, "JPEG", quality=100, icc_profile=color_profiles.cmyk())
    decoded = decode_photo(stream.getvalue(), LIMITS)
    assert decoded.image[:3].min() > 245
    assert decoded.image[5:].max() < 10
    assert (decoded.icc, decoded.warnings) == (None, [])


@pytest.mark.parametrize("cut", [140, 200, 300])
def test_a_profile_that_cannot_be_read_is_left_out_and_said(photo, cut):
    decoded = decode_photo(file(photo, color_profiles.rgb("ProPhoto")[:cut]), LIMITS, keep_own=True)
    assert np.array_equal(decoded.image, photo)
    assert (decoded.icc, decoded.own) == (None, None)
    assert decoded.warnings == ["its color profile could not be used: its colors were taken for sRGB"]


@pytest.mark.parametrize(
    "profile", [color_profiles.rgb("ProPhoto"), color_profiles.gray(2.2), color_profiles.rgb("linear")]
)
def test_whatever_is_wrong_in_a_profile_the_picture_is_read_and_goes_back_as_it_came(photo, profile):
    generator = np.random.default_rng(11)
    mode = "L" if b"GRAY" in profile else "RGB"
    part = Pillow.fromarray(photo[:8, :8])
    part = part.convert("L") if mode == "L" else part
    for _ in range(40):
        damaged = bytearray(profile)
        for place in generator.integers(128, min(len(damaged), 400), 4):
            damaged[place] = generator.integers(256)
        decoded = decode_photo(file(np.asarray(part), bytes(damaged), mode), LIMITS, keep_own=True)
        assert np.array_equal(decoded.to_file_space(decoded.image), part.convert("RGB"))


def test_a_table_of_tags_that_is_cut_off_gives_no_profile():
    assert profiles.rgb_profile(color_profiles.gray(2.2)[:130]) is None
