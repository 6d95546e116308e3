"""Find what lies before a face: hands, cups, microphones, masks, hair, brims, whatever it is.

    face --aligned, network--> share of objects, coarse --pieces that are large and sure--> objects
         --colors beside the border, at the picture's scale--> objects with exact edges

A small network says where the objects are; it knows how faces look, so shadows, beards and make-up are none. Its canvas
is too small for exact edges. So each pixel near the border is compared with the colors of the object and of the face
next to it, and goes to the nearer; where both have the same color, as with a hand, the network's border stands.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face import masks
from functions.generate.face.crop import FaceCrop
from functions.generate.face.gaussian import blur
from functions.generate.face.landmarks import EYES, LIPS, NOSE_BASE, NOSE_BRIDGE, with_forehead
from functions.generate.face.light import Lab, to_lab
from functions.generate.face.strips import repeat
from functions.generate.face.working_size import Part, WorkingSize, rescale, shift
from functions.generate.occlusion import aligned_face
from functions.generate.occlusion.network import OccluderNetwork
from shared.faces.antialiased_warp import warp_antialiased
from shared.imaging.array_types import Image, Mask, Points

VIEW = 0.8  # face widths around a face that the network's canvas shows at most
VIEW_WIDTH = 160  # pixels across a face to which a larger one is reduced before it is drawn on that canvas
# the network is unsure inside of large objects rather than on bare skin: its share to this power brings 0.37 to a half
LEANING = 0.7
SURE, POSSIBLE = 0.85, 0.5  # share from which a pixel starts an object, and down to which the object goes on
SMALLEST = 0.004  # of the face's area; smaller pieces are spots, moles and lashes
INSIDE = 0.02  # face widths inside the outline, from where a piece lies before the face, and not beside it
BEFORE = 0.35  # of a piece that must lie there; the background and the hair that touch the outline do less
BARE, SEEN_THROUGH = 0.2, 0.6  # share up to which a pixel is rather the face's; part of a hole that must be for it
REACHING = 0.06  # the same for what only reaches in
FOLLOWED = 0.3  # face widths beyond the outline that such an object is followed: the person is drawn a little beyond it
HOLE = 0.5  # of a piece's area up to which a hole in it belongs to it
BESIDE = 0.10  # face widths beyond the outline that are searched, because the outline is not exact
WORKING_WIDTH = 320  # pixels across the face at which the edges are found
# face widths on both sides of the border in which the edge is looked for: two of the network's pixels; and sigma in
# face widths of the surroundings whose colors are compared
BAND, LOCAL = 0.035, 0.05
# the same for an object whose color no skin or hair has: there the network's border is often five of its pixels off
WIDE_BAND, WIDE_LOCAL = 0.08, 0.1
COLORED = 15.0  # distance in a and b from all between gray and the face beside it that such an object has
REDDEST = 1.5  # of the chroma of the face beside it, which other skin may have
AROUND = 0.3  # face widths around an object in which that face is looked at
SKIN = 30.0  # LAB; distance from the face's color that its lit and shaded skin has at most
TRACE = 0.02  # share up to which a pixel is surely the face's
NOISE = 4.0  # LAB; colors this near to each other cannot be told apart
ROUNDS = 2  # of comparing; the second one knows the colors better
STEEPNESS = 2.0  # of the share across an edge: a doubtful quarter on the face's side is the face's
# of the share, from where a pixel is the object's, and face widths by which it is made narrower: what is left of the
# old face beside an object is seen as a hairline, but what little the object's edge takes of the new face is not
TIGHT, SHY = 0.6, 0.004
SPUR = 0.008  # face widths; what is thinner is no object that the network can see
NICK = 0.002  # squared face widths; smaller holes are the object's
EDGE = 0.7  # sigma in pixels of the picture of an object's edge


@dataclass(frozen=True, eq=False)
class Occluder:
    """What lies before one face of a picture.

    Attributes:
        share: how much of each pixel it covers, 0 to 1, (h, w), in a part of the picture.
        rows, columns: that part.
        hidden: the share of eyes, nose and mouth that it hides, 0 to 1; see `measure_hidden`.
        covered: the share of the face that it covers, 0 to 1.
    """

    share: Mask
    rows: slice
    columns: slice
    hidden: float
    covered: float

    def cut(self, rows: slice, columns: slice) -> Mask:
        """Return the mask of another part of the picture, (height, width)."""
        whole = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
        top, bottom = max(rows.start, self.rows.start), min(rows.stop, self.rows.stop)
        left, right = max(columns.start, self.columns.start), min(columns.stop, self.columns.stop)
        if top < bottom and left < right:
            whole[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = self.share[
                top - self.rows.start : bottom - self.rows.start,
                left - self.columns.start : right - self.columns.start,
            ]
        return whole


def find_occluder(
    image: Image, landmarks: Points, network: OccluderNetwork, reaching_in: bool = False
) -> Occluder | None:
    """Find what lies before a face; return None if nothing does.

    Args:
        image: RGB, uint8, (H, W, 3).
        landmarks: the face's landmarks, (68, 2), in pixels of the image.
        network: the occluder network.
        reaching_in: find also what lies beside the face and only reaches into its outline, such as the hair of a
            neighbor. In a template that stays as it is by itself; from a person's photo it must not be taken.
    """
    crop = FaceCrop.of(image, landmarks)
    if crop.empty:
        return None
    view = FaceCrop.of(image, landmarks, VIEW).scaled(VIEW_WIDTH)
    rough = find_objects(view.image, view.points, network, reaching_in)
    if not rough.any():
        return None
    share, part = _find_edges(crop, rough, reaching_in)
    whole = np.zeros(crop.size, np.float32)
    whole[part] = share
    seen, points = crop.working.reduce(whole), crop.working.place(crop.points)
    face = masks.face(points, crop.working.small)
    covered = float((seen * face).sum() / max(float(face.sum()), 1.0))
    rows, columns = shift(part, crop.rows.start, crop.columns.start)
    return Occluder(share, rows, columns, measure_hidden(points, seen), covered)


def find_objects(image: Image, points: Points, network: OccluderNetwork, reaching_in: bool = False) -> Mask:
    """Return the share of objects in each pixel of the canvas, (SIDE, SIDE).

    Too small objects are left out, and those that lie beside the face rather than before it; what is `reaching_in` is
    wanted all the same, and then followed farther beyond the outline.
    """
    matrix = aligned_face.align(points)
    canvas = warp_antialiased(image, matrix, aligned_face.SIDE)
    placed = aligned_face.transform(points, matrix)
    size = aligned_face.SIDE, aligned_face.SIDE
    outline, before = [with_forehead(placed)], REACHING if reaching_in else BEFORE
    everywhere = np.power(network(aligned_face.planes(canvas, placed)), LEANING)
    share = everywhere * masks.soft(outline, placed, size, BESIDE, 0.01)
    inside = masks.soft(outline, placed, size, -INSIDE, 0.0) > 0.5
    bare = _show_face(canvas, share, inside)
    _, pieces = cv2.connectedComponents((share > POSSIBLE).astype(np.uint8), connectivity=8)
    kept = np.zeros(size, np.uint8)
    for number in range(1, int(pieces.max()) + 1):
        piece = pieces == number
        within = int((piece & inside).sum())
        large = within >= max(SMALLEST * float(inside.sum()), before * float(piece.sum()))
        if large and share[piece].max() >= SURE:
            kept |= fill_holes(piece, bare)
    if reaching_in and kept.any():
        share = everywhere * masks.soft(outline, placed, size, FOLLOWED, 0.01)
        _, pieces = cv2.connectedComponents((share > POSSIBLE).astype(np.uint8), connectivity=8)
        kept |= np.isin(pieces, np.unique(pieces[(kept > 0) & (pieces > 0)])).astype(np.uint8)
    near = cv2.dilate(kept, np.ones((5, 5), np.uint8))
    holes = (kept > 0) & (share <= POSSIBLE)
    objects: Mask = np.where(holes, np.float32(SURE), share * near).astype(np.float32)
    return objects


def _show_face(canvas: Image, share: Mask, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return where the canvas, (SIDE, SIDE), shows what surely is the face, by the network and by its skin's color."""
    seen = inside & (share < TRACE)
    if not seen.any():
        return seen
    lab = to_lab(canvas)
    like = np.linalg.norm(lab - np.median(lab[seen], axis=0), axis=2) < SKIN
    shown: NDArray[np.bool_] = like & (share < BARE)
    return shown


def fill_holes(piece: NDArray[np.bool_], bare: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the piece, (H, W), without its smaller holes, such as the inside of a cup.

    A hole that is mostly `bare`, (H, W), stays: through the handle of a cup the face is seen.
    """
    filled = piece.astype(np.uint8)
    _, gaps, stats, _ = cv2.connectedComponentsWithStats(1 - filled, connectivity=4)
    height, width = piece.shape
    for number, (left, top, across, down, area) in enumerate(stats):
        enclosed = left > 0 and top > 0 and left + across < width and top + down < height
        small = number > 0 and enclosed and area <= HOLE * float(piece.sum())
        if small and bare[gaps == number].mean() < SEEN_THROUGH:
            filled[gaps == number] = 1
    return filled


def measure_hidden(landmarks: Points, occluder: Mask) -> float:
    """Return which share of eyes, nose and mouth is hidden, 0 to 1; each of the three counts a third.

    Args:
        landmarks: (68, 2), in pixels of the mask.
        occluder: how much of each pixel is covered, (h, w).
    """
    size = occluder.shape[0], occluder.shape[1]
    nose = np.vstack([landmarks[NOSE_BRIDGE], landmarks[NOSE_BASE]])
    shares = []
    for groups in ([landmarks[eye] for eye in EYES], [nose], [landmarks[LIPS]]):
        where = masks.soft(groups, landmarks, size, 0.01, 0.0) > 0.5
        shares.append(float((occluder[where] > 0.5).mean()) if where.any() else 0.0)
    return float(np.mean(shares))


def _find_edges(crop: FaceCrop, rough: Mask, reaching_in: bool) -> tuple[Mask, Part]:
    """Return the objects' share of each pixel, with exact edges, in the part of the crop that they lie in.

    The neck is dropped, unless what is `reaching_in` is wanted: a neighbor's hair may be as brown as the neck.
    """
    factor = min(1.0, WORKING_WIDTH / crop.width)
    height, width = (max(1, round(side * factor)) for side in crop.size)
    small = to_lab(cv2.resize(crop.image, (width, height), interpolation=cv2.INTER_AREA))
    across = crop.width * factor
    onto = aligned_face.align(rescale(crop.points, crop.size, (height, width)))
    share = cv2.warpAffine(rough, onto, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    share = np.clip(share, 0, 1)
    if not reaching_in:
        share = _drop_neck(share, small, rescale(crop.points, crop.size, (height, width)))
    fine = smooth_outline(compare_colors(small, share, across), share, across)
    part = WorkingSize(crop.size, (height, width)).cover(masks.bounds(fine, 2.0))
    enlarged = cv2.resize(fine, crop.size[::-1], interpolation=cv2.INTER_CUBIC)[part]
    if not enlarged.size:
        return enlarged, part
    sharp = np.clip((enlarged - TIGHT) * max(STEEPNESS, 0.7 / factor) + 0.5, 0, 1)
    soft: Mask = cv2.GaussianBlur(sharp, (0, 0), EDGE)
    soft[soft < masks.LEAST] = 0
    soft[soft > 1 - masks.LEAST] = 1
    return soft, part


def _drop_neck(share: Mask, lab: Lab, points: Points) -> Mask:
    """Return the share, (H, W), without what the network is not sure of beyond the outline, if it looks like skin.

    Beside a microphone's handle that is the neck: kept, it would be a piece of the old chin under the new one.
    """
    size = share.shape[0], share.shape[1]
    inside = masks.face(points, size, 0.0, 0.0) > 0.5
    seen = inside & (share <= TRACE)
    if not seen.any():
        return share
    like = np.linalg.norm(lab - np.median(lab[seen], axis=0), axis=2) < SKIN
    return np.where(~inside & like & (share < SURE), 0, share).astype(np.float32)


def smooth_outline(fine: Mask, share: Mask, width: float) -> Mask:
    """Return the objects, (H, W), without spurs, without holes and without pieces of which the network is not sure.

    A corner of the mouth beside a cup is as dark as its edge: kept, it would be a piece of the old mouth.

    Args:
        fine: the objects after comparing colors, 0 to 1, (H, W).
        share: the network's share of objects, (H, W).
        width: the face's width in pixels.
    """
    side = 2 * max(1, round(SPUR * width)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    found = (fine > 0.5).astype(np.uint8)
    body = cv2.morphologyEx(found, cv2.MORPH_OPEN, disc)
    _, pieces = cv2.connectedComponents(body, connectivity=8)
    sure = np.unique(pieces[(share > SURE) & (body > 0)])
    body = cv2.morphologyEx(np.isin(pieces, sure[sure > 0]).astype(np.uint8), cv2.MORPH_CLOSE, disc)
    _, gaps, stats, _ = cv2.connectedComponentsWithStats(1 - body, connectivity=4)
    body[np.isin(gaps, np.flatnonzero(stats[:, cv2.CC_STAT_AREA] < NICK * width**2))] = 1
    reach = round(SHY * width)
    body = cv2.erode(body, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    # the soft edge of what is kept stays as it is
    kept: Mask = np.maximum(fine * cv2.dilate(body, cross), cv2.erode(body, cross)).astype(np.float32)
    return kept


def compare_colors(lab: Lab, share: Mask, width: float) -> Mask:
    """Return the share of each pixel, (H, W), after comparing its color with those of object and face beside it.

    Args:
        lab: the face, (H, W, 3).
        share: the network's share of objects, 0 to 1, (H, W).
        width: the face's width in pixels.
    """
    return _compare_beside(lab, _cut_off_skin(lab, share, width), BAND * width, LOCAL * width)


def _cut_off_skin(lab: Lab, share: Mask, width: float) -> Mask:
    """Return the share, (H, W), without the skin that the network took for a part of a colored object beside it.

    An object is colored if its color is far from all between gray and that of the face around it: all skin and hair
    lies between, or is a little redder. The share of other objects is returned as it is.
    """
    sure = share > SURE
    side = 2 * round(AROUND * width) + 1
    beside = (cv2.dilate(sure.astype(np.uint8), np.ones((side, side), np.uint8)) > 0) & (share <= TRACE)
    if not sure.any() or not beside.any():
        return share
    own, face = (np.median(lab[where], axis=0) for where in (sure, beside))
    along = float(np.clip(own[1:] @ face[1:] / max(float(face[1:] @ face[1:]), 1.0), 0, REDDEST))
    if float(np.linalg.norm(own[1:] - along * face[1:])) < COLORED:
        return share
    refined = _compare_beside(lab, share, WIDE_BAND * width, WIDE_LOCAL * width)
    skin = np.linalg.norm(lab - face, axis=2) < SKIN  # the dark inside of a cup is none
    return np.where(skin, np.minimum(refined, share), share)


def _compare_beside(lab: Lab, share: Mask, reach: float, sigma: float) -> Mask:
    """Compare colors up to `reach` pixels from the border with those around, whose distance has the given sigma."""
    side = 2 * max(1, round(reach)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    inside = (share > 0.5).astype(np.uint8)
    band = (cv2.dilate(inside, disc) - cv2.erode(inside, disc)).astype(bool)
    prior = np.clip(share, 0.05, 0.95)
    refined = share.copy()
    for _ in range(ROUNDS):
        own = _unlikeness(lab, np.where(band, refined * 0.2, inside), sigma)
        other = _unlikeness(lab, np.where(band, (1 - refined) * 0.2, 1.0 - inside), sigma)
        odds = np.log(prior / (1 - prior)) + np.clip((other - own) / 2, -6, 6)
        refined = np.where(band, 1 / (1 + np.exp(-odds)), inside).astype(np.float32)
        refined = cv2.medianBlur((refined * 255).astype(np.uint8), 3).astype(np.float32) / 255
    return refined


def _unlikeness(lab: Lab, weight: NDArray[np.floating], sigma: float) -> Mask:
    """Return how far each pixel's color is from the colors with a weight around it, (H, W).

    Twice the negative logarithm of a normal density whose mean and variance are those of the surroundings.
    """
    weight = weight.astype(np.float32) + np.float32(1e-6)
    total, weights = repeat(blur(weight, sigma)), repeat(weight)
    mean = blur(lab * weights, sigma) / total
    variance = blur(np.square(lab) * weights, sigma) / total - np.square(mean)
    variance = np.maximum(variance, 0) + np.float32(NOISE**2)
    unlike: Mask = cv2.transform(np.square(lab - mean) / variance + cv2.log(variance), np.ones((1, 3)))
    return unlike
