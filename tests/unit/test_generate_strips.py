"""Large pictures, a strip of rows at a time: the same values as on whole planes."""

import cv2
import numpy as np
import pytest

from functions.generate import output
from functions.generate.face import light
from functions.generate.face.strips import PIXELS, RowEnlarger, blend, copy_where, list_patches, list_strips
from tests import pictures

SIZE = (211, 330)  # a few strips, the last of them smaller


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).random(shape, dtype=np.float32)


def test_strips_cover_every_row_once() -> None:
    rows = [row for strip in list_strips(SIZE) for row in range(strip.start, strip.stop)]
    assert rows == list(range(SIZE[0]))
    assert len(list(list_strips(SIZE))) == -(-SIZE[0] // (PIXELS // SIZE[1]))


def test_a_row_wider_than_a_strip_is_a_strip() -> None:
    assert [strip.stop for strip in list_strips((2, 2 * PIXELS))] == [1, 2]


@pytest.mark.parametrize("shape", [(40, 61, 4), (40, 61), (1, 1)])
def test_enlarged_rows_are_those_of_a_whole_resize(shape: tuple[int, ...]) -> None:
    small = random(*shape)
    low = RowEnlarger(small, SIZE)
    whole = np.concatenate([low.cut(rows) for rows in list_strips(SIZE)])
    expected = cv2.resize(small, SIZE[::-1], interpolation=cv2.INTER_LINEAR)
    assert np.abs(whole - expected).max() < 1e-5


@pytest.mark.parametrize("size", [SIZE, (900, 1400), (41, 62)])
def test_patches_cover_each_pixel_of_an_enlarged_mask_once(size: tuple[int, int]) -> None:
    small = np.zeros((40, 61), np.float32)
    cv2.ellipse(small, (30, 22), (9, 14), 20, 0, 360, 1, -1)
    covered = np.zeros(size, int)
    for rows, columns in list_patches(small, size):
        covered[rows, columns] += 1
    assert covered.max() == 1
    assert covered[cv2.resize(small, size[::-1], interpolation=cv2.INTER_LINEAR) > 0].min() == 1
    assert covered.mean() < 0.4  # all that is as high as the mask would be 0.7
    assert list(list_patches(np.zeros_like(small), size)) == []


def test_a_blend_is_a_linear_mix() -> None:
    base, other, share = random(*SIZE, 3), 1 - random(*SIZE, 3) ** 2, random(*SIZE)
    expected = base + share[..., None] * (other - base)
    assert np.allclose(blend(base, other, share), expected, atol=1e-6)


def test_only_pixels_under_the_mask_are_copied() -> None:
    source, target = np.full((*SIZE, 3), 9, np.uint8), np.zeros((*SIZE, 3), np.uint8)
    where = random(*SIZE) > 0.5
    copy_where(source, where, target[:, :])
    assert np.array_equal(target, source * where[..., None])


def test_lab_in_strips_is_lab() -> None:
    image = pictures.astronaut()
    expected = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    assert np.abs(light.to_lab(image) - expected).max() < 1e-3
    back = cv2.cvtColor(expected, cv2.COLOR_LAB2RGB) * 255
    assert np.abs(light.to_rgb(expected) - back).max() < 0.51


def test_a_photo_and_a_drawing_are_written_without_loss() -> None:
    flat = np.full((400, 600, 3), (20, 90, 200), np.uint8)
    for image in (pictures.astronaut(), flat):
        data = output.encode_png(image)
        read = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
        assert np.array_equal(read[..., ::-1], image)
    assert len(output.encode_png(flat)) < flat.size / 100


def test_a_portrait_before_a_plain_wall_is_searched_for_runs() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    wall = noise.copy()
    wall[:, 50:] = (200, 190, 180)
    assert len(output.encode_png(wall)) < 0.25 * len(output.encode_png(noise))
