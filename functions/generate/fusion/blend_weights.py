"""How much of the person a degree of likeness means, part by part."""

from dataclasses import dataclass

import numpy as np

DEGREES = (0.0, 0.25, 0.5, 0.75, 1.0)
# shares by degree: two fusions in a row leave (1 - share) squared of the template, a twelfth at the default degrees,
# and every step is to be seen. Distances from the person fall with each for nearly all pairs, by two recognizers
SKIN = (0.0, 0.44, 0.72, 0.82, 1.0)
FEATURES = (0.0, 0.48, 0.78, 0.87, 1.0)  # eyes, brows, nose, mouth lead: half of each of two people is neither
SHAPE = (0.0, 0.32, 0.6, 0.78, 1.0)
MARGIN, REACHING = 0.053, 0.02  # face widths: where the person's face ends inside of the outline; how far that recedes
LATE = 4  # power of the skin's share by which it does so: outlines agree once most of the shape is taken over


@dataclass(frozen=True)
class BlendWeights:
    """How much of the person each part of a face takes over, in [0, 1]."""

    shape: float
    skin: float
    features: float

    @classmethod
    def of(cls, degree: float) -> "BlendWeights":
        """Of `more_like_me`: all 0 at 0, all 1 at 1, rising in between."""
        shape, skin, features = (float(np.interp(degree, DEGREES, shares)) for shares in (SHAPE, SKIN, FEATURES))
        return cls(shape, skin, features)

    @property
    def margin(self) -> float:
        """How far inside of the outline the person's face ends, in face widths."""
        return MARGIN - REACHING * float(self.skin**LATE)
