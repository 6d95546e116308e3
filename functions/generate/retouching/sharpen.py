"""Photo fix without a network: raise the face's detail to the strength of the template's.

Diffusion and blending soften a face. Each band of detail of the features, and the finest band of the skin, is amplified
until it is about as strong as in the template, never stronger and by a factor of at most MOST. Detail that is missing
cannot be amplified; that takes a restoration network (`restoration.py`). The skin's coarser bands are unevenness, which
retouching removes. Values are kept near the range of their neighborhood, so that there are no halos.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face import light, masks
from functions.generate.face.color_change import fit_slope
from functions.generate.face.crop import FaceCrop
from functions.generate.face.face_view import FaceView
from functions.generate.face.gaussian import blur
from functions.generate.face.strips import list_strips, repeat
from shared.imaging.array_types import Image, Mask, Points
from shared.imaging.quantization import add_change

BANDS = (0.005, 0.012, 0.03)  # sigmas in face widths that bound the bands: pores, lashes and lines, folds
AROUND = 0.15  # face widths around the face in the crop: the mask ends inside, but the widest band needs the rest
FINEST = 0.6  # pixels; a band between narrower Gaussians is empty
AIM = 0.95  # of the template's strength; not 1, since bands overlap and raising one raises its neighbors a little
MOST = 1.8  # largest factor on a band; beyond it, noise and jpg blocks show
OVERSHOOT = 0.15  # how far a sharpened pixel may leave its neighborhood's range, in ranges
NEIGHBORHOOD = 0.01  # radius in face widths
TEETH = 0.01  # face widths around the mouth's opening that are no features: sharpened teeth look engraved
SEEN = 64  # pixels from which the strength of a band can be measured


def sharpen(image: Image, landmarks: Points, template: FaceView, free: Mask, frames: Mask) -> Image:
    """Give a face as much detail as the template's face has.

    Args:
        image: RGB, uint8, (H, W, 3).
        landmarks: landmarks of the face, (68, 2), in pixels of `image`.
        template: the face whose detail is to be matched.
        free: mask, (H, W), 0 where nothing may change.
        frames: mask, (H, W), of the frames of the glasses of the face in `image`.

    Returns:
        RGB, uint8, (H, W, 3); bit-identical to `image` outside the face, and everywhere if it is sharp enough.
    """
    crop = FaceCrop.of(image, landmarks, AROUND)
    if crop.empty:
        return image.copy()
    clear = crop.cut(free) * (1 - crop.cut(frames))
    lightness = crop.lightness
    raised = _raise_detail(FaceDetail.of(crop), clear, _measure_template(template))
    sharp = light.limit_overshoot(raised, lightness, OVERSHOOT, NEIGHBORHOOD * crop.width)
    where = crop.enlarge(crop.small.face)
    where *= clear
    if not where.any():
        return image.copy()
    part = masks.bounds(where, 0.0)
    sharp -= lightness
    sharp *= where
    slope = fit_slope(crop.small, crop.small.face)
    result = image.copy()
    target = result[crop.rows, crop.columns][part]
    for rows in list_strips(target.shape):
        levels = cv2.transform(target[rows].astype(np.float32), slope)
        levels *= repeat(np.ascontiguousarray(sharp[part][rows]))
        target[rows] = add_change(np.ascontiguousarray(target[rows]), levels)
    return result


@dataclass(frozen=True, eq=False)
class FaceDetail:
    """The detail of a face.

    Attributes:
        lightness: (H, W).
        bands: its bands of detail, (H, W) each, the finest first.
        skin, features: masks, (H, W).
    """

    lightness: light.Lightness
    bands: list[light.Lightness]
    skin: Mask
    features: Mask

    @classmethod
    def of(cls, crop: FaceCrop) -> "FaceDetail":
        """Split a face's lightness into bands."""
        lightness, small = crop.lightness, crop.small
        features = masks.features(small.points, small.size) * (1 - masks.mouth(small.points, small.size, TEETH))
        skin, features = crop.enlarge(small.bare), crop.enlarge(features)
        return cls(lightness, _split_into_bands(lightness, crop.width), skin, features)

    def strengths(self, clear: Mask) -> NDArray[np.float64]:
        """Return the strength of each band on the skin and on the features, (bands, 2); 0 if too little is visible.

        Args:
            clear: mask, (H, W), of the pixels to measure.
        """
        places = [(one * clear > 0.5).view(np.uint8) for one in (self.skin, self.features)]
        return np.array([[_measure_strength(band, place) for place in places] for band in self.bands])


def _measure_template(template: FaceView) -> NDArray[np.float64]:
    crop = FaceCrop.of(template.image, template.landmarks, AROUND)
    clear = 1 - crop.cut(template.frames)
    if template.hair is not None:  # else the skin of a person without a beard gets the roughness of one
        clear = clear * (1 - crop.cut(template.hair))
    return FaceDetail.of(crop).strengths(clear)


def _raise_detail(detail: FaceDetail, clear: Mask, wanted: NDArray[np.float64]) -> light.Lightness:
    own = detail.strengths(clear)
    gains = np.clip(np.divide(AIM * wanted, own, out=np.ones_like(own), where=own > 0), 1, MOST) - 1
    gains[1:, 0] = 0  # only the finest band of the skin
    raised = detail.lightness.copy()
    for band, (skin, feature) in zip(detail.bands, gains.astype(np.float32), strict=True):
        if skin or feature:
            gain = detail.features * (feature - skin)
            gain += skin
            gain *= band
            raised += gain
    return raised


def _split_into_bands(lightness: light.Lightness, width: float) -> list[light.Lightness]:
    """Return the differences between Gaussians of growing sigma, the finest first; 0 for a band finer than pixels."""
    bands, upper = [], lightness
    for share in BANDS:
        lower = blur(lightness, share * width) if share * width > FINEST else upper
        bands.append(upper - lower)
        upper = lower
    return bands


def _measure_strength(band: light.Lightness, where: NDArray[np.uint8]) -> float:
    """Return the root mean square of a band where `where` is not 0; 0 if that is at too few pixels."""
    count = cv2.countNonZero(where)
    return float(cv2.norm(band, cv2.NORM_L2, where) / np.sqrt(count)) if count >= SEEN else 0.0
