"""As sharp as the template: a photo is taken out of focus with a blurred one, and detail is raised for a crisp one."""

import cv2
import numpy as np

from functions.generate.light import Lightness
from shared.images import Mask

FINE, COARSE = 0.010, 0.05  # sigmas in face widths that bound fine detail, and the forms that it is compared with
BLURS = (0.0, 0.003, 0.005, 0.008, 0.012, 0.018)  # sigmas in face widths that are tried in turn
IN_FOCUS = 2.0  # times the template's fine detail per form; smiles and beards alone make up to that
WANTED = 1.05  # of the template's variance of the Laplacian (Pech-Pacheco et al. 2000); retouching takes a tenth
RAISED = 0.006  # sigma in face widths of the detail that is raised: lashes, pores and the rims of lips
NARROWEST = 0.8  # pixels; a narrower Gaussian is no blur
WORKING_WIDTH = 400  # pixels across the face where focus is judged; what a larger one has beyond is no matter of it
MOST_RAISED = 3.0  # a larger factor shows as halos; under a thick frame, whose rims count, a soft photo needs 2.9


def defocused(lightness: Lightness, where: Mask, template: Lightness, where_template: Mask, width: float) -> Lightness:
    """The lightness, blurred where the template's face is out of focus; unchanged where that is as sharp.

    Args:
        lightness, where: of the drawn face, and its outline, (H, W).
        template, where_template: the template's own, of any size.
        width: of the face in pixels.
    """
    wanted = IN_FOCUS * _fineness(template, where_template, width)
    blurred = lightness
    for sigma in BLURS:
        blurred = cv2.GaussianBlur(lightness, (0, 0), sigma * width) if sigma else lightness
        if _fineness(blurred, where, width) <= wanted:
            break
    return blurred


def sharpened(
    lightness: Lightness, where: Mask, free: Mask, template: Lightness, where_template: Mask, width: float
) -> Lightness:
    """The lightness with its detail raised, where `free`, until the face has as much as the template's.

    The factor solves a quadratic: the Laplacian of a sum is the sum of the Laplacians. It is between 1 and MOST_RAISED.
    """
    target = WANTED * _edges(template, where_template).var()
    detail = free * (lightness - cv2.GaussianBlur(lightness, (0, 0), max(RAISED * width, NARROWEST)))
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


def _fineness(lightness: Lightness, where: Mask, width: float) -> float:
    """Fine detail over the forms that carry it, as ratio of standard deviations; 0 where there is no face."""
    factor = WORKING_WIDTH / width
    if factor < 1:
        size = max(1, round(lightness.shape[1] * factor)), max(1, round(lightness.shape[0] * factor))
        lightness, where = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (lightness, where))
        width = WORKING_WIDTH
    inside = where > 0.5
    fine = cv2.GaussianBlur(lightness, (0, 0), max(FINE * width, NARROWEST))
    coarse = cv2.GaussianBlur(lightness, (0, 0), max(COARSE * width, 2 * NARROWEST))
    forms = (fine - coarse)[inside]
    if forms.size == 0 or forms.std() == 0:
        return 0.0
    return float((lightness - fine)[inside].std() / forms.std())
