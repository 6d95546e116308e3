"""A person's photo in which something hides the face."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from functions.generate.fusion.landmark_fusion import ReferencePhoto
from functions.generate.photo_hiding import hidden_features
from functions.generate.portrait import warn_of_hidden_photos
from shared.faces.base import largest
from tests import pictures
from tests.occluders import cover


@pytest.fixture(scope="module")
def photo(engine):
    image = pictures.astronaut()
    return ReferencePhoto(image, largest(engine.detect(image)).landmarks)


def job(photo, photos=1, drawn=True):
    """What the warning looks at in a face job."""
    person = SimpleNamespace(user_id="ann", portrayals=[photo] * photos)
    return SimpleNamespace(index=1, person=person, photo=photo, draws_photo=drawn)


def test_a_warning_says_how_much_is_hidden_what_stays_and_what_to_add(photo):
    masked = replace(photo, occluder=cover("mask", photo.image, photo.landmarks)[1])
    assert 0.4 < hidden_features(masked) < 0.7
    (warning,) = warn_of_hidden_photos([job(masked)])
    assert warning.startswith("face 2 from the left: in the only photo of ann something lies before ")
    assert f"{hidden_features(masked):.0%} of eyes, nose and mouth" in warning
    assert "the template's own face stays" in warning
    (several,) = warn_of_hidden_photos([job(masked, 3)])
    assert "the most suitable of the 3 photos of ann" in several


def test_nothing_is_said_where_only_the_cheek_is_hidden_or_the_photo_is_not_drawn(photo):
    beside = np.zeros(photo.image.shape[:2], np.float32)
    beside[:, : int(photo.landmarks[2, 0] + 3)] = 1
    assert not warn_of_hidden_photos([job(photo), job(replace(photo, occluder=beside))])
    everything = replace(photo, occluder=np.ones_like(beside))
    assert not warn_of_hidden_photos([job(everything, drawn=False)])
