"""The validation sheet, for people to look at: one column per checkpoint, one row per picture."""

from collections.abc import Sequence

import cv2
import numpy as np

from functions.train.validation import Evaluation
from shared.imaging.array_types import Image

MARGIN = 48  # height of the label above each column, in pixels
INK, MARK = (40, 40, 40), (20, 130, 40)


def draw_grid(trials: Sequence[Evaluation], best_step: int) -> bytes:
    """Return the validation sheet as a PNG; the label of the chosen checkpoint is green."""
    return encode_png(count_columns(trials, best_step))


def count_columns(trials: Sequence[Evaluation], best_step: int) -> Image:
    """Return the validation sheet as an RGB picture, one labeled column per evaluation."""
    return np.hstack([np.vstack([_label(trial, trial.step == best_step), *trial.pictures]) for trial in trials])


def encode_png(image: Image) -> bytes:
    """Return an RGB picture as the bytes of a PNG file."""
    return bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1])


def _label(trial: Evaluation, chosen: bool) -> Image:
    label = np.full((MARGIN, trial.pictures[0].shape[1], 3), 255, np.uint8)
    score = "no face" if trial.similarity is None else f"{trial.similarity:.3f}"
    for line, text in enumerate([f"step {trial.step}" if trial.step else "base", score]):
        at = (6, 18 + 20 * line)
        cv2.putText(label, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, MARK if chosen else INK, 1, cv2.LINE_AA)
    return label
