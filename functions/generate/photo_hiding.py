"""What hides a face in a person's photo: it is never drawn, so what it hides stays the template's."""

from functions.generate.fusion.landmark_fusion import ReferencePhoto
from functions.generate.occlusion.occluder import measure_hidden

# share of eyes, nose and mouth from which the template's are seen in the portrait: half a mouth is a sixth
TOLD = 0.1


def hidden_features(photo: ReferencePhoto) -> float:
    """Return which share of the photo's eyes, nose and mouth something hides, 0 to 1."""
    return 0.0 if photo.occluder is None else measure_hidden(photo.landmarks, photo.occluder)


def describe_hidden(share: float, name: str, photos: int) -> str:
    """Return a warning's words for a photo in which something hides a share of eyes, nose and mouth.

    Args:
        share: that share, 0 to 1.
        name: whose photo it is.
        photos: how many this person has.
    """
    which = "the only photo" if photos == 1 else f"the most suitable of the {photos} photos"
    return (
        f"in {which} of {name} something lies before {share:.0%} of eyes, nose and mouth: there the template's own "
        "face stays; add a photo in which nothing hides the face"
    )
