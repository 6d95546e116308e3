"""The inputs of a training, computed from photos and prompt by the frozen parts of the base model before any update."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from functions.train.crops import STRAIGHT, Crop, Variation, cut, draw_variations
from functions.train.dataset import Photo
from functions.train.held_out_loss import HeldOutLoss
from functions.train.latents import CropKey, LatentCache, cache_latents, encode
from functions.train.loss import DiffusionLoss
from functions.train.plan import TrainingPlan
from functions.train.sampling import PromptEmbeddings
from functions.train.validation import ValidationFaces, ValidationStart, Validator
from shared.faces import FaceEngine
from shared.models.base_model import Conditioning, DiffusionModel
from shared.models.residency import present

TRIGGER = "sks"  # a single token for CLIP and for portrait-tiny; neither associates a person with it
VALIDATED = 2  # photos that validation pictures start from


@dataclass(frozen=True, eq=False)
class TrainingInputs:
    """What the updates learn from: the crops' latents, the prompt's conditioning, and the loss for the base model."""

    cache: LatentCache
    words: Conditioning
    loss: DiffusionLoss


def build_prompt(model: DiffusionModel) -> str:
    """Return the prompt that describes every picture of the person, in training and in generate."""
    return model.working.prompt.format(trigger=TRIGGER)


def embed_prompts(model: DiffusionModel) -> PromptEmbeddings:
    """Encode the prompts of a training, once; the text encoders are on the GPU only meanwhile."""
    with present(model.device, *model.encoders):
        return PromptEmbeddings(model.condition(build_prompt(model)), model.condition(model.working.negative_prompt))


def prepare_inputs(
    model: DiffusionModel, photos: dict[int, Photo], words: Conditioning, plan: TrainingPlan, steps: int
) -> TrainingInputs:
    """Cut and encode the crops to train on, no more than the updates can use.

    Args:
        model: the base model, whose autoencoder must be on its device.
        photos: the photos to train on, by their index among all photos.
        words: the prompt's conditioning.
        plan: says how many crops to make, and with which seed.
        steps: number of updates.
    """
    count = min(plan.crops, -(-steps * plan.pictures // (2 * len(photos))))
    size, framing = model.working.size, model.working.framing
    crops = {}
    for index, photo in photos.items():
        generator = np.random.default_rng([plan.seed, index])
        for number, variation in enumerate(draw_variations(count, generator)):
            key: CropKey = (index, number)
            crops[key] = cut(*photo.material, size, framing, plan.outside, variation)
    return TrainingInputs(cache_latents(model, crops), words, DiffusionLoss(model, model.objective(plan.gamma)))


def prepare_held_out_loss(
    model: DiffusionModel, photos: Sequence[Photo], aside: Sequence[int], learned: TrainingInputs, plan: TrainingPlan
) -> HeldOutLoss | None:
    """Prepare the loss on the held-out photos, each straight and mirrored; None if no photo is held out."""
    size, framing = model.working.size, model.working.framing
    crops: dict[CropKey, Crop] = {}
    for index in aside:
        for number, variation in enumerate((STRAIGHT, Variation(mirrored=True))):
            crops[index, number] = cut(*photos[index].material, size, framing, plan.outside, variation)
    return HeldOutLoss(cache_latents(model, crops), learned.words, learned.loss) if crops else None


def prepare_validator(
    model: DiffusionModel,
    engine: FaceEngine,
    photos: Sequence[Photo],
    aside: Sequence[int],
    words: PromptEmbeddings,
    probe: HeldOutLoss | None,
) -> Validator:
    """Prepare a validator that starts from the held-out photos, or else from the best ones.

    A picture that starts from a photo is compared with all other photos of the person.
    """
    size, framing = model.working.size, model.working.framing
    painted = [*aside, *(index for index in range(len(photos)) if index not in aside)][:VALIDATED]
    latents = encode(model, [cut(*photos[index].material, size, framing, 0).image for index in painted]).mean
    starts = []
    for row, index in enumerate(painted):
        others = [photo.embedding for other, photo in enumerate(photos) if other != index]
        starts.append(
            ValidationStart(latents[row], others, [photos[other].embedding for other in aside if other != index])
        )
    trained = [photo.embedding for index, photo in enumerate(photos) if index not in aside]
    faces = ValidationFaces(trained, [photos[index].embedding for index in aside])
    return Validator(model, engine, words, starts, faces, probe)
