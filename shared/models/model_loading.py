"""Finds and opens base models: the embedded one, a diffusers folder, a single .safetensors file, or a hub id.

| `path` | how its architecture is determined |
|---|---|
| `portrait-tiny` | always Stable Diffusion's |
| a folder with `model_index.json` | by the class that this file names |
| a `.safetensors` file | by the names of its tensors: only SDXL has a `conditioner` with a second text encoder |
| `owner/name` | by the class in the hub's `model_index.json`; fetched once, afterwards read from the hub's cache |
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors import safe_open

from shared.devices import device_errors
from shared.errors import ConfigurationError
from shared.settings import ModelSettings

EMBEDDED = "portrait-tiny"
EMBEDDED_FOLDER = Path(__file__).parent / "portrait_tiny" / "weights"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
SDXL_TENSOR = "conditioner.embedders.1."
PIPELINES = {"sd15": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}
UNCHECKED = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


class BaseModelMissing(ConfigurationError):
    """Raised when a configured model is missing or cannot be used; the message says what to do."""


@dataclass(frozen=True)
class ModelSource:
    """Where a base model can be read from.

    Attributes:
        name: what answers and adapters call the model.
        place: path of the folder or file, or hub id.
        kind: "folder", "file" or "hub".
    """

    name: str
    place: str
    kind: str


def resolve_source(settings: ModelSettings) -> ModelSource:
    """Return the source that the configured path names; BaseModelMissing if there is none."""
    path = EMBEDDED_FOLDER if settings.path == EMBEDDED else Path(settings.path).expanduser()
    if (path / "model_index.json").is_file():
        return ModelSource(settings.path if settings.path == EMBEDDED else path.name, str(path), "folder")
    if path.is_file() and path.suffix == ".safetensors":
        return ModelSource(path.stem, str(path), "file")
    if not path.exists() and HUB_ID.fullmatch(settings.path):
        return ModelSource(settings.path, settings.path, "hub")
    raise BaseModelMissing(
        f"no diffusers model at {path}: set PHOTOG_MODEL__PATH to a folder with model_index.json, a .safetensors file "
        "of SD 1.5 or SDXL, or a hub id such as owner/name"
    )


def read_architecture(where: ModelSource) -> str:
    """Return `sd15` or `sdxl`; BaseModelMissing for any other architecture."""
    if where.kind == "file":
        with safe_open(where.place, "pt") as opened:
            return "sdxl" if any(name.startswith(SDXL_TENSOR) for name in opened.keys()) else "sd15"  # noqa: SIM118
    if where.kind == "folder":
        named = json.loads((Path(where.place) / "model_index.json").read_text())["_class_name"]
    else:
        try:
            named = DiffusionPipeline.load_config(where.place)["_class_name"]
        except OSError as error:
            raise BaseModelMissing(f"{where.place} cannot be fetched from the hub: {error}") from error
    known = {pipeline.__name__: name for name, pipeline in PIPELINES.items()}
    if named not in known:
        raise BaseModelMissing(f"{where.place} is a {named}; base models can be {' or '.join(sorted(known))}")
    return known[named]


def open_model(
    settings: ModelSettings, where: ModelSource, kind: str, dtype: torch.dtype
) -> StableDiffusionPipeline | StableDiffusionXLPipeline:
    """Load the pipeline to the CPU; BaseModelMissing if it cannot be read, OutOfMemory if there is no memory for it."""
    pipeline, options = PIPELINES[kind], dict(UNCHECKED) if kind == "sd15" else {}
    try:
        with device_errors():
            if where.kind == "file":
                # without a folder of configurations, diffusers fetches those of the architecture from the hub
                config = None if settings.config is None else str(settings.config.expanduser())
                return pipeline.from_single_file(where.place, config=config, torch_dtype=dtype, **options)
            local = where.kind == "folder"
            return pipeline.from_pretrained(where.place, dtype=dtype, local_files_only=local, **options)
    except OSError as error:
        raise BaseModelMissing(f"{where.place} cannot be loaded: {error}") from error
