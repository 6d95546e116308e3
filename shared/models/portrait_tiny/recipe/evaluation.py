"""Evaluates a finished pipeline on the held-out portraits with stock diffusers pipelines, and writes picture sheets."""

import logging
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from PIL import Image as Pictures

from shared.faces.base import Face, FaceEngine, largest
from shared.imaging.array_types import Image
from shared.models.diffusion import PROFILE_FILE, ModelProfile
from shared.models.portrait_tiny.recipe.autoencoder import held_out_psnr
from shared.models.portrait_tiny.recipe.portraits import Portraits, caption, crop_center

log = logging.getLogger(__name__)

STRENGTHS = (0.30, 0.45, 0.60)
STEPS = 50
ENLARGED = 4  # times; dlib finds no face below 80 px, and at the working size a face has 55
SHOWN = 16


@dataclass(frozen=True)
class Figures:
    """The figures for the model's README.

    Attributes:
        psnr: PSNR of the autoencoder on the held-out portraits, in dB.
        distances: median face distance between original and img2img by strength; 0 is the autoencoder alone.
        lost: number of held-out portraits by strength in which the engine no longer finds a face.
        faces_from_noise: number of the 16 samples in which the engine finds a face.
    """

    psnr: float
    distances: dict[float, float]
    lost: dict[float, int]
    faces_from_noise: int


def evaluate(folder: Path, portraits: Portraits, engine: FaceEngine, out: Path) -> Figures:
    """Measure the pipeline in `folder`, and write `img2img.png` and `samples.png` to `out`."""
    working = ModelProfile.model_validate_json((folder / PROFILE_FILE).read_text())
    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    originals = [crop_center(canvas) for canvas in portraits.canvases[portraits.training :]]
    painted = {0.0: _reconstruct(pipeline, originals)} | {
        strength: _repaint(pipeline, originals, strength, working.guidance) for strength in STRENGTHS
    }
    distances = {
        strength: [_distance(engine, *pair) for pair in zip(originals, images, strict=True)]
        for strength, images in painted.items()
    }
    samples = _samples(pipeline, working.guidance)
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "img2img.png", [originals[:SHOWN], *(images[:SHOWN] for images in painted.values())])
    _write(out / "samples.png", [samples[: SHOWN // 2], samples[SHOWN // 2 :]])
    return Figures(
        psnr=held_out_psnr(pipeline.vae, portraits),
        distances={
            strength: float(np.median([one for one in found if one is not None]))
            for strength, found in distances.items()
        },
        lost={strength: sum(one is None for one in found) for strength, found in distances.items()},
        faces_from_noise=sum(_face(engine, sample) is not None for sample in samples),
    )


@torch.no_grad()
def _reconstruct(pipeline: StableDiffusionPipeline, images: list[Image]) -> list[Image]:
    pixels = pipeline.image_processor.preprocess([Pictures.fromarray(image) for image in images])
    decoded = pipeline.vae.decode(pipeline.vae.encode(pixels).latents).sample
    return [np.asarray(picture) for picture in pipeline.image_processor.postprocess(decoded)]


def _repaint(pipeline: StableDiffusionPipeline, images: list[Image], strength: float, guidance: float) -> list[Image]:
    repaint = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
    repaint.set_progress_bar_config(disable=True)
    painted = repaint(
        prompt=[caption(0, False).rpartition(",")[0]] * len(images),
        image=[Pictures.fromarray(image) for image in images],
        strength=strength,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(0),
    ).images
    return [np.asarray(picture) for picture in painted]


def _samples(pipeline: StableDiffusionPipeline, guidance: float) -> list[Image]:
    prompts = [caption(0, bool(index % 2)) for index in range(SHOWN)]
    made = pipeline(
        prompts, num_inference_steps=STEPS, guidance_scale=guidance, generator=torch.Generator().manual_seed(0)
    ).images
    return [np.asarray(picture) for picture in made]


def _face(engine: FaceEngine, image: Image) -> tuple[Image, Face] | None:
    large = cv2.resize(image, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)
    faces = engine.detect(large)
    return (large, largest(faces)) if faces else None


def _distance(engine: FaceEngine, original: Image, painted: Image) -> float | None:
    before, after = _face(engine, original), _face(engine, painted)
    if before is None or after is None:
        return None
    return engine.distance(engine.embed(*before), engine.embed(*after))


def _write(path: Path, rows: list[list[Image]]) -> None:
    sheet = np.vstack([np.hstack(row) for row in rows])
    Pictures.fromarray(cv2.resize(sheet, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)).save(path)
