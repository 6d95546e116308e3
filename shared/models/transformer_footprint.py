"""The memory of a transformer of rectified flow in a training and in portraits.

What a training keeps for the backward pass is not calculated layer by layer: one pass is made with tensors that have a
shape and no memory, and what autograd keeps of it is added up. It takes a second or two, and no weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from diffusers import ModelMixin
from peft import LoraConfig
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from shared.models.planned_peak import ADAMS, FLOAT, Footprint, PlannedPeak, adapter, coding, weights
from shared.models.quantization import KEEPS_COPIES, Quantization, linear_layers

PASSING = 2  # times the output of the widest layer: what one layer works with, beside the whole sequence

Pass = Callable[[ModelMixin, int], torch.Tensor]
"""Makes a pass of so many pictures through a denoiser, with tensors of whatever device the denoiser is on."""


@dataclass(frozen=True, eq=False)
class TransformerFootprint(Footprint):
    """The shape of a base model with a transformer.

    Attributes:
        denoiser: the transformer.
        vae: the autoencoder.
        encoders: the text encoders; never on the GPU together with anything else but the transformer.
        size: side of the pictures that the model works on, in pixels.
        dtype: precision of the weights.
        tokens: length of the sequence of one picture in portraits, with its words and all that it refers to.
        passed: makes a pass of a training.
        quantization: of the transformer's weights.
    """

    denoiser: ModelMixin
    vae: Any
    encoders: Sequence[torch.nn.Module]
    size: int
    dtype: torch.dtype
    tokens: int
    passed: Pass
    quantization: Quantization | None = None
    _known: dict[tuple[int, int, tuple[str, ...], bool], int] = field(default_factory=dict, init=False)

    def training(self, batch: int, rank: int, targets: Sequence[str], recomputing: bool) -> PlannedPeak:
        """Plan the updates of a training."""
        learning = adapter(self.denoiser, rank, targets)
        casts = 0 if self.dtype == torch.float32 else learning * self.dtype.itemsize
        return PlannedPeak(
            weights=self._weights(),
            adapter=ADAMS * FLOAT * learning,
            saved=self._saved(batch, rank, targets, recomputing) + casts,
            passing=self._passing(batch) + (self._largest(batch, rank, targets) if recomputing else 0),
            others=0,
        )

    def encoding(self) -> PlannedPeak:
        """Plan the start of a training: first the words, then, without the language model, the pictures."""
        words = sum(weights(one, self.dtype) for one in self.encoders)
        pictures = weights(self.vae, self.dtype) + coding(self.vae, self.size, self.dtype)
        return PlannedPeak(self._weights(), 0, 0, 0, max(words, pictures))

    def portraits(self, faces: int, guided: bool, rank: int, targets: Sequence[str], controls: int = 0) -> PlannedPeak:
        """Plan the diffusion of several faces in one batch; new words are encoded between diffusions."""
        adapters = faces * adapter(self.denoiser, rank, targets) * self.dtype.itemsize
        pictures = weights(self.vae, self.dtype)
        passing = max(self._passing(faces * (2 if guided else 1)), coding(self.vae, self.size, self.dtype))
        words = sum(weights(one, self.dtype) for one in self.encoders)
        return PlannedPeak(self._weights(), adapters, 0, max(passing, words), pictures)

    def _weights(self) -> int:
        return weights(self.denoiser, self.dtype, self.quantization)

    def _passing(self, pictures: int) -> int:
        """Return what one layer works with, with its weight as it is brought back from fewer bits."""
        layers = linear_layers(self.denoiser)
        widest = max(layer.out_features for layer in layers)
        largest = max(layer.out_features * layer.in_features for layer in layers) if self.quantization else 0
        return int((PASSING * pictures * self.tokens * widest + largest) * self.dtype.itemsize)

    def _largest(self, batch: int, rank: int, targets: Sequence[str]) -> int:
        """Return what one block keeps, while it is run again: its share of what all keep."""
        blocks = sum(type(module).__name__ in self.denoiser._repeated_blocks for module in self.denoiser.modules())
        return self._saved(batch, rank, targets, recomputing=False) // blocks

    def _saved(self, batch: int, rank: int, targets: Sequence[str], recomputing: bool) -> int:
        """Return the bytes that a pass keeps, apart from parameters; a pass is made once."""
        asked = (batch, rank, tuple(targets), recomputing)
        if asked not in self._known:
            self._known[asked] = self._measure(*asked)
        return self._known[asked]

    def _measure(self, batch: int, rank: int, targets: tuple[str, ...], recomputing: bool) -> int:
        half, found = self.dtype != torch.float32, dict[int, int]()
        with torch.device("meta"):
            denoiser = type(self.denoiser).from_config(self.denoiser.config).requires_grad_(False)
        for parameter in denoiser.parameters():
            parameter.data = parameter.data.to(self.dtype)
        denoiser.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets)))
        with FakeTensorMode(allow_non_fake_inputs=True):
            denoiser.to_empty(device="cpu")
            for parameter in denoiser.parameters():
                if parameter.requires_grad:
                    parameter.data = parameter.data.float()
            if recomputing:
                # these layers draw no random numbers
                again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
                denoiser.enable_gradient_checkpointing(again)
            own = {parameter.untyped_storage()._cdata for parameter in denoiser.parameters()}
            if self.quantization in KEEPS_COPIES:
                own -= {layer.weight.untyped_storage()._cdata for layer in linear_layers(denoiser)}

            def keep(tensor: torch.Tensor) -> torch.Tensor:
                storage = tensor.untyped_storage()
                if storage._cdata not in own:
                    found[storage._cdata] = storage.nbytes()
                    alive.append(storage)  # so that no other storage can get its address
                return tensor

            alive: list[torch.UntypedStorage] = []
            with (
                torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
                torch.autocast("cpu", torch.bfloat16, enabled=half),
            ):
                self.passed(denoiser, batch)
        return sum(found.values())
