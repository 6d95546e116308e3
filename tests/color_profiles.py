"""Color profiles as cameras and editors embed them, made from their published primaries; no package ships any."""

import struct
from io import BytesIO

import numpy as np
from PIL import Image as Pillow
from PIL import ImageCms

from shared.imaging.array_types import Image

# red, green and blue in XYZ under D50, and gamma
SPACES = {
    "Adobe RGB": (((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)), 2.2),
    "Display P3": (((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)), 2.2),
    "ProPhoto": (((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491)), 1.8),
    "linear": (((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141)), 1.0),
}
D50 = (0.9642, 1.0, 0.8249)


def rgb(name: str) -> bytes:
    """The profile of one of SPACES."""
    primaries, gamma = SPACES[name]
    tags = {b"wtpt": _xyz(D50)}
    for color, primary in zip(b"rgb", primaries, strict=True):
        tags |= {bytes([color]) + b"XYZ": _xyz(primary), bytes([color]) + b"TRC": _gamma(gamma)}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def gray(gamma: float) -> bytes:
    """A profile of gray."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _xyz(D50), b"kTRC": _gamma(gamma)})


def cmyk() -> bytes:
    """A profile of inks in which black is all that darkens: any color is white but for its black."""
    ramp = bytes(range(256))
    levels = b"".join(bytes([255 - 255 * (corner & 1), 128, 128]) for corner in range(16))  # Lab; black varies fastest
    identity = struct.pack(">9i", *(65536 * one for one in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + 4 * ramp + levels + 3 * ramp
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"wtpt": _xyz(D50), b"A2B0": table})


def in_space(image: Image, profile: bytes) -> Image:
    """The sRGB picture in the numbers of that profile."""
    return _between(image, _srgb(), _opened(profile))


def in_srgb(image: Image, profile: bytes) -> Image:
    """The reverse."""
    return _between(image, _opened(profile), _srgb())


def _between(image: Image, source: ImageCms.ImageCmsProfile, target: ImageCms.ImageCmsProfile) -> Image:
    picture = Pillow.fromarray(image)
    converted = ImageCms.profileToProfile(picture, source, target, ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB")
    assert converted is not None
    return np.array(converted)


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _opened(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(BytesIO(profile))


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * value) for value in values))


def _gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(256 * value))


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, content = struct.pack(">I", len(tags)), b""
    begin = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, begin + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    header = struct.pack(">I4sI", begin + len(content), b"\0\0\0\0", 0x02400000) + kind + space + connection
    header += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz(D50)[8:]
    return header + bytes(128 - len(header)) + table + content
