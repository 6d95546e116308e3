"""The validation pictures of one checkpoint as a file, for whoever looks while the training runs."""

import cv2
import numpy as np

from functions.train.validation import Evaluation
from shared.contract import keys
from shared.contract.workspace import Workspace

QUALITY = 88  # of the JPEG; about 20 KB for five pictures


def save_pictures(trial: Evaluation, workspace: Workspace) -> str:
    """Save the pictures of a validation, one below the other as in the sheet, and return the key."""
    column = cv2.cvtColor(np.vstack(trial.pictures), cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", column, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return workspace.save(keys.validation_pictures(trial.step), encoded.tobytes())
