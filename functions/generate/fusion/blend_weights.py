"""The degree of a face fusion, as shares of the person's face for shape, skin and features."""

from dataclasses import dataclass

import numpy as np

DEGREES = (0.0, 0.25, 0.5, 0.75, 1.0)
# share at each degree: two fusions in a row leave (1 - share) squared of the template, a hundredth at the default
# degree. With 0.75 there, and a shape of 0.6, two recognizers found portraits 0.010 to 0.018 farther from the person.
# For nearly all pairs each step brings the face nearer to the person, by two recognizers
SKIN = (0.0, 0.5, 0.9, 0.95, 1.0)
FEATURES = (0.0, 0.55, 0.95, 0.98, 1.0)  # eyes, brows, nose, mouth: ahead, since a half of each face looks like neither
SHAPE = (0.0, 0.45, 0.8, 0.9, 1.0)
# face widths that the middle of the person's soft border lies inside the outline at degree 0, and by how much less at
# degree 1. With 0.025, cheeks and temples are the template's, and portraits 0.005 farther from the person
MARGIN, REACHING = 0.0, 0.005
LOWERED = 0.03  # face widths that it ends lower along the hairline, where the person's hair begins
LATE = 4  # power of the skin's share for that: the outlines agree only after most of the shape is taken over
ANEW = 0.9  # share from which next to nothing is left of the face before


@dataclass(frozen=True)
class BlendWeights:
    """The share of the person's face in each part of the result, in [0, 1]."""

    shape: float
    skin: float
    features: float

    @property
    def hair(self) -> float:
        """The share where either face has a moustache or a beard: half a beard looks like dirt, so it is ahead."""
        return 1 - (1 - self.skin) ** 2

    @property
    def draws_anew(self) -> bool:
        """Whether next to nothing is left of the detail that a face had before."""
        return min(self.skin, self.features) >= ANEW

    @classmethod
    def of(cls, degree: float) -> "BlendWeights":
        """Return the shares for a degree (`more_like_me`): all 0 at 0, all 1 at 1, and rising in between."""
        shape, skin, features = (float(np.interp(degree, DEGREES, shares)) for shares in (SHAPE, SKIN, FEATURES))
        return cls(shape, skin, features)

    @property
    def margin(self) -> float:
        """How far inside the outline the person's face ends, in face widths."""
        return MARGIN - REACHING * float(self.skin**LATE)
