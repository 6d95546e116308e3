"""A face cut out of a picture, with the masks and colors that the stages need; each is computed once, on first use."""

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face import facial_hair, light, masks
from functions.generate.face.facial_hair import FacialHair
from functions.generate.face.landmarks import BROWS, CHIN, face_width, hairline
from functions.generate.face.palette import Palette
from functions.generate.face.strips import copy_where
from functions.generate.face.working_size import EVERYTHING, Part, WorkingSize
from shared.imaging.array_types import Image, Mask, Points

# pixels across the face up to which masks, skin and light are computed on the crop itself, and across the reduced copy
# on which they are computed from there on; a copy that is hardly smaller would save little and blur much
LARGE_WIDTH, SMALL_WIDTH = 512.0, 384.0


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """A face and its surroundings, cut out of a picture.

    The arrays that it returns are cached and shared: callers must not write into them.

    Attributes:
        picture: the whole picture, RGB, uint8, (H, W, 3).
        rows, columns: the part of the picture that the crop covers.
        points: landmarks of the face, (68, 2), in pixels of the crop.
        mesh: the points of its face mesh, (478, 3), in pixels of the crop, if the engine gives them; the masks then
            reach up to the hairline.
    """

    picture: Image
    rows: slice
    columns: slice
    points: Points
    mesh: Points | None = None

    @classmethod
    def of(
        cls, picture: Image, landmarks: Points, margin: float = masks.REGION_MARGIN, mesh: Points | None = None
    ) -> "FaceCrop":
        """Crop the face at `landmarks`, (68, 2) in pixels of the picture, with `margin` face widths around it.

        `mesh` is the face's mesh, (478, 3), likewise in pixels of the picture, if there is one.
        """
        rows, columns = masks.region(landmarks, picture.shape[:2], margin)
        corner = np.array([columns.start, rows.start])
        return cls(picture, rows, columns, landmarks - corner, None if mesh is None else mesh - [*corner, 0])

    @classmethod
    def whole(cls, picture: Image, points: Points) -> "FaceCrop":
        """Take the whole picture as the crop; for a picture that shows little but the face."""
        return cls(picture, slice(0, picture.shape[0]), slice(0, picture.shape[1]), points)

    @property
    def empty(self) -> bool:
        """Whether the face lies outside the picture."""
        return min(self.size) <= 0

    @property
    def image(self) -> Image:
        """The crop's pixels, RGB, uint8, (h, w, 3): a view into the picture."""
        return self.picture[self.rows, self.columns]

    @property
    def size(self) -> tuple[int, int]:
        """The crop's height and width."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @cached_property
    def width(self) -> float:
        """The face's width in pixels."""
        return face_width(self.points)

    @cached_property
    def working(self) -> WorkingSize:
        """The crop's size, and the one at which what is smooth over the face is computed."""
        return WorkingSize.of(self.size, self.width, SMALL_WIDTH if self.width > LARGE_WIDTH else self.width)

    @cached_property
    def small(self) -> "FaceCrop":
        """The crop, reduced to the working size; its picture is nothing but the crop."""
        return self._reduced(self.working)

    @cached_property
    def lab(self) -> light.Lab:
        """The crop's pixels in LAB, (h, w, 3)."""
        return light.to_lab(self.image)

    @cached_property
    def lightness(self) -> light.Lightness:
        """The lightness of the crop's pixels, (h, w): the detail of a large face is in it, and no color is needed."""
        return light.to_lightness(self.image)

    @cached_property
    def face(self) -> Mask:
        """The mask `masks.face`, (h, w)."""
        return self.outline()

    @cached_property
    def bare(self) -> Mask:
        """The mask `masks.bare`, (h, w)."""
        return masks.bare(self.points, self.size, hairline(self.mesh))

    @cached_property
    def skin_likeness(self) -> Mask:
        """How much each pixel looks like the face's skin, inside the face or not, 0 to 1, (h, w)."""
        return light.skin_likeness(self.lab, self.bare)

    @cached_property
    def skin(self) -> Mask:
        """Mask of the face's skin, (h, w): without features, hair, beard and frames of glasses."""
        skin: Mask = self.bare * self.skin_likeness
        return skin

    @cached_property
    def facial_hair(self) -> FacialHair:
        """The face's moustache and beard; unlike those of the crop, its mask covers the whole picture, (H, W)."""
        corner = np.array([self.columns.start, self.rows.start])
        wide = FaceCrop.of(self.picture, self.points + corner, facial_hair.MARGIN)
        found = FacialHair.none(self.picture.shape[:2])
        if not wide.empty:
            seen = FacialHair.of(wide.small.lab, wide.small.points)
            found.mask[wide.rows, wide.columns] = wide.working.enlarge(seen.mask)
            found = replace(seen, mask=found.mask)
        return found

    @cached_property
    def palette(self) -> Palette:
        """The palette of the face."""
        small = self.small
        return Palette.of(small.lab, small.face, small.width)

    def measure_grain(self, width: float) -> tuple[float, ...]:
        """Measure how strong the fine detail of the face's skin is, without that of facial hair.

        `width` is that of the face to be compared, in pixels; see `light.measure_grain`.
        """
        skin = self.small.skin * (1 - self.working.reduce(self.cut(self.facial_hair.mask)))
        part = self.working.cover(masks.bounds(skin, light.BANDS[-1] * light.SEEN * self.small.width))
        return light.measure_grain(self.lightness[part], self.working.enlarge(skin)[part], width)

    @cached_property
    def sharpness(self) -> float:
        """How much fine detail the face has, without that of facial hair; see `light.measure_sharpness`."""
        return light.measure_sharpness(self.lightness, self.face * (1 - self.cut(self.facial_hair.mask)))

    @cached_property
    def skin_tone(self) -> tuple[light.Lab, float]:
        """The mean LAB color, (3,), and the standard deviation of the lightness of the skin; 0 if no skin shows.

        Lightness is that of all skin, color that of matte skin.
        """
        every = max(1, max(self.size) // light.SAMPLING_SIDE)
        lab = light.to_lab(np.ascontiguousarray(self.image[::every, ::every]))
        bare = cv2.resize(self.small.bare, lab.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        skin = bare * light.skin_likeness(lab, bare)
        total = float(skin.sum())
        if total < 1:
            return np.zeros(3, np.float32), 0.0
        colored = skin * light.matte(lab, skin)
        weights = cv2.merge([skin, colored, colored])
        mean = light.sum_channels(lab * weights) / light.sum_channels(weights)
        spread = float(np.sqrt((skin * np.square(lab[..., 0] - mean[0])).sum() / total))
        return mean.astype(np.float32), spread

    @cached_property
    def eyes(self) -> tuple[Part, NDArray[np.bool_]]:
        """The part of the crop that the eyes lie in, and the mask of what is between their lids there."""
        mask = masks.eyes(self.small.points, self.small.size, 0.0, 0.0)
        part = self.working.cover(masks.bounds(mask, 0.0))
        return part, self.enlarge(mask, part) > 0.5

    @cached_property
    def whites(self) -> float | None:
        """The lightness of the whites of the eyes, see `light.measure_whites`; None where no eye shows."""
        part, eyes = self.eyes
        return light.measure_whites(light.to_lightness(self.image[part]), eyes) if eyes.any() else None

    def outline(self, margin: float = masks.FACE_MARGIN, lowered: float = 0.0) -> Mask:
        """Return the mask `masks.face`, (h, w), that stays `margin` face widths inside the outline.

        Along the hairline, if it is known, the mask ends `lowered` face widths lower still.
        """
        top = hairline(self.mesh)
        if top is not None and lowered:
            down = self.points[CHIN] - self.points[BROWS].mean(axis=0)
            top = top + lowered * self.width * down / np.linalg.norm(down)
        return masks.face(self.points, self.size, margin, top=top)

    def cut(self, plane: Mask) -> Mask:
        """Return the crop's part, (h, w), of a mask of the picture, (H, W)."""
        return plane[self.rows, self.columns]

    def scaled(self, width: float) -> "FaceCrop":
        """Return a copy reduced until its face is `width` pixels wide; never enlarged.

        The copy's picture is the reduced crop, not the picture of this crop.
        """
        return self._reduced(WorkingSize.of(self.size, self.width, width))

    def _reduced(self, working: WorkingSize) -> "FaceCrop":
        mesh = self.mesh
        if mesh is not None:
            mesh = np.column_stack([working.place(mesh[:, :2]), mesh[:, 2] * working.small[1] / working.full[1]])
        height, width = working.small
        image = working.reduce(self.image)
        return FaceCrop(image, slice(0, height), slice(0, width), working.place(self.points), mesh)

    def enlarge(self, plane: Mask, part: Part = EVERYTHING) -> Mask:
        """Return a mask of the working size, (h, w), enlarged to the crop's size, the whole or a part of it."""
        return np.ascontiguousarray(self.working.enlarge(plane)[part])

    def paste(self, changed: Image, where: NDArray[np.bool_], part: Part = EVERYTHING) -> Image:
        """Return a copy of the picture with `changed`, RGB, uint8, (h, w, 3), in it where `where`, (h, w), is true.

        Both cover the crop, or a part of it.
        """
        done = self.picture.copy()
        copy_where(changed, where, done[self.rows, self.columns][part])
        return done
