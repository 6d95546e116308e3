"""Validation: a few pictures made with the adapter's current weights, and how much they look like the person."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from functions.train.held_out_loss import HeldOutLoss
from functions.train.latents import decode
from functions.train.metrics import measure_copying, measure_diversity
from functions.train.sampling import PromptEmbeddings, sample_pictures
from shared.errors import PictureFailed, RequestError, TrainingDiverged
from shared.faces import FaceEngine, FaceError
from shared.faces.base import largest, similarity
from shared.imaging.array_types import Embedding, Image
from shared.models.base_model import DiffusionModel
from shared.models.residency import present

STRENGTH = 0.6  # denoising strength from a photo: the facial features come from the model, the pose from the photo
STEPS = 12  # of DDIM; more steps sharpen the picture and do not change whom it shows
FROM_NOISE = 2  # pictures from noise, which show what the adapter knows without a photo
SEED = 1234  # the same noise at every checkpoint, so that only the adapter makes scores differ
KEPT_SIDE = 192  # longest side in pixels of the pictures kept for the validation sheet


@dataclass(frozen=True, eq=False)
class ValidationStart:
    """A photo that a validation picture starts from.

    Attributes:
        latents: the photo's latents, (C, h, w).
        others: face vectors of the person's other photos, with which the picture is compared.
        held_out: those of them that are held out of the training.
    """

    latents: torch.Tensor
    others: list[Embedding]
    held_out: list[Embedding]


@dataclass(frozen=True, eq=False)
class ValidationFaces:
    """The face vectors of the person's photos.

    Attributes:
        trained: of the photos that the updates see.
        held_out: of the photos that they do not see.
    """

    trained: list[Embedding]
    held_out: list[Embedding]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The validation pictures of one checkpoint with their scores.

    Attributes:
        step: number of updates before the checkpoint; 0 is the base model.
        pictures: RGB uint8, at most 192 pixels a side.
        similarities: similarity of each picture to the person, in [0, 1]; None for a picture without a face.
        copying: mean of `metrics.measure_copying` over the pictures; None if no photo is held out.
        diversity: `metrics.measure_diversity` of the pictures from noise.
        held_out_loss: see `HeldOutLoss`; None if no photo is held out.
    """

    step: int
    pictures: list[Image]
    similarities: list[float | None]
    copying: float | None = None
    diversity: float | None = None
    held_out_loss: float | None = None

    @property
    def faces(self) -> int:
        """Number of pictures with a face."""
        return sum(score is not None for score in self.similarities)

    @property
    def similarity(self) -> float | None:
        """Mean similarity over all pictures, where one without a face counts as 0; None if no picture has a face."""
        if not self.faces:
            return None
        return float(np.mean([score or 0.0 for score in self.similarities]))


class Validator:
    """Makes and scores validation pictures with the model that is being trained; nothing is loaded or merged.

    Args:
        model: the base model with the adapter on its denoiser.
        engine: finds and compares faces.
        words: the prompts.
        starts: photos to start from; the `others` of each do not include the photo itself.
        faces: pictures from noise are compared with the held-out faces, or with all faces if none is held out.
        probe: measures the held-out loss; None if no photo is held out.
    """

    def __init__(
        self,
        model: DiffusionModel,
        engine: FaceEngine,
        words: PromptEmbeddings,
        starts: Sequence[ValidationStart],
        faces: ValidationFaces,
        probe: HeldOutLoss | None = None,
    ) -> None:
        self._model, self._engine, self._words = model, engine, words
        self._trained, self._probe = faces.trained, probe
        self._starts = torch.stack([start.latents for start in starts])
        free = (faces.held_out or faces.trained, faces.held_out)
        self._compared = [*((start.others, start.held_out) for start in starts), *[free] * FROM_NOISE]
        generator = torch.Generator(self._starts.device).manual_seed(SEED)
        shape = (len(self._compared), *self._starts.shape[1:])
        self._noise = torch.randn(shape, generator=generator, device=self._starts.device)

    def __call__(self, step: int) -> Evaluation:
        """Make and score the pictures with the adapter's current weights, after `step` updates.

        Raises:
            TrainingDiverged: the pictures have values that are not finite.
            PictureFailed: the same at step 0: not the training has failed but the base model.
        """
        count = len(self._starts)
        over = sample_pictures(self._model, self._words, self._starts, self._noise[:count], STRENGTH, STEPS)
        free = sample_pictures(self._model, self._words, self._noise[count:], self._noise[count:], 1.0, STEPS)
        made = torch.cat([over, free])
        if not made.isfinite().all():
            raise _not_finite(step)
        with present(self._model.device, self._model.autoencoder):
            pictures = decode(self._model, made)
        shown = [self._embed(picture) for picture in pictures]
        scores = [self._likeness(face, person) for face, (person, _) in zip(shown, self._compared, strict=True)]
        copied = [self._copying(face, held_out) for face, (_, held_out) in zip(shown, self._compared, strict=True)]
        return Evaluation(
            step,
            [_small(picture) for picture in pictures],
            scores,
            _mean([one for one in copied if one is not None]),
            measure_diversity([_small(picture) for picture in pictures[count:]]),
            self._probe() if self._probe else None,
        )

    def _embed(self, picture: Image) -> Embedding | None:
        try:
            faces = self._engine.detect(picture)
            return self._engine.embed(picture, largest(faces)) if faces else None
        except FaceError:
            return None

    def _likeness(self, shown: Embedding | None, person: Sequence[Embedding]) -> float | None:
        return None if shown is None else _mean(self._similarities(shown, person))

    def _copying(self, shown: Embedding | None, held_out: Sequence[Embedding]) -> float | None:
        if shown is None:
            return None
        return measure_copying(self._similarities(shown, self._trained), self._similarities(shown, held_out))

    def _similarities(self, shown: Embedding, faces: Sequence[Embedding]) -> list[float]:
        return [similarity(self._engine, self._engine.distance(shown, face)) for face in faces]


def measure_change(a: Evaluation, b: Evaluation) -> float:
    """Return the mean absolute difference between the pictures of two evaluations, in levels of 255."""
    pairs = zip(a.pictures, b.pictures, strict=True)
    return float(np.mean([np.abs(one.astype(np.int16) - other).mean() for one, other in pairs]))


def _not_finite(step: int) -> RequestError:
    if step == 0:
        return PictureFailed("the base model's validation pictures are not finite: check the worker's base model")
    return TrainingDiverged("the validation pictures are not finite")


def _mean(scores: Sequence[float]) -> float | None:
    return float(np.mean(scores)) if scores else None


def _small(picture: Image) -> Image:
    scale = KEPT_SIDE / max(picture.shape[:2])
    if scale >= 1:
        return picture
    small: Image = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return small
