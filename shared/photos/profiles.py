"""Color profiles: pictures of any color space are processed in sRGB and returned in their own color space.

| profile of the file | picture while processed | picture that is returned |
|---|---|---|
| none, sRGB, or broken | the file's values | the same values, with the profile unless it is broken |
| RGB: Adobe RGB, Display P3, ProPhoto, linear | converted to sRGB | in the file's color space, with its profile |
| gray | converted by its curve | the same, with an RGB profile of that curve: an RGB PNG may have no gray profile |
| CMYK, in a CMYK file | converted to sRGB | sRGB |

littlecms converts, relative colorimetric with black point compensation, which is the default of image editors.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageCms

from shared.errors import PhotogError
from shared.imaging.array_types import Image
from shared.photos.container import ICC_BYTES

HEADER, ENTRY = 128, 12  # bytes of an ICC profile's header, and of an entry in its tag table
SPACE, SIGNATURE = slice(16, 20), slice(36, 40)
CURVES = (b"rTRC", b"gTRC", b"bTRC")
GRAY_CURVE = b"kTRC"
MOST_TAGS = 100  # real profiles have 9 to 30
STRIP_PIXELS = 1_000_000
ALIKE = 2  # levels by which sRGB profiles of different makers differ, because they round its curve differently
LATTICE = np.array(range(0, 256, 32)) + 15


class UnreadableProfile(PhotogError):
    """Raised when littlecms cannot convert with a profile."""


@dataclass(frozen=True, eq=False)
class ColorSpace:
    """The RGB color space of an ICC profile, with conversions from and to sRGB."""

    profile: bytes

    @cached_property
    def _inwards(self) -> ImageCms.ImageCmsTransform:
        return _transform(_open_profile(self.profile), _srgb(), "RGB")

    @cached_property
    def _outwards(self) -> ImageCms.ImageCmsTransform:
        return _transform(_srgb(), _open_profile(self.profile), "RGB")

    def is_srgb(self) -> bool:
        """Return whether values mean the same colors as in sRGB.

        Raises:
            UnreadableProfile: the profile is broken, or converts in one direction only.
        """
        lattice = np.stack(np.meshgrid(LATTICE, LATTICE, LATTICE), axis=-1).reshape(1, -1, 3).astype(np.uint8)
        meant = _convert(lattice, self._inwards)
        _convert(lattice, self._outwards)
        return int(np.abs(meant.astype(int) - lattice).max()) <= ALIKE

    def to_srgb(self, image: Image) -> None:
        """Convert a picture, (H, W, 3), in place from this space to sRGB."""
        for strip in _strips(image.shape):
            image[strip] = _convert(image[strip], self._inwards)

    def from_srgb(self, image: Image, before: Image, own: Image) -> Image:
        """Convert an edited picture from sRGB to this space.

        Args:
            image: the edited picture in sRGB, of the size of `before` or an integer multiple of it.
            before: the unedited picture in sRGB, as `to_srgb` has made it from `own`.
            own: the file's values in this space.

        Returns:
            (H, W, 3): equal to `own` wherever `image` equals `before`; elsewhere `image` converted, plus the part of
            `own` that sRGB could not represent.
        """
        times = len(image) // len(before)
        result = np.empty_like(image)
        for strip in _strips(before.shape):
            rows = slice(times * strip.start, times * strip.stop)
            made = _convert(image[rows], self._outwards) + self._beyond(before, own, strip, times)
            result[rows] = np.clip(made, 0, 255).astype(np.uint8)
            if times == 1:
                # keep neutral gray neutral: after the conversion its channels may differ by a level
                gray = _gray(image[rows]) & _gray(own[rows]) & np.any(image[rows] != before[rows], axis=-1)
                result[rows][gray] = result[rows][gray][:, 1:2]
        return result

    def _beyond(self, before: Image, own: Image, strip: slice, times: int) -> NDArray[np.int16]:
        """Return what the conversion to sRGB has lost of some rows, with rounding errors, enlarged by `times`."""
        first, last = max(strip.start - 1, 0), min(strip.stop + 1, len(before))
        lost = own[first:last].astype(np.int16) - _convert(before[first:last], self._outwards)
        if times > 1:
            size = times * before.shape[1], times * (last - first)
            lost = cv2.resize(lost, size, interpolation=cv2.INTER_LINEAR)
        rows: NDArray[np.int16] = lost[times * (strip.start - first) : times * (strip.stop - first)]
        return rows


def srgb_of_cmyk(profile: bytes | None) -> ImageCms.ImageCmsTransform | None:
    """Return the conversion from a CMYK profile to sRGB; None if the profile is missing, broken or not a CMYK one."""
    if profile is None or not _of(profile, b"CMYK"):
        return None
    try:
        return _transform(_open_profile(profile), _srgb(), "CMYK")
    except UnreadableProfile:
        return None


def rgb_profile(profile: bytes | None) -> bytes | None:
    """Return a profile for a file's RGB values: an RGB profile itself, or an RGB profile with a gray profile's curve.

    None for a profile of another color space, or without a valid size.
    """
    if profile is None or not HEADER <= len(profile) <= ICC_BYTES:
        return None
    if _of(profile, b"RGB "):
        return profile
    curve = _tags(profile).get(GRAY_CURVE) if _of(profile, b"GRAY") else None
    if curve is None:
        return None
    base = _srgb().tobytes()
    return _profile(base[:HEADER], _tags(base) | dict.fromkeys(CURVES, curve))


def _of(profile: bytes, space: bytes) -> bool:
    return profile[SPACE] == space and profile[SIGNATURE] == b"acsp"


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _open_profile(profile: bytes) -> ImageCms.ImageCmsProfile:
    try:
        return ImageCms.ImageCmsProfile(BytesIO(profile))
    except OSError as error:
        raise UnreadableProfile(str(error)) from error


def _transform(
    source: ImageCms.ImageCmsProfile, target: ImageCms.ImageCmsProfile, mode: str
) -> ImageCms.ImageCmsTransform:
    intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    try:
        return ImageCms.buildTransform(source, target, mode, "RGB", intent, flags)
    except ImageCms.PyCMSError as error:
        raise UnreadableProfile(str(error)) from error


def _convert(image: Image, transform: ImageCms.ImageCmsTransform) -> Image:
    converted: Image = np.asarray(transform.apply(Pillow.fromarray(np.ascontiguousarray(image))))
    return converted


def _strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices of a picture's rows, each of about STRIP_PIXELS pixels."""
    rows = max(1, STRIP_PIXELS // shape[1])
    for top in range(0, shape[0], rows):
        yield slice(top, min(top + rows, shape[0]))


def _gray(image: Image) -> NDArray[np.bool_]:
    """Return the pixels whose three channels are equal, (H, W)."""
    equal: NDArray[np.bool_] = (image[..., 0] == image[..., 1]) & (image[..., 1] == image[..., 2])
    return equal


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """Return a profile's tags by signature; empty if its tag table is broken."""
    try:
        (count,) = struct.unpack_from(">I", profile, HEADER)
        entries = [struct.unpack_from(">4sII", profile, HEADER + 4 + ENTRY * n) for n in range(min(count, MOST_TAGS))]
    except struct.error:
        return {}
    return {name: profile[start : start + length] for name, start, length in entries}


def _profile(header: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Build a profile from tags, with a constant creation time, so that the same request gives the same bytes."""
    table, content = struct.pack(">I", len(tags)), b""
    begin = HEADER + len(table) + ENTRY * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, begin + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    size = struct.pack(">I", begin + len(content))
    return size + header[4:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + header[36:] + table + content
