"""Segment the people of a picture, so that the background can be repainted around them.

Without a network this is done by GrabCut (Rother, Kolmogorov, Blake 2004). Each face says where a head, a neck and a
torso must be, and how far hair and arms may reach. The guided filter then refines the border along the picture's edges.
Doubtful pixels near a person count as the person's. People whose faces are not detected count as background.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face import masks
from functions.generate.face.guided_filter import guided_filter
from functions.generate.face.landmarks import face_width, with_forehead
from functions.generate.networks.person_network import PersonNetwork
from shared.faces import Face
from shared.imaging.array_types import Image, Mask, Points

SIDE = 384  # longer side for GrabCut, which takes half a second there and gets no better with more pixels
REFINING_SIDE = 1024  # longer side for the guided filter
ROUNDS = 4  # of GrabCut; more change hardly a pixel
RADIUS, TOLERANCE = 0.008, 0.05  # of the guided filter: in longer sides, and in lightness from 0 to 1
FULL = 0.5  # share of a person from which a pixel counts as entirely theirs
FACE_MARGIN = 0.03  # face widths around the face's outline that always count as the person
MARGIN = 0.004  # longer sides around the people that also count as theirs

Labels = NDArray[np.uint8]
"""GrabCut's labels, (H, W)."""


@dataclass(frozen=True)
class Reach:
    """The area that a person covers around the face, in face widths.

    Attributes:
        head: half axes of the head's ellipse, across and along the face.
        lift: how far the ellipse's center lies above the center of the landmarks.
        shoulders, neck: half widths of the torso, at its full width and at the chin.
        slope: distance from the chin down to the full width.
    """

    head: tuple[float, float]
    lift: float
    shoulders: float
    neck: float
    slope: float


SURE = Reach((0.42, 0.52), 0.0, 0.6, 0.22, 1.2)
LIKELY = Reach((0.75, 0.95), 0.15, 1.7, 0.5, 1.0)
POSSIBLE = Reach((1.3, 1.5), 0.2, 3.0, 1.3, 0.8)


def segment_people(image: Image, faces: Sequence[Face], network: PersonNetwork | None = None) -> Mask:
    """Return the share of each pixel that belongs to a person.

    Args:
        image: RGB, uint8, (H, W, 3).
        faces: all faces of the picture.
        network: used instead of GrabCut if not None.

    Returns:
        Mask, (h, w), with the picture's aspect ratio and a longer side of at most REFINING_SIDE; exactly 1 well inside
        people. `crop_mask` enlarges it.
    """
    small, factors = _reduce(image, SIDE)
    cut = (
        _segment_by_grabcut(small, [face.landmarks * factors for face in faces]) if network is None else network(small)
    )
    larger, factors = _reduce(image, REFINING_SIDE)
    rough: Mask = cv2.resize(cut, larger.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    guide = cv2.cvtColor(larger, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    fine = guided_filter(rough, guide, RADIUS * max(guide.shape), TOLERANCE)
    return keep_people(fine, [face.landmarks * factors for face in faces])


def keep_people(share: Mask, landmarks: Sequence[Points]) -> Mask:
    """Extend the people's share of each pixel, (h, w): 1 from FULL up, with a margin, and with all faces included."""
    reach = 2 * max(1, round(MARGIN * max(share.shape))) + 1
    wide = cv2.dilate(share, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    labels = np.zeros(share.shape, np.uint8)
    full: Mask = np.clip(wide / FULL, 0, 1)
    for points in landmarks:
        _fill(labels, points, SURE, 1)
        full = np.maximum(full, masks.face(points, (share.shape[0], share.shape[1]), -FACE_MARGIN, 0))
    return np.maximum(full, labels.astype(np.float32))


def crop_mask(share: Mask, shape: tuple[int, ...], rows: slice, columns: slice) -> Mask:
    """Return a part of the mask, enlarged to the size of the picture; the whole mask is never enlarged at once.

    Args:
        share: mask of the picture at a smaller size, (h, w).
        shape: the picture's shape, (H, W, 3).
        rows, columns: the part of the picture.
    """
    x, y = share.shape[1] / shape[1], share.shape[0] / shape[0]
    matrix = np.array([[x, 0, (columns.start + 0.5) * x - 0.5], [0, y, (rows.start + 0.5) * y - 0.5]])
    size = (columns.stop - columns.start, rows.stop - rows.start)
    part: Mask = cv2.warpAffine(
        share, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    return np.clip(part, 0, 1)


def _segment_by_grabcut(image: Image, landmarks: Sequence[Points]) -> Mask:
    """Segment by GrabCut: return 1 on people and 0 elsewhere, at the size of `image`."""
    labels: Labels = np.full(image.shape[:2], cv2.GC_BGD, np.uint8)
    for reach, label in ((POSSIBLE, cv2.GC_PR_BGD), (LIKELY, cv2.GC_PR_FGD), (SURE, cv2.GC_FGD)):
        for points in landmarks:
            _fill(labels, points, reach, label)
    if not np.any((labels == cv2.GC_BGD) | (labels == cv2.GC_PR_BGD)):
        return np.ones(image.shape[:2], np.float32)  # a face that fills the picture leaves no background
    cv2.setRNGSeed(0)  # GrabCut initializes its clusters at random
    bgr, no_rectangle = np.ascontiguousarray(image[..., ::-1]), (0, 0, 1, 1)
    own, background = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(bgr, labels, no_rectangle, background, own, ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    found = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return _keep_attached(found, landmarks)


def _keep_attached(found: Labels, landmarks: Sequence[Points]) -> Mask:
    """Remove the pieces that are not connected to a face, and fill the holes."""
    labels = np.zeros(found.shape, np.uint8)
    for points in landmarks:
        _fill(labels, points, SURE, 1)
    _, pieces = cv2.connectedComponents(found, connectivity=8)
    own = np.isin(pieces, np.unique(pieces[(labels > 0) & (found > 0)]))
    outlines, _ = cv2.findContours(own.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(found.shape, np.uint8)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED)
    return filled.astype(np.float32)


def _fill(labels: Labels, points: Points, reach: Reach, label: int) -> None:
    """Write `label` into the area of a person with this face: the head's ellipse, and the body down to the border."""
    width = face_width(points)
    middle = with_forehead(points).mean(axis=0)
    up = points[27] - points[8]
    up = up / np.linalg.norm(up)
    center = middle + up * reach.lift * width
    angle = float(np.degrees(np.arctan2(up[0], -up[1])))
    axes = (max(1, round(reach.head[0] * width)), max(1, round(reach.head[1] * width)))
    cv2.ellipse(labels, (round(center[0]), round(center[1])), axes, angle, 0, 360, label, cv2.FILLED)
    x, chin, bottom = middle[0], points[8][1], labels.shape[0] + width
    full = chin + reach.slope * width
    sides = ((reach.neck, chin - 0.3 * width), (reach.shoulders, full), (reach.shoulders, max(bottom, full)))
    corners = [(x + side * width, y) for side, y in sides] + [(x - side * width, y) for side, y in reversed(sides)]
    cv2.fillConvexPoly(labels, np.round(corners).astype(np.int32), label)


def _reduce(image: Image, side: int) -> tuple[Image, NDArray[np.float64]]:
    """Reduce the picture to a longer side of at most `side`; return it with the scale factors of x and y."""
    factor = min(1.0, side / max(image.shape[:2]))
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    small: Image = image if factor == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return small, np.array([size[0] / image.shape[1], size[1] / image.shape[0]])
