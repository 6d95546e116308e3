"""What is smooth over a face is computed at a bounded size: the same picture, whatever the face's size."""

import cv2
import numpy as np

from functions.generate.face import crop as face_crop
from functions.generate.face.working_size import WorkingSize, overlap, shift
from functions.generate.fusion.landmark_fusion import ReferencePhoto, fuse
from functions.generate.fusion.warp import Projection
from shared.faces.base import largest
from tests import pictures

SIZE = (230, 310)


def test_a_small_face_is_worked_on_as_it_is():
    working = WorkingSize.of(SIZE, 100, 200)
    plane = np.zeros(SIZE, np.float32)
    assert working.small == working.full
    assert working.reduce(plane) is plane
    assert working.enlarge(plane) is plane


def test_a_part_covers_all_pixels_that_its_values_reach():
    working = WorkingSize.of(SIZE, 300, 100)
    small = np.zeros(working.small, np.float32)
    part = slice(10, 13), slice(20, 22)
    small[part] = 1
    reached = working.enlarge(small)
    rows, columns = working.cover(part)
    reached[rows, columns] = 0
    assert not reached.any()
    assert working.cover((slice(0, working.small[0]), slice(0, working.small[1]))) == (slice(0, 230), slice(0, 310))


def test_parts_overlap_and_are_counted_from_another_corner():
    one, other = (slice(2, 9), slice(5, 8)), (slice(4, 20), slice(0, 6))
    assert overlap(one, other) == (slice(4, 9), slice(5, 6))
    assert overlap(one, (slice(20, 30), slice(0, 3))) == (slice(20, 20), slice(5, 5))
    assert shift(one, -2, 1) == (slice(0, 7), slice(6, 9))


def test_a_large_plane_is_averaged_to_the_same_places():
    working = WorkingSize.of((901, 1303), 1000, 100)
    x = np.broadcast_to(np.arange(1303, dtype=np.float32), (901, 1303)).copy()
    at = working.place(np.column_stack([x[0], np.zeros(1303)]))[:, 0]
    small = working.reduce(x)
    expected = np.interp(np.arange(small.shape[1]), at, x[0])
    assert small.shape == working.small
    assert np.abs(small - expected).max() < 1.2  # pixels, of which 10 make one of the small plane


def test_a_photo_is_drawn_at_the_same_place_in_parts_and_at_any_size():
    photo = cv2.GaussianBlur(pictures.astronaut(), (0, 0), 3)
    source = np.random.default_rng(3).uniform(100, 400, (30, 2))
    target = 0.4 * source + np.random.default_rng(4).uniform(0, 4, (30, 2))
    projection = Projection.of(source, target, SIZE, photo.shape[:2], 90.0)
    whole = projection.draw(photo, SIZE)
    part = slice(40, 160), slice(51, 170)
    assert np.abs(projection.draw(photo, SIZE, part).astype(int) - whole[part]).max() <= 1
    half = projection.draw(cv2.resize(photo, None, fx=0.5, fy=0.5), (115, 155))[20:80, 30:80]
    expected = cv2.resize(whole, (155, 115), interpolation=cv2.INTER_AREA)[20:80, 30:80]
    assert np.abs(half.astype(int) - expected).mean() < 1.5


def test_a_large_face_is_fused_as_if_all_were_computed_at_its_full_size(engine, monkeypatch):
    image = pictures.astronaut()[:300, 100:360]
    person = ReferencePhoto(pictures.hopper(), largest(engine.detect(pictures.hopper())).landmarks)
    template, landmarks = cv2.resize(image, None, fx=5, fy=5), 5 * largest(engine.detect(image)).landmarks
    frames = np.zeros(template.shape[:2], np.float32)
    made = fuse(template, landmarks, person, 0.5, frames=frames).image
    monkeypatch.setattr(face_crop, "LARGE_WIDTH", np.inf)
    expected = fuse(template, landmarks, person, 0.5, frames=frames).image
    changed = np.any(expected != template, axis=-1)
    apart = np.abs(made.astype(int) - expected).max(axis=-1)
    assert apart[changed].mean() < 1
    assert np.quantile(apart[changed], 0.99) <= 4
    assert np.abs(expected.astype(int) - template)[changed].mean() > 4
