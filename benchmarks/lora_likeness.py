"""Measures how near a base model's pictures come to a person, with and without a LoRA of the default length.

    python -m benchmarks.lora_likeness PHOTO... [--steps 400] [--strengths 0.6 0.8] [--sheet sheet.png]

The training runs through the whole path in memory. Then stock diffusers pipelines make 16 samples from noise and 16
pictures from other people's faces (in pictures that packages ship), with the same noise, once with the LoRA and once
without. The last row is the mean of the paired differences with its standard error; a mean of more than twice the
standard error is unlikely to be chance.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from PIL import Image as Pictures

from shared.buckets import MemoryBucket
from shared.contract.manifests import Json
from shared.events import ObjectCreated
from shared.faces.base import FaceEngine, largest
from shared.faces.loading import load_engine
from shared.imaging.array_types import Embedding, Image
from shared.models.diffusion import folder_of, load_model
from shared.operations.client import Client
from shared.runtime.context import Context
from shared.settings import Settings
from tests import pictures

COUNT = 16
STEPS = 30
STRENGTH = 0.6  # first of the denoising strengths for other people's faces
ENLARGED = 4  # times; dlib finds no face below 80 px


def main() -> int:
    """Train, make the pictures, measure them and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--strengths", type=float, nargs="+", default=[STRENGTH, 0.8])
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    if not arguments.photos:
        print("skipped: give five or more photos of one person")
        return 0
    bucket, engine = MemoryBucket(), load_engine(Settings().faces)
    data = train(bucket, arguments.photos, arguments.steps)
    person = [embedding for photo in arguments.photos if (embedding := embed_largest(engine, read(photo))) is not None]
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder_of(Settings().model), safety_checker=None, dtype=torch.float32
    )
    working = load_model(Settings().model).working
    prompts = {"base": working.prompt.format(trigger=""), "LoRA": working.prompt.format(trigger=data["trigger"])}
    before = {name: value.clone() for name, value in pipeline.unet.state_dict().items()}
    rows = {}
    for name, prompt in prompts.items():
        if name == "LoRA":
            Path("out").mkdir(exist_ok=True)
            Path("out/likeness.safetensors").write_bytes(bucket.get(data["lora"]))
            pipeline.load_lora_weights("out/likeness.safetensors")
        starts = strangers(engine, working.framing, working.size)
        rows[name] = paint(pipeline, " ".join(prompt.split()), working.guidance, starts, arguments.strengths)
    pipeline.unload_lora_weights()
    untouched = all(torch.equal(value, before[name]) for name, value in pipeline.unet.state_dict().items())
    report(rows, engine, person)
    print(f"chosen: step {data['best_step']} of {data['steps']}; base weights untouched: {untouched}")
    if arguments.sheet:
        sheet = np.vstack([np.hstack(images) for kinds in rows.values() for images in kinds.values()])
        Pictures.fromarray(sheet).resize((sheet.shape[1] * 2, sheet.shape[0] * 2)).save(arguments.sheet)
    return 0


def train(bucket: MemoryBucket, photos: Sequence[Path], steps: int) -> Json:
    """Train through the whole path and return the answer's data; exits if the training fails."""
    client = Client(bucket)
    configure = {"user_id": "person", "max_train_steps": steps, "val_save_checkpointing_steps": max(1, steps // 4)}
    body = {"request_id": "r", "images": [client.reference(str(photo)) for photo in photos], "configure": configure}
    client.submit("train", body)
    Context(bucket, Settings()).invocation("train").receive(ObjectCreated("requests/train/r.json"))
    answer = client.wait("train", "r", timeout_seconds=1)
    if answer["code"] != "OK":
        sys.exit(answer["message"])
    data: Json = answer["data"]
    return data


def paint(
    pipeline: StableDiffusionPipeline, prompt: str, guidance: float, starts: list[Image], strengths: Sequence[float]
) -> dict[str, list[Image]]:
    """Make 16 pictures from noise, and at each strength 16 from other people's faces, always with the same noise."""
    over = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
    common = {"prompt": [prompt] * COUNT, "num_inference_steps": STEPS, "guidance_scale": guidance}
    for one in (pipeline, over):
        one.set_progress_bar_config(disable=True)
    made = {"from noise": pipeline(**common, generator=torch.Generator().manual_seed(0)).images}
    below = [Pictures.fromarray(face) for face in starts]
    for strength in strengths:
        generator = torch.Generator().manual_seed(0)
        made[f"over others, {strength:g}"] = over(image=below, strength=strength, **common, generator=generator).images
    return {title: [np.asarray(one) for one in images] for title, images in made.items()}


def strangers(engine: FaceEngine, framing: float, size: int) -> list[Image]:
    """Return eight faces in pictures that packages ship and their mirror images, framed as the model expects."""
    crops = []
    for picture in (pictures.group(), pictures.astronaut(), pictures.hopper()):
        for face in engine.detect(picture):
            side = face.box.square(framing)
            scale = size / side.width
            matrix = np.array([[scale, 0, -side.left * scale], [0, scale, -side.top * scale]])
            crops.append(
                cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)
            )
    return [*crops, *(np.ascontiguousarray(crop[:, ::-1]) for crop in crops)][:COUNT]


def report(rows: dict[str, dict[str, list[Image]]], engine: FaceEngine, person: Sequence[Embedding]) -> None:
    """Print the mean distances to the person, the numbers of pictures with a face, and what the LoRA has changed."""
    titles = list(next(iter(rows.values())))
    print(" " * 12 + "".join(f"{title:>22}" for title in titles) + f"   mean distance (faces of {COUNT})")
    measured = {
        name: {title: np.array([distance(engine, image, person) for image in kinds[title]]) for title in titles}
        for name, kinds in rows.items()
    }
    for name, columns in measured.items():
        cells = [f"{np.nanmean(far):.3f} ({np.isfinite(far).sum()})" for far in columns.values()]
        print(f"{name:<12}" + "".join(f"{cell:>22}" for cell in cells))
    base, lora = measured.values()
    changes = [lora[title] - base[title] for title in titles]
    found = [change[np.isfinite(change)] for change in changes]
    cells = [f"{one.mean():+.3f} +- {one.std(ddof=1) / len(one) ** 0.5:.3f}" for one in found]
    print(f"{'difference':<12}" + "".join(f"{cell:>22}" for cell in cells))


def distance(engine: FaceEngine, image: Image, person: Sequence[Embedding]) -> float:
    """Return the mean distance of a picture's face to the person's photos; NaN without a face."""
    shown = embed_largest(engine, enlarge(image))
    return float("nan") if shown is None else float(np.mean([engine.distance(shown, photo) for photo in person]))


def embed_largest(engine: FaceEngine, image: Image) -> Embedding | None:
    """Return the face vector of the largest face; None without a face."""
    faces = engine.detect(image)
    return engine.embed(image, largest(faces)) if faces else None


def enlarge(image: Image) -> Image:
    """Enlarge a picture enough for the detector."""
    return cv2.resize(image, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)


def read(path: Path) -> Image:
    """Read a photo as RGB."""
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


if __name__ == "__main__":
    sys.exit(main())
