"""Real pictures that installed packages ship, as arrays and as files."""

from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import skimage.data

from shared.imaging.array_types import Image


def astronaut() -> Image:
    """Eileen Collins, one face, 512 x 512 (NASA, public domain)."""
    return np.ascontiguousarray(skimage.data.astronaut())


def hopper() -> Image:
    """Grace Hopper, one face, 512 x 600 (US Navy, public domain)."""
    path = files("matplotlib") / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def group() -> Image:
    """Six people in a row, from insightface's package."""
    return cv2.cvtColor(cv2.imread(str(group_path())), cv2.COLOR_BGR2RGB)


def group_path() -> Path:
    """insightface is looked up, not imported: its import pulls packages that these tests need not."""
    specification = find_spec("insightface")
    assert specification is not None
    assert specification.submodule_search_locations
    return Path(specification.submodule_search_locations[0]) / "data" / "images" / "t1.jpg"


def coffee() -> Image:
    """A cup, no face."""
    return np.ascontiguousarray(skimage.data.coffee())


def jpeg(image: Image, quality: int = 92) -> bytes:
    """The picture as the bytes of a jpg file."""
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def png(image: Image) -> bytes:
    """The picture as the bytes of a png file."""
    return bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1])


def variations(image: Image, count: int) -> list[Image]:
    """Several photos of one person, made from one: crops, tilts, light and mirror."""
    generator = np.random.default_rng(7)
    height, width = image.shape[:2]
    made = []
    for index in range(count):
        zoom = generator.uniform(1.0, 1.25)
        matrix = cv2.getRotationMatrix2D((width * 0.44, height * 0.25), generator.uniform(-8, 8), zoom)
        turned = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        lit = np.clip(turned.astype(np.float32) * generator.uniform(0.85, 1.15), 0, 255).astype(np.uint8)
        made.append(np.ascontiguousarray(lit[:, ::-1]) if index % 2 else lit)
    return made
