"""Face fusion without a network: the person's photo is warped onto the template's face and relit to match it.

    template's points --share of the shape--> target points, between the template's and the person's (`correspondence`)
    template's face  --thin-plate spline-->  moved face       (outline, brows, mouth move towards the person's)
    person's photo   --thin-plate spline-->  drawn face       (same target points: nothing shows double when blended)
    drawn face       --LAB low frequencies, grain-->  lit face
    moved face, lit face  --soft mask x share of pixels-->  fused face

Degree 0 gives the template bit for bit, degree 1 takes all from the person; all shares rise with the degree.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from functions.generate.face import facial_hair, light, masks
from functions.generate.face.crop import FaceCrop, rescale
from functions.generate.face.face_view import FaceView
from functions.generate.face.facial_hair import FacialHair
from functions.generate.face.landmarks import face_width
from functions.generate.face.palette import Palette
from functions.generate.face.strips import blend, copy_where
from functions.generate.fusion import detail_match
from functions.generate.fusion.beard_transfer import BeardTransfer
from functions.generate.fusion.blend_weights import BlendWeights
from functions.generate.fusion.correspondence import Correspondence, correspond
from functions.generate.fusion.forehead import clear_forehead
from functions.generate.fusion.occlusion import find_border, spare, usable_mask, within_outline
from functions.generate.fusion.relight import relight
from functions.generate.fusion.rigid import make_rigid, span_glasses
from functions.generate.fusion.warp import Picture, draw, plan_movement
from functions.generate.glasses import detection
from shared.imaging.array_types import Embedding, Image, Mask, Points

TEETH = 0.01  # face widths around the mouth's opening in which detail is not raised


@dataclass(frozen=True, eq=False)
class ReferencePhoto:
    """A photo of the person.

    Attributes:
        image: RGB, uint8, (H, W, 3).
        landmarks: (68, 2), in pixels of the image.
        identity: mean embedding of all the person's photos; only fusion by a network needs it.
        glasses: whether the face has glasses with a visible frame.
        name: what the answer calls it: its reference in the request, or its key in the bucket.
        mesh: the points of its face mesh, (478, 3), in pixels of the image; None if the engine gives none.
        occluder: mask of what lies before the face, (H, W), which is never taken; None if nothing does.
        hidden: the share of the face that it hides, 0 to 1.
    """

    image: Image
    landmarks: Points
    identity: Embedding | None = None
    glasses: bool = False
    name: str = ""
    mesh: Points | None = None
    occluder: Mask | None = None
    hidden: float = 0.0

    @cached_property
    def frames(self) -> Mask:
        """Mask of the frames of the face's glasses, (H, W); cached, since tracing them is slow."""
        return find_frames(self.image, self.landmarks)

    @cached_property
    def facial_hair(self) -> FacialHair:
        """The face's moustache and beard; its mask is (H, W). Cached, since it is slow."""
        return FaceCrop.of(self.image, self.landmarks).facial_hair


def fuse(
    base: Image,
    landmarks: Points,
    person: ReferencePhoto,
    degree: float,
    free: Mask | None = None,
    frames: Mask | None = None,
    original: FaceCrop | None = None,
    mesh: Points | None = None,
    hair: Mask | None = None,
) -> FaceView:
    """Give the face at `landmarks` the person's shape and looks, to the given degree.

    Args:
        base: RGB, uint8, (H, W, 3); the template, or the result of an earlier stage.
        landmarks: the face's landmarks, (68, 2), in pixels of `base`.
        person: one photo of the person; the nearer in pose and expression, the better.
        degree: 0 to 1.
        free: mask, (H, W), 0 where nothing may change, such as on other faces; None allows changes everywhere.
        frames: mask, (H, W), of the frames of the face's glasses, as an earlier fusion returned it; None detects them.
        original: the template's face, whose sharpness and colors the result must have; None takes the face of `base`.
        mesh: the face's mesh, (478, 3), in pixels of `base`; without it, or without the person's, the landmarks do.
        hair: mask, (H, W), of the facial hair of the template's face, as an earlier fusion returned it; None finds it.

    Returns:
        The picture with the moved landmarks, mesh, frames and facial hair. It is bit-identical to `base` away from the
        face, and everywhere at degree 0.
    """
    frames = find_frames(base, landmarks) if frames is None else frames
    if degree <= 0:
        return FaceView(base.copy(), landmarks.copy(), frames, mesh, hair)
    original = original or FaceCrop.of(base, landmarks, mesh=mesh)
    hair = original.facial_hair.mask if hair is None else hair
    shares = BlendWeights.of(min(degree, 1.0))
    points = correspond(landmarks, mesh, person.landmarks, person.mesh, shares.shape)
    free = np.ones(base.shape[:2], np.float32) if free is None else free
    shift = plan_movement(points.moved, points.moved_to, base.shape[:2], free)
    if frames.any():
        shift = make_rigid(shift, span_glasses(frames, landmarks), face_width(points.landmarks), free)
        frames = np.clip(shift.of(frames), 0, 1)
    moved, hair = shift.of(base), np.clip(shift.of(hair), 0, 1)
    bearded = bool(hair.any() or person.facial_hair.mask.any())
    margin = facial_hair.MARGIN if bearded else masks.REGION_MARGIN
    crop = FaceCrop.of(moved, points.landmarks, margin, points.mesh)
    if not crop.empty:
        drawn = _draw_photo(person, person.image, points, crop)
        own = theirs = np.zeros(crop.size, np.float32)
        if person.glasses:
            own = np.clip(_draw_photo(person, person.frames, points, crop), 0, 1)
        if frames.any():  # only one pair of glasses on the nose: keep the template's
            drawn, own = detection.erase_frames(drawn, own), np.zeros_like(own)
        if person.facial_hair.mask.any():
            theirs = np.clip(_draw_photo(person, person.facial_hair.mask, points, crop), 0, 1)
        kept = np.maximum(1 - crop.cut(free), crop.cut(frames))
        if person.occluder is not None:
            kept = np.maximum(kept, spare(_draw_photo(person, person.occluder, points, crop), crop.width))
        beards = BeardTransfer.of(crop.cut(hair), theirs, crop.width)
        moved[crop.rows, crop.columns] = _blend(crop, light.to_lab(drawn), original, shares, kept, own, beards)
    return FaceView(moved, points.landmarks, frames, points.mesh, hair)


def find_frames(image: Image, landmarks: Points) -> Mask:
    """Return the mask of the frames of the face's glasses, (H, W); all 0 if it has none."""
    frames = np.zeros(image.shape[:2], np.float32)
    crop = FaceCrop.of(image, landmarks)
    if not crop.empty:
        frames[crop.rows, crop.columns] = detection.find_frames(crop.lab, crop.points)
    return frames


def wears_glasses(image: Image, landmarks: Points) -> bool:
    """Return whether the face has glasses with a visible frame; 20 times as fast as `find_frames`."""
    crop = FaceCrop.of(image, landmarks)
    return not crop.empty and detection.wears_glasses(crop.lab, crop.points)


def _blend(
    crop: FaceCrop,
    drawn: light.Lab,
    original: FaceCrop,
    shares: BlendWeights,
    kept: Mask,
    own: Mask,
    beards: BeardTransfer,
) -> Image:
    """Blend the person's drawn face into the crop of the moved template.

    Args:
        crop: the moved template's face.
        drawn: the person's face on the crop, LAB, (h, w, 3).
        original: the template's unchanged face.
        shares: the person's share in each part.
        kept: mask, (h, w), of what stays the template's.
        own: mask, (h, w), of the frames of the person's glasses.
        beards: the facial hair of both.
    """
    skin_drawn = light.skin_likeness(drawn, crop.bare * (1 - beards.person) if beards.person.any() else crop.bare)
    theirs = Palette.of(drawn, crop.face, crop.width)
    tone = original.palette.tone(theirs)
    # stubble looks like skin and shows the light as skin does; a beard would give the chin its own darkness or gray
    bristly, bristly_base = (np.clip(3 - 3 * like, 0, 1) for like in (skin_drawn, crop.skin_likeness))
    skin = crop.bare * skin_drawn * (1 - beards.person * bristly)
    skin_base = crop.skin * (1 - beards.template * bristly_base)
    border = find_border(
        crop.points,
        drawn,
        crop.lab,
        skin_drawn * (1 - beards.person * bristly),
        crop.skin_likeness * (1 - beards.template * bristly_base),
    )
    shift = light.equalize(drawn, crop.lab, skin, skin_base, crop.width, tone, border)
    usable = usable_mask(crop.points, drawn, skin_drawn, crop.skin_likeness)
    if crop.mesh is not None:  # without a mesh the face does not reach as high as hair hangs
        usable *= clear_forehead(crop.points, drawn[..., 0])
    # where the template's hair was, what is no skin is filled in
    within = within_outline(crop.points, crop.lab, crop.skin_likeness)
    taken = np.maximum(usable * within, beards.either) * (1 - kept)
    lit = relight(drawn, shift, crop.points, crop.lab, tone, beards.person)
    face = beards.shave(original.palette.tint(lit, drawn, theirs), skin, usable, crop)
    return compose(crop, face, original, shares, taken, own * (1 - kept), beards)


def compose(
    crop: FaceCrop,
    drawn: light.Lab,
    original: FaceCrop,
    shares: BlendWeights,
    taken: Mask,
    own: Mask | float = 0.0,
    beards: BeardTransfer | None = None,
) -> Image:
    """Mix a drawn face into a crop and match the sharpness of the template's face.

    Args:
        crop: the face as it is.
        drawn: the face to mix in, relit, LAB, (h, w, 3); it is overwritten.
        original: the template's face, whose sharpness the result must have.
        shares: the drawn face's share in each part.
        taken: mask, (h, w), of where the drawn face may be used.
        own: mask, (h, w), of the frames of the drawn face's glasses, which are mixed in also outside the face.
        beards: the facial hair of both faces, which is changed also outside the face; None leaves it as it is there.

    Returns:
        RGB, uint8, (h, w, 3); equal to the crop where the share is 0.
    """
    wanted = np.ascontiguousarray(original.lab[..., 0])
    outline = crop.outline(shares.margin)
    hair = np.zeros(crop.size, np.float32) if beards is None else beards.either
    bare = crop.bare * (light.skin_likeness(drawn, crop.bare) * crop.skin_likeness) * (1 - hair)
    drawn[..., 0] = detail_match.defocus(
        np.ascontiguousarray(drawn[..., 0]), outline, wanted, original.face, crop.width
    )
    soft = np.maximum(np.maximum(outline, hair) * taken, own)
    features = masks.features(crop.points, crop.size)
    share = soft * (shares.skin + (shares.features - shares.skin) * features)
    share = np.maximum(share, hair * taken * shares.hair)
    if not share.any():
        return np.array(crop.image)
    part = masks.bounds(share, light.BANDS[-1] * light.SEEN * crop.width)  # nothing changes outside of it
    soft, share, outline, hair = soft[part], share[part], outline[part], hair[part]
    mixed = blend(crop.lab[part], drawn[part], share)
    smooth = np.ascontiguousarray(mixed[..., 0])
    grained = light.raise_grain(
        smooth,
        bare[part],
        original.measure_grain(crop.width),
        crop.width,
        lambda: np.ascontiguousarray(light.draw_noise(crop.size)[part]),
    )
    grained -= smooth
    grained *= soft
    grained += smooth
    # raised gaps between teeth look engraved: a mouth has as much detail as the photo shows
    sharp = np.maximum((features * (1 - masks.mouth(crop.points, crop.size, TEETH)))[part], hair)
    free = soft * (detail_match.RAISED_SKIN + (1 - detail_match.RAISED_SKIN) * sharp).astype(np.float32)
    shaven = original.face * (1 - original.cut(original.facial_hair.mask))
    mixed[..., 0] = detail_match.match_sharpness(
        grained, smooth, outline * (1 - hair), free, wanted, shaven, crop.width
    )
    fused = np.array(crop.image)
    copy_where(light.to_rgb(mixed), share > 0, fused[part])
    return fused


def _draw_photo(person: ReferencePhoto, picture: Picture, points: Correspondence, crop: FaceCrop) -> Picture:
    """Warp the person's photo, or a mask of it, into the crop, so that its points lie where they shall.

    A large photo is reduced first, so that its detail does not alias.
    """
    source, target = points.drawn, points.drawn_to - np.array([crop.columns.start, crop.rows.start])
    scale = crop.width / face_width(person.landmarks)
    if scale < 1:
        reduced: Picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        source = rescale(source, picture.shape[:2], reduced.shape[:2])
        picture = reduced
    return draw(picture, source, target, crop.size, crop.width)
