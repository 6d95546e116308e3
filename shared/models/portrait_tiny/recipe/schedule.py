"""Stable Diffusion's noise schedule, adapted to small pictures.

Less noise destroys a small picture than a large one, so the same denoising strength would change it more. Adding
2 ln(512 / size) to the log of the signal-to-noise ratio compensates for that ("simple diffusion", Hoogeboom et al.
2023; SD3, Esser et al. 2024). The last step is scaled to zero signal (Lin et al. 2023), so that samples start from pure
noise.
"""

import math

import torch
from diffusers import DDIMScheduler

from shared.models.portrait_tiny.recipe.portraits import SIZE

STEPS = 1000
REFERENCE = 512  # picture side in pixels for which Stable Diffusion's schedule was made


def signal_levels() -> torch.Tensor:
    """Return the share of signal variance (alpha bar) per timestep, float64, (1000,)."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, STEPS, dtype=torch.float64) ** 2
    original = torch.cumprod(1 - betas, 0)
    log_snr = torch.log(original / (1 - original)) + 2 * math.log(REFERENCE / SIZE)
    amplitude = torch.sigmoid(log_snr).sqrt()
    first, last = amplitude[0].clone(), amplitude[-1].clone()
    return ((amplitude - last) * first / (first - last)) ** 2


def scheduler() -> DDIMScheduler:
    """Return the schedule as a stock diffusers scheduler with explicit betas."""
    levels = signal_levels()
    betas = 1 - torch.cat([levels[:1], levels[1:] / levels[:-1]])
    return DDIMScheduler(
        num_train_timesteps=STEPS,
        trained_betas=betas.tolist(),
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,  # has no effect with trailing spacing; pipelines warn about any other value
    )
