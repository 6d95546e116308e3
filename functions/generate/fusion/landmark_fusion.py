"""Face fusion without a network: the person's own photo, bent into the template's face and lit like it.

    landmarks of the template --(share of shape)--> landmarks towards the person's
    template's face  --thin-plate spline-->  moved face       (outline, brows, mouth where the person has them)
    person's photo   --thin-plate spline-->  drawn face       (same landmarks: nothing shows double when blended)
    drawn face       --LAB low frequencies, grain-->  lit face
    moved face, lit face  --soft mask x share of pixels-->  fused face

A degree of 0 is the template bit for bit, 1 is all of the person; every share rises with it.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from functions.generate.face import light, masks
from functions.generate.face.crop import FaceCrop, rescale
from functions.generate.face.face_view import FaceView
from functions.generate.face.landmarks import face_width, fit_similarity, with_forehead
from functions.generate.face.palette import Palette
from functions.generate.fusion import detail_match
from functions.generate.fusion.blend_weights import BlendWeights
from functions.generate.fusion.occlusion import usable_mask
from functions.generate.fusion.relight import relight
from functions.generate.fusion.rigid import make_rigid
from functions.generate.fusion.warp import Picture, draw, plan_movement
from functions.generate.glasses import detection
from shared.faces import pose
from shared.imaging.array_types import Embedding, Image, Mask, Points

SAME_POSE, OTHER_POSE = 10.0, 30.0  # degrees between which face shape gives way: beyond, ears and hair lines tear
NODDING = 0.5  # weight of pitch: long and short chins are taken for it, and no ear comes into sight by it
LEAST_SHAPE = 0.15


@dataclass(frozen=True, eq=False)
class ReferencePhoto:
    """A photo of the person with its landmarks: (68, 2) in pixels of the image; and who that is.

    `identity` is the mean vector of all the person's photos; only a network that fuses by it needs it.
    `glasses`: the face wears some with a visible frame.
    """

    image: Image
    landmarks: Points
    identity: Embedding | None = None
    glasses: bool = False

    @cached_property
    def frames(self) -> Mask:
        """Where its glasses have their frames, (H, W); looked for once, since tracing them takes its time."""
        return find_frames(self.image, self.landmarks)


def fuse(
    base: Image,
    landmarks: Points,
    person: ReferencePhoto,
    degree: float,
    free: Mask | None = None,
    frames: Mask | None = None,
    original: FaceCrop | None = None,
) -> FaceView:
    """Give the face at `landmarks` the person's shape and looks, by `degree`.

    Args:
        base: RGB, uint8, (H, W, 3), the template or what became of it.
        landmarks: (68, 2) of the face, in pixels of `base`.
        person: one photo of the person; the nearer in pose and expression, the better.
        degree: 0 to 1.
        free: (H, W), 0 where nothing may change, such as on other faces; None leaves all free.
        frames: (H, W), where the face's glasses have their frames, as an earlier fusion gave them; None looks for them.
        original: the template's face, whose detail and colors the fused one is to have; None takes that of `base`.

    Returns:
        The picture, bit-identical to `base` away from the face and all over at degree 0; and what has moved in it.
    """
    frames = find_frames(base, landmarks) if frames is None else frames
    if degree <= 0:
        return FaceView(base.copy(), landmarks.copy(), frames)
    shares = BlendWeights.of(min(degree, 1.0))
    shape = shares.shape * pose_agreement(person.landmarks, landmarks)
    target = landmarks + shape * (fit_similarity(person.landmarks, landmarks)(person.landmarks) - landmarks)
    free = np.ones(base.shape[:2], np.float32) if free is None else free
    shift = plan_movement(landmarks, target, base.shape[:2], free)
    if frames.any():
        shift = make_rigid(shift, frames, face_width(target), free)
        frames = np.clip(shift.of(frames), 0, 1)
    moved = shift.of(base)
    crop = FaceCrop.of(moved, target)
    if not crop.empty:
        original = original or FaceCrop.of(base, landmarks)
        drawn = _drawn(person, person.image, crop.points, crop.size)
        own = np.zeros(crop.size, np.float32)
        if person.glasses:
            own = np.clip(_drawn(person, person.frames, crop.points, crop.size), 0, 1)
        if frames.any():  # not two pairs of glasses on one nose: the template's stay
            drawn, own = detection.erase_frames(drawn, own), np.zeros_like(own)
        kept = np.maximum(1 - crop.cut(free), crop.cut(frames))
        moved[crop.rows, crop.columns] = _blend(crop, light.to_lab(drawn), original, shares, kept, own)
    return FaceView(moved, target, frames)


def pose_agreement(source: Points, target: Points) -> float:
    """How much of a photo's face shape may be taken over, LEAST_SHAPE to 1: one turned elsewhere would turn the head.

    `source`, `target`: (68, 2) of the photo's face and of the one that it comes onto.
    """
    one, other = pose.estimate_pose(source), pose.estimate_pose(target)
    apart = float(np.hypot(one.yaw - other.yaw, NODDING * (one.pitch - other.pitch)))
    return float(np.clip(1 - (apart - SAME_POSE) / (OTHER_POSE - SAME_POSE), LEAST_SHAPE, 1))


def find_frames(image: Image, landmarks: Points) -> Mask:
    """Where the glasses of the face have their frames, (H, W); all 0 when it wears none."""
    frames = np.zeros(image.shape[:2], np.float32)
    crop = FaceCrop.of(image, landmarks)
    if not crop.empty:
        frames[crop.rows, crop.columns] = detection.find_frames(crop.lab, crop.points)
    return frames


def wears_glasses(image: Image, landmarks: Points) -> bool:
    """Whether the face wears glasses with a visible frame; takes a twentieth of the time of `find_frames`."""
    crop = FaceCrop.of(image, landmarks)
    return not crop.empty and detection.wears_glasses(crop.lab, crop.points)


def _blend(crop: FaceCrop, drawn: light.Lab, original: FaceCrop, shares: BlendWeights, kept: Mask, own: Mask) -> Image:
    """The crop of the moved template with the person's drawn face and `own` frames in it, but for what is `kept`."""
    skin_drawn = light.skin_likeness(drawn, crop.bare)
    theirs = Palette.of(drawn, crop.face, crop.width)
    tone = original.palette.tone(theirs)
    shift = light.equalize(drawn, crop.lab, crop.bare * skin_drawn, crop.skin, crop.width, tone)
    taken = usable_mask(crop.points, drawn, skin_drawn, crop.skin_likeness) * (1 - kept)
    face = original.palette.tinted(relight(drawn, shift, crop.points, crop.lab, tone), drawn, theirs)
    return compose(crop, face, original, shares, taken, own * (1 - kept))


def compose(
    crop: FaceCrop, drawn: light.Lab, original: FaceCrop, shares: BlendWeights, taken: Mask, own: Mask | float = 0.0
) -> Image:
    """The crop with a drawn face mixed in, as sharp as the template's.

    Args:
        crop: of the face as it is.
        drawn: the face as it is to look, LAB, of the crop's size; its lightness may be changed.
        original: the template's face, whose detail the mixture is to have.
        shares: of the drawn face, by part.
        taken: (h, w), where it may be taken at all.
        own: (h, w), where the frames of its glasses are: taken whole, even out of the face.
    """
    base, wanted = crop.lab, original.lab[..., 0]
    outline = masks.face(crop.points, crop.size, shares.margin)
    bare = crop.bare * (light.skin_likeness(drawn, crop.bare) * crop.skin_likeness)
    drawn[..., 0] = detail_match.defocus(drawn[..., 0], outline, wanted, original.face, crop.width)
    soft = np.maximum(outline * taken, own)
    features = masks.features(crop.points, crop.size)
    share = soft * (shares.skin + (shares.features - shares.skin) * features)
    mixed = base + share[..., None] * (drawn - base)
    grained = light.match_grain(mixed, bare, original.lab, original.skin, crop.width)
    smooth, grained = mixed[..., 0], mixed[..., 0] + soft * (grained - mixed[..., 0])
    mixed[..., 0] = detail_match.match_sharpness(grained, smooth, outline, soft, wanted, original.face, crop.width)
    return np.where(share[..., None] > 0, light.to_rgb(mixed), crop.image)


def _drawn(person: ReferencePhoto, picture: Picture, points: Points, size: tuple[int, int]) -> Picture:
    """The person's face, or a mask of it, on the patch's canvas.

    Large photos are reduced first, so that their detail does not alias.
    """
    source = with_forehead(person.landmarks)
    scale = face_width(points) / face_width(person.landmarks)
    if scale < 1:
        reduced: Picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        source = rescale(source, picture.shape[:2], reduced.shape[:2])
        picture = reduced
    return draw(picture, source, with_forehead(points), size)
