"""Trained people without a training: photos, landmarks and a LoRA of random weights, as train leaves them."""

import json
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig, get_peft_model_state_dict

from shared.contract import keys
from shared.contract.users import ReferenceRecord, UserModel
from shared.faces import FaceEngine
from shared.faces.base import largest
from shared.imaging.array_types import Image
from tests.pictures import png
from tests.tiny_base import make_tiny_base

MODULES = ["to_q", "to_k", "to_v", "to_out.0"]


def make_visible_base(folder: Path) -> Path:
    """The tiny base model with latents that its random decoder turns into differences of many levels, not of half."""
    config = make_tiny_base(folder) / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"scaling_factor": 1.0}))
    return folder


def lora(unet: UNet2DConditionModel, folder: str, rank: int = 4, seed: int = 0, scale: float = 0.3) -> bytes:
    """A LoRA file in the form that diffusers writes, strong enough to be seen; the UNet is left as it was."""
    unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=MODULES), adapter_name="made")
    generator = torch.Generator().manual_seed(seed)
    state = get_peft_model_state_dict(unet, adapter_name="made")
    drawn = {name: torch.randn(tensor.shape, generator=generator) * scale for name, tensor in state.items()}
    unet.delete_adapters("made")
    StableDiffusionPipeline.save_lora_weights(
        folder, unet_lora_layers=convert_state_dict_to_diffusers(drawn), weight_name=f"{rank}-{seed}.safetensors"
    )
    with open(f"{folder}/{rank}-{seed}.safetensors", "rb") as file:
        return file.read()


def make_trained_user(
    user_id: str, photos: list[Image], engine: FaceEngine, lora_file: bytes, base_model: str
) -> dict[str, bytes]:
    """The objects of the bucket that make somebody a trained user."""
    folder = f"results/train/train-{user_id}/"
    objects: dict[str, bytes] = {f"{folder}a1/lora.safetensors": lora_file}
    references = []
    for index, photo in enumerate(photos):
        face = largest(engine.detect(photo))
        key = f"{folder}a1/references/{index}.png"
        objects[key] = png(photo)
        box = face.box
        references.append(
            ReferenceRecord(
                key=key,
                landmarks=[(float(x), float(y)) for x, y in face.landmarks],
                box=(box.left, box.top, box.right, box.bottom),
                embedding=[float(value) for value in engine.embed(photo, face)],
            )
        )
    model = UserModel(
        user_id=user_id,
        request_id=f"train-{user_id}",
        lora=f"{folder}a1/lora.safetensors",
        base_model=base_model,
        face_engine=engine.name,
        trigger="",
        references=references,
    )
    answer = {"request_id": model.request_id, "code": "OK", "message": "success", "data": model.model_dump(mode="json")}
    objects[folder + "result.json"] = json.dumps(answer).encode()
    return objects | {keys.model(user_id): model.model_dump_json().encode()}
