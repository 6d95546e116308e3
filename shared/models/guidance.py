"""Classifier-free guidance, the same for every family."""

import torch


def guide(without: torch.Tensor, with_words: torch.Tensor, scale: float) -> torch.Tensor:
    """Return the prediction under classifier-free guidance (Ho & Salimans, 2022), of the same shape.

    Args:
        without, with_words: predicted for the negative prompt and for the prompt.
        scale: 1 returns the prediction for the prompt.
    """
    return without + scale * (with_words - without)
