"""Face fusion without a network: the person's photo is warped onto the template's face and relit to match it.

    template's points --share of the shape--> target points, between the template's and the person's (`correspondence`)
    template's face  --thin-plate spline-->  moved face       (outline, brows, mouth move towards the person's)
    person's photo   --thin-plate spline-->  drawn face       (same target points: nothing shows double when blended)
    drawn face       --LAB low frequencies, grain-->  lit face
    moved face, lit face  --soft mask x share of pixels-->  fused face

Degree 0 gives the template bit for bit, degree 1 takes all from the person; all shares rise with the degree.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from functions.generate.face import facial_hair, light, masks
from functions.generate.face.crop import FaceCrop
from functions.generate.face.face_view import FaceView
from functions.generate.face.facial_hair import FacialHair
from functions.generate.face.landmarks import face_width
from functions.generate.face.palette import Palette
from functions.generate.face.strips import RowEnlarger, copy_where, list_patches, list_strips, repeat
from functions.generate.face.working_size import Part, WorkingSize, overlap, shift
from functions.generate.fusion import detail_match
from functions.generate.fusion.beard_transfer import BeardTransfer
from functions.generate.fusion.blend_weights import BlendWeights
from functions.generate.fusion.correspondence import Correspondence, correspond
from functions.generate.fusion.drawn_face import DrawnFace, compose
from functions.generate.fusion.forehead import clear_forehead
from functions.generate.fusion.occlusion import find_border, spare, usable_mask, within_outline
from functions.generate.fusion.relight import Relighting
from functions.generate.fusion.rigid import make_rigid, span_glasses
from functions.generate.fusion.warp import Picture, Projection, plan_movement
from functions.generate.glasses.frames import erase_frames, find_frames
from shared.imaging.array_types import Embedding, Image, Mask, Points
from shared.imaging.quantization import add_change

# a face below so many pixels that is drawn more than so many times as wide has no detail to raise: raised, its jpg
# blocks become squares in the eyes and etched teeth. Looked at with faces of 49 to 72 pixels on two templates
FAINT_FACE, FAINT_ENLARGED = 80.0, 2.0
# pixels across the face of a fusion that another one follows; the base model between them sees faces of half as many
ROUGH_WIDTH = 256.0


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
        box_width: width in pixels of the face's box, which check tells; None for that of the landmarks.
        gaze: where the eyes look, see `face.gaze`.
        blur: sigma of the face's clearest edges in face widths, see `detail_match.measure_focus`; 0 if unknown.
    """

    image: Image
    landmarks: Points
    identity: Embedding | None = None
    glasses: bool = False
    name: str = ""
    mesh: Points | None = None
    occluder: Mask | None = None
    hidden: float = 0.0
    box_width: float | None = None
    gaze: float = 0.0
    blur: float = 0.0

    @property
    def detailed_width(self) -> float:
        """Width in pixels of the face in a sharp photo that has as much detail."""
        width = face_width(self.landmarks)
        return width / max(1.0, self.blur * min(width, detail_match.WORKING_WIDTH) / detail_match.SHARP)

    @property
    def across(self) -> float:
        """Width of the face in pixels, as check tells it."""
        return float(np.ptp(self.landmarks[:, 0])) if self.box_width is None else self.box_width

    def is_faint(self, width: float) -> bool:
        """Return whether the photo has no detail to raise where its face is drawn `width` pixels wide."""
        return self.across < FAINT_FACE and width > FAINT_ENLARGED * face_width(self.landmarks)

    @cached_property
    def frames(self) -> Mask:
        """Mask of the frames of the face's glasses, (H, W); computed once."""
        return find_frames(self.image, self.landmarks)

    @cached_property
    def without_frames(self) -> Image:
        """The picture without the frames of the face's glasses; computed once, since it is slow."""
        crop, image = FaceCrop.of(self.image, self.landmarks), self.image.copy()
        if not crop.empty:
            image[crop.rows, crop.columns] = erase_frames(crop.image, crop.cut(self.frames))
        return image

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
    rough: bool = False,
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
        rough: another fusion follows, which draws nearly all detail of the face anew. Then what is finer than
            ROUGH_WIDTH pixels across the face is left as it is.

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
    movement = plan_movement(points.moved, points.moved_to, base.shape[:2], free)
    if frames.any():
        movement = make_rigid(movement, span_glasses(frames, landmarks), face_width(points.landmarks))
        frames = np.clip(movement.of(frames), 0, 1)
    moved, hair = movement.of(base), np.clip(movement.of(hair), 0, 1)
    bearded = bool(hair.any() or person.facial_hair.mask.any())
    margin = facial_hair.MARGIN if bearded else masks.REGION_MARGIN
    crop = FaceCrop.of(moved, points.landmarks, margin, points.mesh)
    if not crop.empty:
        blend = _blend_roughly if rough and crop.width > ROUGH_WIDTH else _blend
        drawing = Drawing.of(person, crop, points)
        moved[crop.rows, crop.columns] = blend(
            drawing, original, shares, 1 - crop.cut(free), crop.cut(frames), crop.cut(hair)
        )
    return FaceView(moved, points.landmarks, frames, points.mesh, hair)


@dataclass(frozen=True, eq=False)
class Drawing:
    """A person's photo as it is drawn on a crop.

    Attributes:
        person: the photo.
        crop: the crop.
        projection: from the crop to the photo.
        large: the same on a larger crop, of which this one is a reduced copy: its finest detail does not matter. None
            for any other.
    """

    person: ReferencePhoto
    crop: FaceCrop
    projection: Projection
    large: "Drawing | None" = None

    @classmethod
    def of(cls, person: ReferencePhoto, crop: FaceCrop, points: Correspondence) -> "Drawing":
        """Draw the photo on the crop, so that its points lie where they shall."""
        target = points.drawn_to - np.array([crop.columns.start, crop.rows.start])
        height, width = person.image.shape[:2]
        return cls(person, crop, Projection.of(points.drawn, target, crop.size, (height, width), crop.width))

    def reduce(self) -> "Drawing":
        """Return the same on a crop whose face is ROUGH_WIDTH pixels wide."""
        return replace(self, crop=self.crop.scaled(ROUGH_WIDTH), large=self)

    def draw(self, picture: Picture, part: Part) -> Picture:
        """Draw the photo, or a mask of it, on a part of the crop."""
        return self.projection.draw(self._reduce(picture, self.crop.width), self.crop.size, part)

    def draw_small(self, picture: Picture) -> Picture:
        """Draw the photo, or a mask of it, on the whole crop at its working size."""
        small = self.crop.small
        return self.projection.draw(self._reduce(picture, small.width), small.size)

    @cached_property
    def visible(self) -> Mask:
        """Mask of what the photo shows of the crop at its working size, (h, w), 0 to 1.

        Lips and lids are never taken for hidden: they are stretched where they open.
        """
        small = self.crop.small
        moving = np.maximum(masks.eyes(small.points, small.size), masks.lips(small.points, small.size))
        return np.maximum(self.projection.measure_shown(small.size), moving)

    def draw_frames(self, part: Part) -> Mask:
        """Draw the mask of the frames of the person's glasses on a part of the crop."""
        rows, columns = part
        frames = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
        small = self.draw_small(self.person.frames) * self.visible
        there = overlap(self.crop.working.cover(masks.bounds(small, 1.0)), part)
        drawn = np.clip(self.draw(self.person.frames, there), 0, 1) * self.crop.enlarge(self.visible, there)
        frames[shift(there, -rows.start, -columns.start)] = drawn
        return frames

    def _reduce(self, picture: Picture, width: float) -> Picture:
        """Reduce a large picture to the face's width on the canvas, so that its detail does not alias."""
        scale = width / face_width(self.person.landmarks)
        if scale >= 1:
            return picture
        reduced: Picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return reduced


def _blend_roughly(
    drawing: Drawing, original: FaceCrop, shares: BlendWeights, fixed: Mask, frames: Mask, hair: Mask
) -> Image:
    """Blend as `_blend` does, but change nothing that is finer than ROUGH_WIDTH pixels across the face."""
    crop = drawing.crop
    working = WorkingSize.of(crop.size, crop.width, ROUGH_WIDTH)
    small = drawing.reduce()
    blended = _blend(small, original, shares, *(working.reduce(one) for one in (fixed, frames, hair)))
    change = cv2.subtract(blended, small.crop.image, dtype=cv2.CV_32F)
    enlarged, result = RowEnlarger(change, crop.size), np.array(crop.image)
    for patch in list_patches(np.abs(change).max(axis=2), crop.size):
        movable = np.maximum(fixed[patch], frames[patch]) < 1
        target = result[patch]
        copy_where(add_change(target, enlarged.cut(*patch)), movable, target)
    return result


def _blend(
    drawing: Drawing,
    original: FaceCrop,
    shares: BlendWeights,
    fixed: Mask,
    frames: Mask,
    hair: Mask,
) -> Image:
    """Blend the person's drawn face into the crop of the moved template.

    All that is smooth is computed on the crop's working size: masks, light, and what fills in a shaven chin.

    Args:
        drawing: the person's photo on the moved template's face.
        original: the template's unchanged face.
        shares: the person's share in each part.
        fixed: mask, (h, w), of what may not change.
        frames, hair: masks, (h, w), of the frames of glasses and of the facial hair of the moved template.
    """
    person, crop, small = drawing.person, drawing.crop, drawing.crop.small
    on_small, nothing = drawing.draw_small, np.zeros(small.size, np.float32)
    shown = drawing.visible
    worn = np.clip(on_small(person.frames), 0, 1) * shown if person.glasses else nothing
    framed = bool(frames.any())  # only one pair of glasses on the nose: the template's stays
    photo = person.without_frames if framed and person.glasses else person.image
    drawn = light.to_lab(on_small(photo))
    theirs = np.clip(on_small(person.facial_hair.mask), 0, 1) * shown if person.facial_hair.mask.any() else nothing
    beards = BeardTransfer.of(crop.working.reduce(hair), theirs, small)
    skin_drawn = light.skin_likeness(drawn, small.bare * (1 - beards.person) if beards.person.any() else small.bare)
    palette = Palette.of(drawn, small.face, small.width)
    # stubble looks like skin and shows the light as skin does; a beard would give the chin its own darkness or gray
    bristly, bristly_base = (np.clip(3 - 3 * like, 0, 1) for like in (skin_drawn, small.skin_likeness))
    hairy = beards.person * bristly
    skin = small.bare * skin_drawn * (1 - hairy)
    skin_base = small.skin * (1 - beards.template * bristly_base)
    whites = _measure_whites(drawing.large or drawing, original)
    border = find_border(
        small.points,
        drawn,
        small.lab,
        skin_drawn * (1 - hairy),
        small.skin_likeness * (1 - beards.template * bristly_base),
        shares.closeness,
    )
    tone = original.palette.tone(palette)
    relighting = Relighting.of(drawn, small, skin, skin_base, whites, tone, hairy, border)
    usable = usable_mask(small.points, drawn, skin_drawn, small.skin_likeness) * shown
    if small.mesh is not None:  # without a mesh the face does not reach as high as hair hangs
        usable *= clear_forehead(small.points, drawn[..., 0])
    # where the template's hair was, what is no skin is filled in
    within = within_outline(small.points, small.lab, small.skin_likeness)
    taken = np.maximum(usable * within, beards.either)
    if person.occluder is not None:
        taken = taken * (1 - spare(on_small(person.occluder), small.width))
    lit = original.palette.tint(relighting.apply(drawn, cv2.split(relighting.smooth)), drawn, palette)
    filling = beards.shave(lit, skin, usable, small)

    filled = lit if filling is None else filling.apply(lit)

    def draw_lit(part: Part) -> light.Lab:
        """Draw a part of the crop at its full size: as the small one, with the detail that is finer."""
        if crop.size == small.size:
            return np.array(filled[part])
        picture = drawing.draw(photo, part)
        gain = original.palette.scale_gain(relighting.gain(drawn, cv2.split(relighting.smooth)), palette)
        if filling is not None:
            gain *= repeat(1 - filling.share)
        low, detail = (RowEnlarger(one, crop.size) for one in (filled - gain * drawn, gain))
        made = np.empty(picture.shape, np.float32)
        for rows in list_strips(picture.shape):
            there = slice(part[0].start + rows.start, part[0].start + rows.stop), part[1]
            np.multiply(light.to_lab(picture[rows]), detail.cut(*there), out=made[rows])
            made[rows] += low.cut(*there)
        return made

    return compose(
        crop,
        DrawnFace(
            filled,
            draw_lit,
            taken.astype(np.float32),
            beards.either,
            None if framed or not person.glasses else worn,
            drawing.draw_frames,
            not person.is_faint(crop.width),
            drawing.large is not None,
        ),
        original,
        shares,
        np.maximum(fixed, frames),
    )


def _measure_whites(drawing: Drawing, original: FaceCrop) -> tuple[float, float] | None:
    """Return the lightness of the whites of the drawn eyes and of the template's; None where no eye shows."""
    crop, wanted = drawing.crop, original.whites
    part, eyes = crop.eyes
    if wanted is None or not eyes.any():
        return None
    return light.measure_whites(light.to_lightness(drawing.draw(drawing.person.image, part)), eyes), wanted
