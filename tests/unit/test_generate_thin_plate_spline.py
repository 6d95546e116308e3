"""The spline by which faces are warped: SciPy's is the reference, and what it must be by its definition is held too."""

import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator

from functions.generate.fusion.thin_plate_spline import ThinPlateSpline

X, Y = np.linspace(-0.2, 1.4, 23), np.linspace(0, 1, 17)


@pytest.fixture
def anchors():
    return np.random.default_rng(1).uniform(0, 1.2, (90, 2))


@pytest.mark.parametrize("smoothing", [0.0, 2e-4, 0.1])
def test_it_is_the_one_of_scipy(anchors, smoothing):
    values = np.random.default_rng(2).normal(0, 3, (90, 2))
    reference = RBFInterpolator(anchors, values, kernel="thin_plate_spline", smoothing=smoothing)
    grid = np.stack(np.meshgrid(X, Y), axis=-1).reshape(-1, 2)
    found = ThinPlateSpline(anchors, values, smoothing).evaluate(X, Y)
    assert np.abs(found.reshape(-1, 2) - reference(grid)).max() < 1e-6


def test_what_is_linear_stays_so_beyond_the_anchors_and_however_smooth(anchors):
    slope = np.array([[2.0, -1.0], [0.5, 3.0]])
    found = ThinPlateSpline(anchors, anchors @ slope + 7, 0.1).evaluate(X, Y)
    assert np.allclose(found, np.stack(np.meshgrid(X, Y), axis=-1) @ slope + 7)


def test_without_smoothing_it_passes_through_its_values_at_the_anchors_themselves():
    x, y = np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.0])
    anchors = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    values = np.array([[0.0], [3.0], [-1.0], [2.0], [2.0], [5.0]])
    assert np.allclose(ThinPlateSpline(anchors, values, 0.0).evaluate(x, y).reshape(-1, 1), values)
