"""The names of a LoRA's tensors in files: diffusers', and those that A1111, ComfyUI and kohya's scripts read.

| family | diffusers | others |
|---|---|---|
| UNet | `unet.<module>.lora.down.weight` | kohya: `lora_unet_<module, with _ for .>.lora_down.weight` |
| Z-Image | `transformer.<module>.lora_A.weight` | ComfyUI: `diffusion_model.<module>.lora_A.weight` |
| FLUX.2 klein | `transformer.<module>.lora_A.weight` | ComfyUI: the same, by the modules' names in the first release |

The others also have an `.alpha` for each module.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from diffusers.utils import (
    convert_state_dict_to_diffusers,
    convert_state_dict_to_kohya,
    convert_unet_state_dict_to_peft,
)

Tensors = dict[str, torch.Tensor]

UNET, TRANSFORMER, COMFY = "unet", "transformer", "diffusion_model"
DOWN, UP, ALPHA = "lora_A.weight", "lora_B.weight", "alpha"
FUSED = re.compile(r"transformer_blocks\.(\d+)\.attn\.to_([qkv])")
RENAMED = (
    (re.compile(r"^transformer_blocks\.(\d+)\.attn\.to_out\.0$"), r"double_blocks.\1.img_attn.proj"),
    (re.compile(r"^single_transformer_blocks\.(\d+)\.attn\.to_qkv_mlp_proj$"), r"single_blocks.\1.linear1"),
    (re.compile(r"^single_transformer_blocks\.(\d+)\.attn\.to_out$"), r"single_blocks.\1.linear2"),
)


def name_for_unet(state: Mapping[str, torch.Tensor]) -> Tensors:
    """Name an adapter's tensors, which have peft's names, as diffusers' pipelines with a UNet save them."""
    named = convert_state_dict_to_diffusers(dict(state))
    return {f"{UNET}.{name}": tensor for name, tensor in named.items()}


def name_for_transformer(state: Mapping[str, torch.Tensor]) -> Tensors:
    """Name an adapter's tensors, which have peft's names, as diffusers' pipelines with a transformer save them."""
    return {f"{TRANSFORMER}.{name}": tensor for name, tensor in state.items()}


def rename_for_kohya(weights: Mapping[str, torch.Tensor], alpha: float) -> Tensors:
    """Rename a UNet's weights to kohya's keys and add an alpha for each module.

    `unet.a.b.to_q.lora.down.weight` becomes `lora_unet_a_b_to_q.lora_down.weight`.
    """
    named: Tensors = convert_state_dict_to_kohya(convert_unet_state_dict_to_peft(dict(weights)))
    # diffusers writes the rank as the alpha of every module, no matter what alpha the adapter was trained with
    return named | {name: torch.tensor(float(alpha)) for name in named if name.endswith(f".{ALPHA}")}


def rename_for_comfy(weights: Mapping[str, torch.Tensor], alpha: float) -> Tensors:
    """Rename a transformer's weights to ComfyUI's keys, by the same modules, and add an alpha for each of them."""
    modules = _by_module(weights)
    return _named({module: (*pair, alpha) for module, pair in modules.items()})


def rename_for_comfy_klein(weights: Mapping[str, torch.Tensor], alpha: float) -> Tensors:
    """Rename weights of FLUX.2 klein to ComfyUI's keys, by the modules of the model's first release.

    There one layer makes queries, keys and values. Three LoRAs of rank r for parts of a layer are one of rank 3 r for
    the whole, whose second matrix has three blocks on its diagonal; its alpha is three times theirs, so that the
    strength, alpha / rank, stays.
    """
    modules, fused = _by_module(weights), dict[str, dict[str, tuple[torch.Tensor, torch.Tensor]]]()
    found: dict[str, tuple[torch.Tensor, torch.Tensor, float]] = {}
    for module, pair in modules.items():
        part = FUSED.fullmatch(module)
        if part:
            fused.setdefault(f"double_blocks.{part[1]}.img_attn.qkv", {})[part[2]] = pair
        else:
            found[_first_name(module)] = (*pair, alpha)
    for module, parts in fused.items():
        pairs = [parts[name] for name in "qkv"]
        down = torch.cat([one for one, _ in pairs])
        found[module] = (down, _on_diagonal([one for _, one in pairs]), len(pairs) * alpha)
    return _named(found)


def _on_diagonal(blocks: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return a matrix with these blocks on its diagonal, and zeros elsewhere."""
    rows, columns = (sum(block.shape[side] for block in blocks) for side in (0, 1))
    whole = blocks[0].new_zeros(rows, columns)
    row = column = 0
    for block in blocks:
        whole[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return whole


def _first_name(module: str) -> str:
    for pattern, name in RENAMED:
        if pattern.match(module):
            return pattern.sub(name, module)
    raise ValueError(f"ComfyUI's name of {module} is not known")


def _by_module(weights: Mapping[str, torch.Tensor]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    bare = {name.removeprefix(f"{TRANSFORMER}."): tensor for name, tensor in weights.items()}
    modules = [name.removesuffix(f".{DOWN}") for name in bare if name.endswith(f".{DOWN}")]
    return {module: (bare[f"{module}.{DOWN}"], bare[f"{module}.{UP}"]) for module in modules}


def _named(modules: Mapping[str, tuple[torch.Tensor, torch.Tensor, float]]) -> Tensors:
    named: Tensors = {}
    for module, (down, up, alpha) in modules.items():
        prefix = f"{COMFY}.{module}"
        named |= {f"{prefix}.{DOWN}": down, f"{prefix}.{UP}": up, f"{prefix}.{ALPHA}": torch.tensor(float(alpha))}
    return named
