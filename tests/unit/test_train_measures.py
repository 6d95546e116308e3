"""Copying, diversity and held-out loss, their weight in the selection, and the report."""

import cv2
import numpy as np
import pytest

from functions.train.chart import HEIGHT, draw_panel, draw_report
from functions.train.metrics import expected_best_similarity, measure_copying, measure_diversity
from functions.train.selection import CheckpointSelection
from functions.train.validation import Evaluation


def trial(step, score, level=100, **measures):
    pictures = [np.full((8, 8, 3), level + row, np.uint8) for row in range(2)]
    return Evaluation(step, pictures, [score, score], **measures)


def chosen(*trials, base=None):
    selection = CheckpointSelection(base or trial(0, 0.1, level=0))
    for one in trials:
        selection.offer(one, {})
    return selection


def test_a_portrait_of_the_person_copies_nothing_however_many_photos_were_trained_on():
    generator = np.random.default_rng(1)
    figures = [
        measure_copying(list(generator.normal(0.6, 0.05, 12)), list(generator.normal(0.6, 0.05, 2))) for _ in range(400)
    ]
    assert np.mean(figures) == pytest.approx(0, abs=0.01)


def test_a_portrait_next_to_one_photo_of_the_training_is_a_copy():
    assert measure_copying([0.95, 0.55, 0.6], [0.58, 0.56, 0.6]) > 0.3
    assert measure_copying([0.95], []) is None


def test_the_expected_best_of_some_draws():
    assert expected_best_similarity([1.0, 2.0, 3.0], 1) == 2.0
    assert expected_best_similarity([3.0, 1.0, 2.0], 3) == 3.0
    assert expected_best_similarity([1.0, 2.0, 3.0], 2) == pytest.approx((2 + 3 + 3) / 3)


def test_diversity_is_the_mean_difference_of_pictures():
    assert measure_diversity([np.full((4, 4, 3), level, np.uint8) for level in (10, 14, 22)]) == 8
    assert measure_diversity([np.zeros((4, 4, 3), np.uint8)]) is None


def test_a_copying_checkpoint_loses_to_an_honest_one():
    selection = chosen(trial(50, 0.6, copying=0.02), trial(100, 0.7, copying=0.3))
    assert selection.chosen.trial.step == 50
    selection = chosen(trial(50, 0.7, copying=0.3))
    assert "more similar to a training photo" in selection.warnings()[0]


def test_a_checkpoint_past_the_least_loss_on_photos_held_out_loses():
    base = trial(0, 0.1, level=0, held_out_loss=1.0)
    honest = trial(50, 0.60, held_out_loss=0.8)
    selection = chosen(honest, trial(100, 0.62, held_out_loss=0.9), base=base)
    assert selection.chosen.trial is honest
    assert selection.warnings() == [
        "the loss on the held-out photos had risen by 12% at the end: step 50 was kept; fewer steps are enough"
    ]
    assert chosen(honest, trial(100, 0.62, held_out_loss=0.79), base=base).chosen.trial.step == 100


def test_a_checkpoint_that_paints_one_picture_only_loses():
    base = trial(0, 0.1, level=0, diversity=40.0)
    selection = chosen(trial(50, 0.60, diversity=25.0), trial(100, 0.65, diversity=4.0), base=base)
    assert selection.chosen.trial.step == 50
    assert "all alike" in chosen(trial(100, 0.65, diversity=4.0), base=base).warnings()[0]


def test_the_report_shows_curves_above_the_sheet():
    selection = chosen(trial(50, 0.6, held_out_loss=0.8), trial(100, 0.7, held_out_loss=0.7))
    picture = cv2.imdecode(np.frombuffer(draw_report(selection, [(10, 0.5), (20, 0.4)], 100), np.uint8), 1)
    assert picture.shape[0] > 3 * HEIGHT
    assert draw_report(selection, [], 100)


def test_a_panel_goes_from_the_first_value_down_to_the_last():
    drawn = draw_panel("loss", [(0, 1.0), (100, 0.0)], 480, 100).astype(int)
    line = np.abs(drawn - (40, 90, 180)).sum(axis=2) < 60
    rows, columns = np.nonzero(line)
    assert np.corrcoef(rows, columns)[0, 1] > 0.99
    assert draw_panel("flat", [(10, 0.5)], 480, 100).shape == (HEIGHT, 480, 3)
