"""What the updates see, and how fast they go."""

import torch

from functions.train.plan import TrainingPlan
from functions.train.updates import order, pace, spread


def test_every_crop_is_seen_once_before_any_comes_again():
    walk = order(rows=10, batch=4, steps=5, seed=1).flatten().tolist()
    assert sorted(walk[:10]) == list(range(10))
    assert sorted(walk[10:]) == list(range(10))
    assert walk[:10] != walk[10:]


def test_the_order_follows_the_seed():
    assert torch.equal(order(10, 4, 5, seed=1), order(10, 4, 5, seed=1))
    assert not torch.equal(order(10, 4, 5, seed=1), order(10, 4, 5, seed=2))


def test_one_batch_spans_the_noise_levels():
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        times = spread(4, 1000, generator)
        assert sorted((times // 250).tolist()) == [0, 1, 2, 3]


def test_every_place_of_a_batch_meets_every_noise_level():
    generator = torch.Generator().manual_seed(0)
    first = torch.stack([spread(4, 1000, generator)[0] for _ in range(400)])
    assert first.min() < 20
    assert first.max() > 980


def test_the_rate_rises_then_falls_to_its_rest():
    plan = TrainingPlan(warm_up=10, final_rate=0.1)
    rates = [pace(step, 400, plan) for step in range(400)]
    assert rates[0] < 0.1
    assert max(rates) == max(rates[10:20])
    assert 0.1 <= rates[-1] < 0.11
