"""The selection of the checkpoint to keep."""

import numpy as np
import torch

from functions.train.selection import CheckpointSelection
from functions.train.validation import Evaluation, measure_change


def trial(step, scores, level=100):
    return Evaluation(step, [np.full((8, 8, 3), level, np.uint8) for _ in scores], list(scores))


def offered(*trials, base=None):
    selection = CheckpointSelection(base or trial(0, (0.1, 0.1), level=0))
    for one in trials:
        selection.offer(one, {"step": torch.tensor(one.step)})
    return selection


def test_the_checkpoint_most_like_the_person_is_kept():
    selection = offered(trial(50, (0.4, 0.5)), trial(100, (0.6, 0.7)), trial(150, (0.6, 0.6)))
    assert selection.chosen.trial.step == 100
    assert selection.chosen.weights["step"] == 100
    assert selection.warnings() == []


def test_a_picture_without_a_face_counts_as_unlike():
    """One lucky picture does not outweigh three broken ones."""
    selection = offered(trial(50, (0.5, 0.5, 0.5, 0.5)), trial(100, (0.9, None, None, None)))
    assert selection.chosen.trial.step == 50


def test_without_any_face_the_last_checkpoint_is_kept_and_the_answer_says_so():
    selection = offered(trial(50, (None, None)), trial(100, (None, None)), base=trial(0, (None, None), level=0))
    assert selection.chosen.trial.step == 100
    assert "no face" in selection.warnings()[0]


def test_a_checkpoint_with_a_face_wins_over_a_later_one_without():
    selection = offered(trial(50, (0.2, None)), trial(100, (None, None)))
    assert selection.chosen.trial.step == 50


def test_an_adapter_that_moved_nothing_is_reported():
    selection = offered(trial(50, (0.5, 0.5), level=100), base=trial(0, (0.1, 0.1), level=100))
    assert "train for more steps" in selection.warnings()[0]


def test_no_gain_over_the_base_model_is_reported():
    selection = offered(trial(50, (0.3, 0.3)), base=trial(0, (0.4, 0.4), level=0))
    assert "than the base model (0.40)" in selection.warnings()[0]


def test_nothing_offered_is_nothing_chosen():
    assert offered().chosen is None


def test_change_is_the_mean_difference_in_levels():
    assert measure_change(trial(0, (None,), level=10), trial(1, (None,), level=14)) == 4
