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
# face widths that the middle of the person's soft border reaches beyond the outline: at first less than cheeks and
# temples do, because the outlines agree only after most of the shape is taken over
REACHING = (0.0, 0.0, 0.0033, 0.007, 0.012)
LOWERED = 0.03  # face widths that it ends lower along the hairline, where the person's hair begins
ANEW = 0.9  # share from which next to nothing is left of the face before
# share of the close match of the light along the border at degree 1, so that the person's own modeling of cheeks and
# jaw stays. Matching the rest of the light by a wider Gaussian as well, of 0.3, brings portraits nearer by 0.002, but
# then a dark lock beside a cheek brightens the whole face
LOOSEST = 0.5
DEFAULT = 0.5  # degree up to which a portrait blends in as well as it can


def measure_precedence(degree: float) -> float:
    """Return how far the person comes before the blend, 0 to 1: 0 up to the default degree (`more_like_me`), 1 at 1."""
    return float(np.clip((degree - DEFAULT) / (1 - DEFAULT), 0, 1))


@dataclass(frozen=True)
class BlendWeights:
    """The share of the person's face in each part of the result, and how closely its border follows the template.

    Attributes:
        shape, skin, features: shares in [0, 1].
        reaching: how far the middle of the person's soft border reaches beyond the outline, in face widths.
        closeness: the share of the close match of the light along the border, 0 to 1.
    """

    shape: float
    skin: float
    features: float
    reaching: float
    closeness: float

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
        """Return those for a degree (`more_like_me`): the shares are all 0 at 0, all 1 at 1, and rise in between."""
        tables = SHAPE, SKIN, FEATURES, REACHING
        shape, skin, features, reaching = (float(np.interp(degree, DEGREES, table)) for table in tables)
        return cls(shape, skin, features, reaching, 1 - measure_precedence(degree) * (1 - LOOSEST))
