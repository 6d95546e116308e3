"""Finds and opens base models: the embedded one, a diffusers folder, a single .safetensors file, or a hub id.

| `path` | how its architecture is determined |
|---|---|
| `portrait-tiny` | always Stable Diffusion's |
| a folder with `model_index.json` | by the class that this file names |
| a `.safetensors` file | by the names of its tensors |
| `owner/name` | by the class in the hub's `model_index.json`; fetched once, afterwards read from the hub's cache |

What each architecture is recognized by lies in `architectures`. A file of Stable Diffusion holds all parts, and only
configurations are missing. A file of a transformer, by diffusers' names or by those of its first release, holds nothing
else: the other parts are read from the folder in `config`, or from the hub.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    DiffusionPipeline,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from diffusers.loaders.single_file_utils import SingleFileComponentError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerBase

from shared.devices import device_errors
from shared.errors import ConfigurationError
from shared.models.architectures import ARCHITECTURES, PREFIX
from shared.models.model_name import EMBEDDED, HUB_ID, name_base_model
from shared.models.quantization import configure_quantization
from shared.settings import ModelSettings

EMBEDDED_FOLDER = Path(__file__).parent / "portrait_tiny" / "weights"
PIPELINES = {"sd15": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}
FLOWS = {
    "z-image": (ZImagePipeline, ZImageTransformer2DModel),
    "flux2-klein": (Flux2KleinPipeline, Flux2Transformer2DModel),
}
COMPLETE = (
    "; it holds the transformer only: set PHOTOG_MODEL__CONFIG to a diffusers folder with the text encoder, tokenizer, "
    "autoencoder and scheduler"
)
# what diffusers and transformers raise at files that do not fit together, besides OSError
UNFIT = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, SingleFileComponentError)
SCALES = (".weight_scale", ".scale_weight", ".input_scale")  # ends of names in files of 8-bit floats
UNNEEDED = ("safety_checker", "feature_extractor", "image_encoder")  # parts that nothing here uses
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
    name = name_base_model(settings.path)
    if (path / "model_index.json").is_file():
        return ModelSource(name, str(path), "folder")
    if path.is_file() and path.suffix == ".safetensors":
        return ModelSource(name, str(path), "file")
    if not path.exists() and HUB_ID.fullmatch(settings.path):
        return ModelSource(name, settings.path, "hub")
    raise BaseModelMissing(
        f"no diffusers model at {path}: set PHOTOG_MODEL__PATH to a folder with model_index.json, a .safetensors "
        "file, or a hub id such as owner/name"
    )


def read_architecture(where: ModelSource) -> str:
    """Return a key of ARCHITECTURES; BaseModelMissing for an architecture that is not there."""
    if where.kind == "file":
        return _architecture_of_file(where.place)
    if where.kind == "folder":
        named = read_json(Path(where.place) / "model_index.json").get("_class_name")
    else:
        try:
            named = DiffusionPipeline.load_config(where.place).get("_class_name")
        except OSError as error:
            raise BaseModelMissing(f"{where.place} cannot be fetched from the hub: {error}") from error
    known = {pipeline: name for name, one in ARCHITECTURES.items() for pipeline in one.pipelines}
    if not isinstance(named, str):
        raise BaseModelMissing(f"the model_index.json of {where.place} names no _class_name; {_known()}")
    if named not in known:
        raise BaseModelMissing(f"{where.place} is a {named}; {_known()}")
    return known[named]


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in one of a model's JSON files; BaseModelMissing if it has none or is not there."""
    try:
        found = json.loads(file.read_bytes())
    except OSError as error:
        raise BaseModelMissing(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BaseModelMissing(f"{file} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise BaseModelMissing(f"{file} has no JSON object")
    return found


@contextmanager
def name_model(place: str, hint: str = "") -> Iterator[None]:
    """Raise BaseModelMissing, in one line, for whatever is raised at a model whose files are missing or do not fit."""
    try:
        yield
    except ConfigurationError:
        raise
    except (OSError, *UNFIT) as error:
        kind = "" if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: "
        raise BaseModelMissing(f"{place} cannot be loaded: {kind}{' '.join(str(error).split())}{hint}") from error


def _require_parts(pipeline: DiffusionPipeline, place: str) -> None:
    """Raise BaseModelMissing if the pipeline lacks a part, or a tokenizer its words: nothing is said of either before.

    Without its files a tokenizer is made all the same, which takes every word for an unknown one.
    """
    parts = {name: part for name, part in pipeline.components.items() if name not in UNNEEDED}
    lacking = [name for name, part in parts.items() if part is None]
    lacking += [
        f"words in its {name}"
        for name, part in parts.items()
        if isinstance(part, PreTrainedTokenizerBase)
        and {*part("person", add_special_tokens=False).input_ids} <= {*part.all_special_ids}
    ]
    if lacking:
        raise BaseModelMissing(f"{place} cannot be loaded: it has no {' and no '.join(lacking)}")


def _architecture_of_file(place: str) -> str:
    try:
        with safe_open(place, "pt") as opened:
            names = [name.removeprefix(PREFIX) for name in opened.keys()]  # noqa: SIM118
    except SafetensorError as error:
        raise BaseModelMissing(f"{place} is no .safetensors file: {error}") from error
    for kind, one in ARCHITECTURES.items():
        if all(any(name.startswith(tensor) for name in names) for tensor in one.tensors):
            return kind
    raise BaseModelMissing(f"{place} has no tensors of a known architecture, but for example {names[:3]}; {_known()}")


def _known() -> str:
    titles = [f"{one.title} ({one.pipelines[0]})" for one in ARCHITECTURES.values()]
    return f"base models can be {', '.join(titles[:-1])} or {titles[-1]}"


def open_model(
    settings: ModelSettings, where: ModelSource, kind: str, dtype: torch.dtype
) -> StableDiffusionPipeline | StableDiffusionXLPipeline:
    """Load the pipeline to the CPU; BaseModelMissing if it cannot be read, OutOfMemory if there is no memory for it."""
    pipeline, options = PIPELINES[kind], dict(UNCHECKED) if kind == "sd15" else {}
    with name_model(where.place), device_errors():
        if where.kind == "file":
            # without a folder of configurations, diffusers fetches those of the architecture from the hub
            config = None if settings.config is None else str(_require_folder(settings.config))
            opened = pipeline.from_single_file(where.place, config=config, torch_dtype=dtype, **options)
        else:
            local = where.kind == "folder"
            opened = pipeline.from_pretrained(where.place, dtype=dtype, local_files_only=local, **options)
    _require_parts(opened, where.place)
    return opened


def open_flow(
    settings: ModelSettings, where: ModelSource, kind: str, dtype: torch.dtype, device: torch.device
) -> DiffusionPipeline:
    """Load the pipeline of a transformer to the CPU; its errors are those of `open_model`.

    A transformer that is quantized is loaded to the device, where it stays.
    """
    pipeline, transformer = FLOWS[kind]
    place, parts = where.place, {}
    options: dict[str, Any] = {"torch_dtype": dtype}
    if settings.quantization is not None:
        options["quantization_config"] = configure_quantization(settings.quantization, dtype)
        if device.type != "cpu":  # which diffusers takes for weights that are put aside, and leaves them as they are
            options["device_map"] = {"": str(device)}
    config = None if settings.config is None else str(_require_folder(settings.config))
    if where.kind == "file":
        place = config or str(ARCHITECTURES[kind].hub)
    with name_model(where.place, COMPLETE if place != where.place else ""), device_errors():
        if where.kind == "file":
            parts["transformer"] = transformer.from_single_file(
                _read_transformer(where.place),
                config=place,
                subfolder="transformer",
                torch_dtype=dtype,
                local_files_only=bool(config),
            )
        local = Path(place).is_dir()
        if settings.quantization is not None:
            # diffusers takes a map with the CPU for weights that are put aside, and does not quantize those
            places = None if device.type == "cpu" else {"": str(device)}
            parts["transformer"] = transformer.from_pretrained(
                place,
                subfolder="transformer",
                torch_dtype=dtype,
                local_files_only=local,
                quantization_config=configure_quantization(settings.quantization, dtype),
                device_map=places,
            )
        opened = pipeline.from_pretrained(place, dtype=dtype, local_files_only=local, **parts)
    _require_parts(opened, place)
    return opened


def _read_transformer(file: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a transformer's file without PREFIX, which diffusers does not take off.

    Raises:
        BaseModelMissing: its weights are in 8-bit floats with scales, which diffusers would leave out.
    """
    tensors: dict[str, torch.Tensor] = load_file(file)
    if any(name.startswith(PREFIX) for name in tensors):  # then whatever else there is belongs to other parts
        tensors = {name.removeprefix(PREFIX): one for name, one in tensors.items() if name.startswith(PREFIX)}
    scaled = next((name for name in tensors if name.endswith(SCALES)), None)
    if scaled is not None:
        raise BaseModelMissing(
            f"{file} has weights in 8-bit floats with scales ({scaled}): take the file in bfloat16, and set "
            "PHOTOG_MODEL__QUANTIZATION if it does not fit the GPU"
        )
    return tensors


def _require_folder(config: Path) -> Path:
    """Return the folder of configurations; BaseModelMissing if there is none."""
    folder = config.expanduser()
    if not folder.is_dir():
        raise BaseModelMissing(f"PHOTOG_MODEL__CONFIG is {folder}, which is no folder: set it to a diffusers folder")
    return folder
