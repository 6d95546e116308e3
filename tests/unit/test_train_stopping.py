"""When a training ends before its last step."""

import math
from itertools import pairwise

import pytest
import torch

from functions.train.loss_history import LossHistory
from functions.train.optimizer_steps import OptimizerStep
from functions.train.stopping import find_overfitting, require_converging, require_finite, require_sane
from functions.train.validation import Evaluation
from shared.errors import TrainingDiverged

RISING = (1.0, 0.8, 0.7, 0.72, 0.74, 0.78)


def course(likeness, held_out, spacing=50):
    """The base model's evaluation and those of the checkpoints."""
    return [
        Evaluation(index * spacing, [], [score], held_out_loss=loss)
        for index, (score, loss) in enumerate(zip(likeness, held_out, strict=True))
    ]


def stops(likeness, held_out, patience=3):
    """The step at which a training with these evaluations ends; None if it goes to its last step."""
    trials = course(likeness, held_out)
    found = [find_overfitting(trials[: count + 1], patience) for count in range(len(trials))]
    return next((stop.step for stop in found if stop), None)


def losses_of(*values):
    """The history of updates with these losses, read as in a training without checkpoints."""
    history = LossHistory()
    for index, value in enumerate(values):
        history.add(OptimizerStep(index + 1, torch.tensor(value)), now=False)
    return history


def test_it_ends_when_likeness_has_not_risen_for_three_checkpoints_and_the_held_out_loss_rises():
    trials = course((0.3, 0.5, 0.6, 0.55, 0.6, 0.58), RISING)
    assert [bool(find_overfitting(trials[:count], 3)) for count in range(7)] == [False] * 6 + [True]
    stop = find_overfitting(trials, 3)
    assert (stop.step, stop.reason) == (250, "overfitting")
    assert "above 0.60 for 3 checkpoints" in stop.message
    assert "11.4% above its minimum" in stop.message


def test_it_goes_on_while_either_of_the_two_still_improves():
    assert stops((0.3, 0.5, 0.6, 0.55, 0.61, 0.58), RISING) is None, "likeness rose"
    assert stops((0.3, 0.5, 0.6, 0.55, 0.6, 0.58), (1.0, 0.8, 0.7, 0.69, 0.68, 0.67)) is None, "the loss falls"
    assert stops((0.3, 0.5, 0.6, 0.55, 0.6, 0.58), (1.0, 0.8, 0.7, 0.9, 0.75, 0.7)) is None, "back at its minimum"


def test_it_ends_if_nothing_ever_came_up_to_the_base_model():
    assert stops((0.6, 0.5, 0.5, 0.5, 0.5), (1.0, 1.1, 1.1, 1.2, 1.2)) == 150


def test_a_checkpoint_without_a_face_is_no_rise_and_a_training_without_any_face_goes_on():
    assert stops((0.3, 0.6, None, None, None, None), RISING) == 200
    assert stops((None,) * 6, RISING) is None


def test_without_held_out_photos_it_goes_on():
    assert stops((0.3, 0.6, 0.5, 0.5, 0.5, 0.5), (None,) * 6) is None


@pytest.mark.parametrize(("patience", "step"), [(0, None), (1, 150), (2, 200), (3, 250), (4, None)])
def test_patience_says_how_many_checkpoints_are_waited_for(patience, step):
    assert stops((0.3, 0.5, 0.6, 0.55, 0.6, 0.58), RISING, patience) == step


def test_a_loss_that_is_not_finite_is_divergence():
    require_converging(losses_of(*[0.5] * 10))
    for bad in (math.nan, math.inf):
        with pytest.raises(TrainingDiverged, match="no longer finite"):
            require_converging(losses_of(*[0.5] * 9, bad))


def test_a_loss_that_grows_without_bound_is_divergence_and_a_noisy_one_is_not():
    generator = torch.Generator().manual_seed(0)
    noisy = torch.empty(400).exponential_(2.0, generator=generator).tolist()
    for count in range(0, 400, 10):
        require_converging(losses_of(*noisy[:count]))
    with pytest.raises(TrainingDiverged, match=r"4\.\d times"):
        require_converging(losses_of(*noisy[:100], *(4 * loss for loss in noisy[:20])))
    require_converging(losses_of(*[0.1] * 20, *[9.0] * 10))  # too few to tell


def test_growth_compares_the_last_updates_with_the_first_however_they_were_read():
    values = [1.0] * 20 + [5.0] * 30 + [2.0] * 20
    assert losses_of(*values).growth() == pytest.approx(2.0)
    history = LossHistory([(5, 1.0), (20, 1.0), (50, 5.0), (53, 2.0), (70, 2.0)])
    assert history.growth() == pytest.approx(2.0)
    assert LossHistory([(10, 1.0), (30, 9.0)]).growth() is None


def test_weights_that_are_not_finite_are_divergence():
    require_finite({"a": torch.ones(3)})
    for bad in (math.nan, -math.inf):
        with pytest.raises(TrainingDiverged):
            require_finite({"a": torch.ones(3), "b": torch.tensor([0.0, bad])})


def test_a_held_out_loss_that_explodes_is_divergence_and_overfitting_is_not():
    base, *checkpoints = course((0.5,) * 5, (0.2, 0.15, 0.25, 0.5, math.nan))
    for trial in checkpoints[:2]:
        require_sane(trial, base)
    for trial in checkpoints[2:]:
        with pytest.raises(TrainingDiverged, match="held-out photos"):
            require_sane(trial, base)


def test_the_decision_is_made_once():
    """No training goes on after a checkpoint at which it should have ended, so the first such checkpoint counts."""
    trials = course((0.3, 0.6, 0.5, 0.5, 0.5, 0.7), (1.0, 0.7, 0.8, 0.8, 0.8, 0.6))
    decided = [find_overfitting(trials[:count], 3) is not None for count in range(1, 7)]
    assert [after for before, after in pairwise(decided) if before] == [False]
