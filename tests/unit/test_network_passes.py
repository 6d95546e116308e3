"""Which steps of a diffusion take a pass of the network, and what the others take."""

import math

import pytest
import torch

from shared.models.base_model import Schedule
from shared.models.network_passes import NetworkPasses


class Levels(Schedule):
    """A schedule that has nothing but its ratios of noise to signal."""

    def __init__(self, ratios):
        self._ratios, self.times = ratios, torch.zeros(len(ratios))

    def noise_over_signal(self, step):
        return self._ratios[step]

    def add_noise(self, latents, noise, step):
        raise NotImplementedError

    def scale_input(self, latents, step):
        raise NotImplementedError

    def step(self, predicted, latents, step, generators=None):
        raise NotImplementedError


def spaced(*logarithms):
    return Levels([math.exp(one) for one in logarithms])


def run(schedule, span, predictions=None, guided=()):
    """The steps that took a pass, and what each step got."""
    passes, made, got = NetworkPasses(schedule, span), [], []
    predictions = predictions or [float(step) for step in range(len(schedule))]

    def compute(step):
        made.append(step)
        return torch.tensor(predictions[step])

    for step in range(len(schedule)):
        got.append(passes.predict(step, step in guided, lambda step=step: compute(step)).item())
    return made, got


FINE = spaced(*(-0.1 * step for step in range(10)))


def test_without_a_span_each_step_takes_a_pass():
    assert run(FINE, None) == (list(range(10)), [float(step) for step in range(10)])


def test_a_pass_serves_the_steps_that_end_within_its_span():
    assert run(FINE, 0.35)[0] == [0, 3, 6]


def test_a_schedule_with_steps_as_long_as_the_span_takes_all_passes():
    assert run(spaced(0, -0.4, -0.9, -1.5), 0.35)[0] == [0, 1, 2, 3]


def test_what_changes_linearly_in_the_logarithm_is_continued_exactly():
    schedule = spaced(0, -0.1, -0.25, -0.3, -0.35, -0.6)
    straight = [3 - 2 * math.log(schedule.noise_over_signal(step)) for step in range(6)]
    made, got = run(schedule, 0.31, straight)
    assert made == [0, 3]
    assert got[:3] == pytest.approx([straight[0]] * 3)  # nothing is known but one pass
    assert got[3:] == pytest.approx(straight[3:])
    assert got[4] != pytest.approx(got[3])


def test_each_guided_step_takes_a_pass_and_nothing_follows_from_it():
    made, got = run(FINE, 0.35, guided={0, 1, 2})
    assert made == [0, 1, 2, 3, 6]
    assert got[4] == got[3]


def test_pure_noise_takes_a_pass():
    assert run(Levels([math.inf, math.inf, 2.0, 1.9]), 0.35)[0] == [0, 1, 2]


def test_nothing_is_continued_from_pure_noise():
    made, got = run(Levels([math.inf, 2.0, 1.9, 1.8]), 0.35)
    assert made == [0, 1]
    assert got == [0, 1, 1, 1]


def test_the_last_step_follows_from_a_pass_near_it():
    assert run(spaced(0, -0.4, -0.45), 0.35)[0] == [0, 1]
