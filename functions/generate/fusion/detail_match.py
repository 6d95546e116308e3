"""As sharp as the template: a photo is taken out of focus with a blurred one, and detail is raised for a crisp one."""

import cv2
import numpy as np

from functions.generate.face.light import Lightness
from shared.imaging.array_types import Mask

PROBE = 1.0  # pixels of the working width, sigma by which edges are blurred anew
CLEAREST = 0.9  # quantile of the face's gradients from where one counts as an edge
FAINTEST = 0.05  # lightness per pixel; weaker gradients are none
LEAST_BLUR = 0.4  # pixels; a narrower Gaussian changes nothing
WANTED = 1.1  # of the template's variance of the Laplacian (Pech-Pacheco et al. 2000); retouching takes up to a fifth
ENOUGH = 1.0  # of it, up to which grain is raised where a photo has too little detail
RAISED = 0.006  # sigma in face widths of the detail that is raised: lashes, pores and the rims of lips
NARROWEST = 0.8  # pixels; a narrower Gaussian is no blur
WORKING_WIDTH = 200  # pixels across the face where focus is judged; what a larger one has beyond is no matter of it
MOST_RAISED = 3.0  # a larger factor shows as halos; under a thick frame, whose rims count, a soft photo needs 2.9


def defocus(lightness: Lightness, where: Mask, template: Lightness, where_template: Mask, width: float) -> Lightness:
    """The lightness, blurred where the template's face is out of focus; unchanged where that is as sharp.

    Args:
        lightness, where: of the drawn face, and its outline, (H, W).
        template, where_template: the template's own, of any size.
        width: of the face in pixels.
    """
    own, wanted = measure_blur(lightness, where, width), measure_blur(template, where_template, width)
    sigma = width * float(np.sqrt(max(wanted**2 - own**2, 0.0)))
    return cv2.GaussianBlur(lightness, (0, 0), sigma) if sigma > LEAST_BLUR else lightness


def measure_blur(lightness: Lightness, where: Mask, width: float) -> float:
    """How blurred the clearest edges are: their median sigma in face widths, at least about a pixel; 0 without edges.

    Zhuo & Sim, "Defocus map estimation from a single image" (2011): blurring an edge anew by sigma p takes its gradient
    down by the factor sqrt(1 + (p / sigma)^2), whatever its contrast. So neither smiles nor beards count.
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


def match_sharpness(
    lightness: Lightness,
    smooth: Lightness,
    where: Mask,
    free: Mask,
    template: Lightness,
    where_template: Mask,
    width: float,
) -> Lightness:
    """The lightness with detail raised, where `free`, until the face has as much as the template's.

    `smooth` is the lightness without grain, whose detail is raised first: raised noise would look like sand. Where that
    is not enough, since a small photo has no detail to raise, grain has to make up for it.
    """
    target = _edges(template, where_template).var()
    radius = max(RAISED * width, NARROWEST)
    raised = _raised(lightness, free * (smooth - cv2.GaussianBlur(smooth, (0, 0), radius)), where, WANTED * target)
    return _raised(raised, free * (raised - cv2.GaussianBlur(raised, (0, 0), radius)), where, ENOUGH * target)


def _raised(lightness: Lightness, detail: Lightness, where: Mask, target: float) -> Lightness:
    """With so much of the detail added that the variance of the Laplacian is the target, within MOST_RAISED.

    It solves a quadratic: the Laplacian of a sum is the sum of the Laplacians.
    """
    own, added = _edges(lightness, where), _edges(detail, where)
    if own.var() >= target or added.size == 0 or added.var() == 0:
        return lightness
    mixed = float(((own - own.mean()) * (added - added.mean())).mean())
    a, b, c = float(added.var()), mixed, float(own.var() - target)
    factor = (np.sqrt(max(b * b - a * c, 0.0)) - b) / a
    raised: Lightness = lightness + np.float32(np.clip(factor, 0, MOST_RAISED - 1)) * detail
    return raised


def _edges(lightness: Lightness, where: Mask) -> Lightness:
    edges: Lightness = cv2.Laplacian(lightness, cv2.CV_32F)[where > 0.5]
    return edges


def _gradient(lightness: Lightness) -> Lightness:
    across, down = (cv2.Sobel(lightness, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    gradient: Lightness = cv2.magnitude(across, down)
    return gradient
