"""Frames of glasses move without bending."""

import cv2
import numpy as np
import pytest

from functions.generate.face.landmarks import face_width
from functions.generate.fusion import rigid
from functions.generate.fusion.warp import plan_movement
from tests import pictures


@pytest.fixture(scope="module")
def points(engine):
    return engine.detect(pictures.astronaut())[-1].landmarks


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
