"""Lines that are frames of glasses: traced, laid around lenses, and moved without bending."""

import cv2
import numpy as np
import pytest

from functions.generate.face.landmarks import face_width
from functions.generate.face.light import to_lab
from functions.generate.fusion import rigid
from functions.generate.fusion.warp import plan_movement
from functions.generate.glasses import lenses, min_cost_path
from functions.generate.glasses.aligned_face import WIDTH, AlignedFace
from tests import pictures


@pytest.fixture(scope="module")
def points(engine):
    return engine.detect(pictures.astronaut())[-1].landmarks


@pytest.fixture(scope="module")
def face(points):
    return AlignedFace.of(to_lab(pictures.astronaut()), points)


def test_a_closed_line_meets_itself_and_passes_over_a_gap():
    wanted = np.round(30 + 6 * np.sin(np.arange(60) * 2 * np.pi / 60)).astype(int)
    gain = np.zeros((60, 60), np.float32)
    gain[np.arange(60), wanted] = 1
    gain[20:26] = 0
    gain[22, 50] = 1  # a speck beside the gap
    steps = min_cost_path.trace_line(gain, np.ones(gain.shape, bool), 2, closed=True)
    assert abs(steps[0] - steps[-1]) <= 2
    assert np.abs(np.diff(steps)).max() <= 2
    assert np.abs(steps - wanted).max() <= 2


def test_a_line_keeps_to_where_it_is_allowed():
    gain = np.zeros((20, 30), np.float32)
    gain[:, 25] = 1
    allowed = np.ones(gain.shape, bool)
    allowed[:, 20:] = False
    assert min_cost_path.trace_line(gain, allowed, 2).max() < 20


def test_a_lines_edge_is_unknown_where_nothing_lighter_is_beside_it():
    lightness = np.full((5, 40), 80, np.float32)
    lightness[:, 18:23] = 10
    lightness[2, 18:] = 10  # hair
    left, right = min_cost_path.measure_edges(lightness, np.full(5, 20), 10)
    assert np.allclose(left, 3)
    assert np.allclose(right[[0, 1, 3, 4]], 3)
    assert np.isnan(right[2])


@pytest.mark.parametrize("squareness", [2.0, 4.0])
def test_lenses_are_laid_where_a_frame_is(face, squareness):
    shape = np.array([[0.01, 0.04, 0.16, 0.1, 0.12, squareness, 0.03, 0.1, 0.05]])
    share = np.zeros(face.lightness.shape, np.float32)
    wanted = [lenses.lens_outlines(face, side, shape)[0] for side in (0, 1)]
    for outline in wanted:
        x, y = np.round(outline).astype(int).T
        for across in range(-2, 3):
            share[y + across, x] = share[y, x + across] = 1
    for outline, found in zip(wanted, lenses.fit_lenses(face, share), strict=True):
        apart = np.linalg.norm(found[:, None] - outline, axis=-1).min(axis=1)
        assert np.median(apart) < 0.015 * WIDTH


def test_a_stiff_frame_keeps_its_edges_straight_while_the_face_bends(points):
    size, width = pictures.astronaut().shape[:2], face_width(points)
    target = points.copy()
    target[17:22, 1] -= 0.08 * width  # one brow and one eye go up
    target[36:42, 1] -= 0.05 * width
    frame, free = np.zeros(size, np.float32), np.ones(size, np.float32)
    left, right = points[36, 0].astype(int) - 6, points[45, 0].astype(int) + 6
    top, bottom = points[36:48, 1].min().astype(int) - 8, points[36:48, 1].max().astype(int) + 16
    cv2.rectangle(frame, (int(left), int(top)), (int(right), int(bottom)), 1.0, 3)
    bent = plan_movement(points, target, size, free)

    def bend(moved):
        columns = np.arange(left + 8, right - 8)
        edge = (moved[:, columns] > 0.5).argmax(axis=0)
        return np.abs(edge - np.polyval(np.polyfit(columns, edge, 1), columns)).max()

    assert bend(bent.of(frame)) > 2 * bend(rigid.make_rigid(bent, frame, width).of(frame))


def test_nothing_stiff_changes_no_movement(points):
    size = pictures.astronaut().shape[:2]
    free, none = np.ones(size, np.float32), np.zeros(size, np.float32)
    bent = plan_movement(points, points + 3, size, free)
    assert rigid.make_rigid(bent, none, face_width(points)) is bent


def test_what_may_not_move_does_not_move_with_stiff_things(points):
    image = pictures.astronaut()
    size = image.shape[:2]
    free, bar = np.ones(size, np.float32), np.zeros(size, np.float32)
    x, y = points[45].round().astype(int)
    bar[y - 2 : y + 3, x - 60 : x + 10] = 1
    free[:, x + 5 :] = 0
    shift = rigid.make_rigid(plan_movement(points, points + 4, size, free), bar, face_width(points))
    moved = shift.of(image)
    assert np.array_equal(moved[:, x + 5 :], image[:, x + 5 :])
    assert not np.array_equal(moved, image)
