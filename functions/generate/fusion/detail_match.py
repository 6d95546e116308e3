"""Match the template's sharpness: blur the drawn face if the template is out of focus, or raise its detail."""

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face import light, masks
from functions.generate.face.crop import FaceCrop
from functions.generate.face.gaussian import blur
from functions.generate.face.light import Lightness
from shared.imaging.array_types import Image, Mask, Points

PROBE = 1.0  # sigma in pixels of the working width, by which edges are blurred again to measure their blur
CLEAREST = 0.9  # quantile of the face's gradients; stronger ones are edges
FAINTEST = 0.05  # lightness per pixel; weaker gradients are not edges
LEAST_BLUR = 0.4  # pixels; a narrower Gaussian changes nothing
# target variance of the Laplacian (Pech-Pacheco et al. 2000), in the template's: retouching takes up to a fifth
WANTED = 1.1
ENOUGH = 1.0  # the same, for raising the grain of a photo that has too little detail
RAISED = 0.006  # sigma in face widths of the detail that is raised: lashes, pores and the edges of the lips
NARROWEST = 0.8  # pixels; a narrower Gaussian hardly blurs
WORKING_WIDTH = 200  # pixels across the face at which focus is measured; finer detail says nothing about focus
SHARP = 1.25  # sigma in pixels of that width, or of a smaller face's own, up to which a photo is sharp: 22 have less
RAISED_SKIN = 0.2  # of what eyes, brows, nose and mouth are raised by: with all, a small photo's skin looks embossed
# how far a raised pixel may leave its neighborhood's range, in ranges, and the neighborhood's radius in face widths
OVERSHOOT, NEIGHBORHOOD = 0.15, 0.012
MOST_RAISED = 2.5  # a larger factor makes halos and etched teeth


def defocus(lightness: Lightness, where: Mask, template: Lightness, where_template: Mask, width: float) -> Lightness:
    """Blur the drawn face's lightness if the template's face is less sharp; else return it unchanged.

    Args:
        lightness, where: the drawn face's lightness and mask, (H, W).
        template, where_template: the same of the template's face, of any size.
        width: the face's width in pixels.
    """
    own, wanted = measure_blur(lightness, where, width), measure_blur(template, where_template, width)
    return soften(lightness, width * missing_blur(own, wanted))


def missing_blur(own: float, wanted: float) -> float:
    """Return the sigma by which a face that is blurred by one sigma must be blurred to have another one; 0 for none."""
    return float(np.sqrt(max(wanted**2 - own**2, 0.0)))


def soften(lightness: Lightness, sigma: float) -> Lightness:
    """Blur the lightness by a sigma in pixels; return it unchanged if that is hardly a blur."""
    return blur(lightness, sigma) if sigma > LEAST_BLUR else lightness


def measure_blur(lightness: Lightness, where: Mask, width: float) -> float:
    """Measure the blur of the clearest edges: their median sigma in face widths, at least about a pixel.

    Returns 0 if there are no edges.

    Zhuo & Sim, "Defocus map estimation from a single image" (2011): blurring an edge again by sigma p reduces its
    gradient by the factor sqrt(1 + (p / sigma)^2), whatever its contrast. So smiles and beards make no difference.
    """
    factor = WORKING_WIDTH / width
    if factor < 1:
        size = max(1, round(lightness.shape[1] * factor)), max(1, round(lightness.shape[0] * factor))
        lightness, where = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (lightness, where))
        width = WORKING_WIDTH
    inside = where > 0.5
    if not inside.any():
        return 0.0
    clear, again = _gradient(lightness)[inside], _gradient(cv2.GaussianBlur(lightness, (0, 0), PROBE))[inside]
    edges = clear >= max(float(np.quantile(clear, CLEAREST)), FAINTEST)
    ratio = clear[edges] / np.maximum(again[edges], FAINTEST)
    ratio = ratio[ratio > 1]
    return float(PROBE / np.sqrt(np.median(ratio) ** 2 - 1) / width) if ratio.size else 0.0


def measure_focus(image: Image, landmarks: Points) -> float:
    """Return the blur of a photo's face, `measure_blur`; landmarks are (68, 2), in pixels of the image."""
    crop = FaceCrop.of(image, landmarks, 0.0).scaled(WORKING_WIDTH)
    if crop.empty:
        return 0.0
    return measure_blur(light.to_lightness(crop.image), masks.face(crop.points, crop.size), crop.width)


def match_sharpness(
    lightness: Lightness,
    smooth: Lightness,
    where: NDArray[np.bool_],
    free: Mask,
    target: float,
    width: float,
) -> Lightness:
    """Raise the detail of a drawn face until it has as much as the template's.

    The detail of the lightness without grain is raised first, because raised noise looks like sand. If a small photo
    has too little detail to raise, the grain is raised too.

    Args:
        lightness: of the drawn face with its grain, (H, W).
        smooth: the same without grain.
        where: the pixels of the face, (H, W), in which detail is measured.
        free: mask, (H, W), in which detail may be raised.
        target: the template's `light.measure_sharpness`.
        width: the face's width in pixels.
    """
    radius = max(RAISED * width, NARROWEST)
    raised = _raise_detail(lightness, free * (smooth - blur(smooth, radius)), where, WANTED * target)
    raised = _raise_detail(raised, free * (raised - blur(raised, radius)), where, ENOUGH * target)
    if raised is lightness:
        return lightness
    return light.limit_overshoot(raised, lightness, OVERSHOOT, NEIGHBORHOOD * width)


def _raise_detail(lightness: Lightness, detail: Lightness, where: NDArray[np.bool_], target: float) -> Lightness:
    """Add as much of `detail` as brings the variance of the Laplacian to the target, within MOST_RAISED.

    The Laplacian of a sum is the sum of the Laplacians, so the factor solves a quadratic equation.
    """
    counted = where.view(np.uint8)
    edges = cv2.Laplacian(lightness, cv2.CV_32F)
    middle, spread = light.measure_spread(edges, counted)
    if spread**2 >= target:
        return lightness
    added = cv2.Laplacian(detail, cv2.CV_32F)
    middle_added, spread_added = light.measure_spread(added, counted)
    if spread_added == 0:
        return lightness
    edges *= added
    a, b, c = spread_added**2, cv2.mean(edges, counted)[0] - middle * middle_added, spread**2 - target
    factor = (np.sqrt(max(b * b - a * c, 0.0)) - b) / a
    raised: Lightness = cv2.scaleAdd(detail, float(np.clip(factor, 0, MOST_RAISED - 1)), lightness)
    return raised


def _gradient(lightness: Lightness) -> Lightness:
    across, down = (cv2.Sobel(lightness, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    gradient: Lightness = cv2.magnitude(across, down)
    return gradient
