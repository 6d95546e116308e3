"""The diffusion loss, its weights and its mask."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import DDIMScheduler

from functions.train.loss import DiffusionLoss
from shared.models.conditioning import TextStates
from shared.models.unet_objective import LEAST, UNetObjective, weights

CPU = torch.device("cpu")


def scheduler(prediction, zero_snr=False):
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type=prediction,
        rescale_betas_zero_snr=zero_snr,
        clip_sample=False,
        steps_offset=1,
    )


def batch(count=4):
    generator = torch.Generator().manual_seed(0)
    latents, noise = torch.randn(2, count, 16, 8, 8, generator=generator)
    return latents, noise, torch.tensor([0, 300, 700, 999][:count]), TextStates(torch.zeros(1, 3, 8))


def loss_of(made, answer):
    """The loss of a base model that predicts what it is told to."""
    model = SimpleNamespace(dtype=torch.float32, predict=lambda noisy, times, words: answer)
    return DiffusionLoss(model, UNetObjective(made, 5.0, CPU))


def truth(kind, made, latents, noise, times):
    return {"epsilon": noise, "sample": latents, "v_prediction": made.get_velocity(latents, noise, times)}[kind]


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_perfect_prediction_costs_nothing(prediction):
    made = scheduler(prediction)
    latents, noise, times, states = batch()
    answer = truth(prediction, made, latents, noise, times)
    loss = loss_of(made, answer)(latents, noise, times, states, torch.ones(4, 1, 8, 8))
    assert loss == 0


def test_all_predictions_weigh_the_clean_pictures_error_alike():
    """The same error of the clean picture has the same loss, whatever the base model predicts."""
    signal = scheduler("epsilon").alphas_cumprod.double()
    snr = signal / (1 - signal)
    clean = weights(signal, 5.0, "sample").double()
    assert torch.allclose(weights(signal, 5.0, "epsilon") * snr, clean, rtol=1e-5)
    velocity = weights(signal, 5.0, "v_prediction").double()
    above = (velocity > LEAST + 1e-6) | (snr > 1)
    assert above.sum() > 500
    assert torch.allclose((velocity * (snr + 1))[above], clean[above], rtol=1e-5)


def test_more_signal_than_gamma_does_not_count_more():
    signal = torch.tensor([0.999, 0.9, 0.5])
    assert weights(signal, 5.0, "sample").tolist() == pytest.approx([5.0, 5.0, 1.0])


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_pure_noise_has_a_weight_that_trains(prediction):
    signal = scheduler(prediction, zero_snr=True).alphas_cumprod
    assert signal[-1] == 0
    made = weights(signal, 5.0, prediction)
    assert torch.isfinite(made).all()
    assert made[-1] >= LEAST


def test_an_unknown_prediction_is_refused_by_name():
    with pytest.raises(ValueError, match="flow"):
        weights(torch.tensor([0.5]), 5.0, "flow")


def test_what_the_mask_leaves_out_costs_nothing():
    made = scheduler("epsilon")
    latents, noise, times, states = batch()
    wrong_left = noise.clone()
    wrong_left[..., :4] += 3.0
    loss = loss_of(made, wrong_left)
    left, right = torch.zeros(2, 4, 1, 8, 8)
    left[..., :4], right[..., 4:] = 1, 1
    assert loss(latents, noise, times, states, right) == 0
    assert loss(latents, noise, times, states, left) > 1


def test_a_small_face_weighs_as_much_as_a_large_one():
    made = scheduler("epsilon")
    latents, noise, times, states = batch()
    small = torch.zeros(4, 1, 8, 8)
    small[..., :2, :2] = 1
    loss = loss_of(made, noise + 1.0)
    args = (latents, noise, times, states)
    assert loss(*args, small) == pytest.approx(float(loss(*args, torch.ones(4, 1, 8, 8))), rel=1e-5)
