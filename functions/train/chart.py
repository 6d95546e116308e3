"""The training report as a picture: loss and similarity by step, and the validation pictures of each checkpoint."""

from collections.abc import Sequence

import cv2
import numpy as np

from functions.train.image_grid import INK, MARK, count_columns, encode_png
from functions.train.loss_history import Curve
from functions.train.selection import CheckpointSelection
from shared.imaging.array_types import Image

HEIGHT, LEAST_WIDTH = 260, 480  # of a panel, in pixels
LEFT, BELOW, ABOVE, RIGHT = 64, 36, 36, 16  # margins around a panel's plot, in pixels
FAINT, LINE = (225, 225, 225), (40, 90, 180)


def draw_report(selection: CheckpointSelection, curve: Curve, best_step: int) -> bytes:
    """Return a PNG with panels for the loss, the held-out loss and the similarity above the validation sheet."""
    pictures = count_columns(selection.trials, best_step)
    width = max(pictures.shape[1], LEAST_WIDTH)
    similarities = [(trial.step, trial.similarity) for trial in selection.trials if trial.similarity is not None]
    held_out = [(trial.step, trial.held_out_loss) for trial in selection.trials if trial.held_out_loss is not None]
    panels = [draw_panel("loss", curve, width, best_step), draw_panel("similarity", similarities, width, best_step)]
    if held_out:
        panels.insert(1, draw_panel("loss on held-out photos", held_out, width, best_step))
    wide = np.full((pictures.shape[0], width, 3), 255, np.uint8)
    wide[:, : pictures.shape[1]] = pictures
    return encode_png(np.vstack([*panels, wide]))


def draw_panel(title: str, points: Sequence[tuple[int, float]], width: int, best_step: int) -> Image:
    """Draw one curve with its axes and a green line at the chosen step; RGB uint8, (HEIGHT, width, 3)."""
    canvas = np.full((HEIGHT, width, 3), 255, np.uint8)
    _text(canvas, title, (LEFT, 22), 0.5)
    if not points:
        _text(canvas, "nothing measured", (LEFT, HEIGHT // 2), 0.45)
        return canvas
    values = [value for _, value in points]
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    last = max(step for step, _ in points) or 1
    inner = width - LEFT - RIGHT, HEIGHT - ABOVE - BELOW

    def at(step: float, value: float) -> tuple[int, int]:
        return (
            round(LEFT + inner[0] * step / last),
            round(ABOVE + inner[1] * (1 - (value - low) / (high - low))),
        )

    for share in (0.0, 0.5, 1.0):
        value, step = low + share * (high - low), round(share * last)
        cv2.line(canvas, at(0, value), at(last, value), FAINT, 1)
        _text(canvas, f"{value:.3g}", (6, at(0, value)[1] + 4))
        _text(canvas, str(step), (at(step, low)[0] - 10, HEIGHT - 12))
    if best_step <= last:
        cv2.line(canvas, at(best_step, low), at(best_step, high), MARK, 1)
    placed = np.array([at(step, value) for step, value in points], np.int32)
    cv2.polylines(canvas, [placed], False, LINE, 2, cv2.LINE_AA)
    for x, y in placed if len(placed) < 60 else ():
        cv2.circle(canvas, (int(x), int(y)), 3, LINE, cv2.FILLED, cv2.LINE_AA)
    return canvas


def _text(canvas: Image, text: str, at: tuple[int, int], size: float = 0.4) -> None:
    cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, INK, 1, cv2.LINE_AA)
