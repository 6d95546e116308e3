"""A pretend GPU: tensors of the CPU that say they are on cuda:0, and refuse to be mixed with those that are not.

What a real one would do is done by the CPU, in the same precision. Seen are moves that are missing, generators of the
wrong device, and whatever would make the host wait for the GPU; not seen are the GPU's own kernels and its memory.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from linecache import getline
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CUDA = torch.device("cuda:0")
ROOT = Path(__file__).parents[1]
PRODUCT = (f"{ROOT}/functions/", f"{ROOT}/shared/")
COPYING = ("aten._to_copy", "aten.copy_", "aten._copy_from", "aten.set_", "aten._foreach_copy")
GROUPING = "_group_tensors_by_device_and_dtype"
INDEXING = ("aten.index.", "aten.index_put", "aten._unsafe_index")
READING = (
    "aten._local_scalar_dense",
    "aten.nonzero",
    "aten.equal",
    "aten.masked_select",
    "aten.unique",
    "aten._unique",
)


class Watch:
    """What the host did with the GPU.

    Attributes:
        waits: where it had to know a value, by line of our own code.
        to_gpu, to_host: copies, by the same.
        pinned: of `to_gpu`, those out of pinned memory and without waiting.
        casts: of parameters to another type, by shape.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.waits: Counter[str] = Counter()
        self.to_gpu: Counter[str] = Counter()
        self.to_host: Counter[str] = Counter()
        self.pinned: Counter[str] = Counter()
        self.casts: Counter[tuple[int, ...]] = Counter()
        self.emptied = 0


WATCH = Watch()


def line() -> str:
    """The innermost line of the product that is running."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(PRODUCT):
            return f"{path.removeprefix(f'{ROOT}/')}: {getline(path, frame.f_lineno).strip()}"
        frame = frame.f_back
    return "?"


class GpuTensor(torch.Tensor):
    """A tensor on the pretend GPU; `held` is where its values are."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "GpuTensor":
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device("cpu"),
        )
        made.held = held
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"GpuTensor({tuple(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        named = named or {}
        if function in ANSWERS:
            return ANSWERS[function]
        if function in TO_NUMPY:
            raise TypeError(f"can't convert cuda:0 device type tensor to numpy: {line()}")
        if function == SET_DATA:
            given[0].held = given[1].held
        elif function in MOVING and isinstance(given[0], GpuTensor):
            return MOVING[function](*given, **named)
        with torch._C.DisableTorchFunctionSubclass():
            return function(*given, **named)

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:  # type: ignore[override]
        return run(function, given, named or {})


TO_NUMPY: set[Any] = {torch.Tensor.numpy, torch.Tensor.__array__}
SET_DATA = torch.Tensor.data.__set__  # type: ignore[attr-defined]
ANSWERS = {
    torch.Tensor.device.__get__: CUDA,  # type: ignore[attr-defined]
    torch.Tensor.is_cuda.__get__: True,  # type: ignore[attr-defined]
    torch.Tensor.is_cpu.__get__: False,  # type: ignore[attr-defined]
    torch.Tensor.get_device: 0,
}


def asked(given: tuple[Any, ...], named: dict[str, Any]) -> tuple[torch.device | None, torch.dtype | None]:
    """Device and type that a call of `to` names."""
    if given and isinstance(given[0], torch.Tensor):
        return given[0].device, given[0].dtype
    rest = {name: value for name, value in named.items() if name in ("device", "dtype", "non_blocking")}
    if not given and not rest:
        return None, None
    device, dtype, *_ = torch._C._nn._parse_to(*given, **rest)
    return device, dtype


def home(tensor: GpuTensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """A copy on the CPU, for which the host waits."""
    WATCH.to_host[line()] += 1
    return tensor.held.detach().clone().to(dtype or tensor.dtype)


def moved(tensor: GpuTensor, *given: Any, **named: Any) -> torch.Tensor:
    """`to` of a tensor that is on the GPU."""
    device, dtype = asked(given, named)
    if device is not None and torch.device(device).type == "cpu":
        return home(tensor, dtype)
    layout = named.get("memory_format")
    if layout is not None and not tensor.requires_grad:
        return GpuTensor(tensor.held.to(dtype=dtype or tensor.dtype, memory_format=layout))
    same = dtype in (None, tensor.dtype) and not named.get("copy")
    if same and layout is None:
        return tensor
    with torch._C.DisableTorchFunctionSubclass():
        return torch.Tensor.to(tensor, dtype or tensor.dtype, copy=bool(named.get("copy")))


def listed(tensor: GpuTensor) -> Any:
    """Its numbers, for which the host waits."""
    WATCH.waits[line()] += 1
    return tensor.held.tolist()


MOVING: dict[Any, Callable[..., Any]] = {
    torch.Tensor.cpu: home,
    torch.Tensor.cuda: lambda tensor: tensor,
    torch.Tensor.tolist: listed,
    torch.Tensor.data.__get__: lambda tensor: tensor.detach(),  # type: ignore[attr-defined]
    torch.Tensor.to: moved,
}


class Operation:
    """What of an operation of torch depends on its name alone; asked hundreds of thousands of times."""

    def __init__(self, function: Any) -> None:
        self.name = name = str(function)
        self.copies, self.casts = name.startswith(COPYING), name.startswith("aten._to_copy")
        self.fills = name.startswith("aten.copy_")  # its first argument
        self.fills_any = self.fills or name.startswith("aten._foreach_copy")
        self.reads, self.indexes = name.startswith(READING), name.startswith(INDEXING)


operation_of = cache(Operation)


class Given:
    """What an operation was given, with tensors of the GPU replaced by what they hold.

    Attributes:
        plain, options: its arguments, in the same lists, tuples and dictionaries.
        ours, others: tensors of the GPU and of the CPU among them, however deep.
        generators: the generators among them.
    """

    def __init__(self, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.ours: list[GpuTensor] = []
        self.others: list[torch.Tensor] = []
        self.generators: list[torch.Generator] = []
        self.plain = [self._take(one) for one in given]
        self.options = {name: self._take(one) for name, one in named.items()}

    def _take(self, value: Any) -> Any:
        kind = type(value)
        if kind is GpuTensor:
            self.ours.append(value)
            return value.held
        if kind in SIMPLE:
            return value
        if isinstance(value, (list, tuple)):
            return kind([self._take(one) for one in value])
        if isinstance(value, dict):
            return {name: self._take(one) for name, one in value.items()}
        if isinstance(value, torch.Generator):
            self.generators.append(value)
        elif isinstance(value, torch.Tensor):
            self.others.append(value)
        return value


SIMPLE = {int, float, bool, type(None), str, torch.dtype, torch.device, torch.layout, torch.memory_format}


def run(function: Any, given: Any, named: dict[str, Any]) -> Any:
    """One operation, as the GPU would do it; RuntimeError where it would refuse."""
    operation, taken = operation_of(function), Given(given, named)
    ours, others, options = taken.ours, taken.others, taken.options
    device = named.get("device")
    on = bool(ours) if device is None else torch.device(device).type == "cuda"
    # what autograd's engine makes up by itself says no device
    backward = torch._C._current_graph_task_id() != -1
    on = on or backward
    refuse_generators(operation, taken.generators, on)
    if ours and others and not operation.copies and not backward:
        refuse_mixing(operation, given, others)
    note(operation, given, ours, others, on)
    if device is not None:
        options["device"] = torch.device("cpu")
    made = function(*taken.plain, **options)
    if operation.fills:
        return given[0]
    if not on or (operation.copies and not operation.casts):
        return made
    if not ours and any(made is one for one in taken.plain if isinstance(one, torch.Tensor)):
        made = made.clone()

    def wrapped(one: Any) -> Any:
        if type(one) is not torch.Tensor and not isinstance(one, torch.Tensor):
            return one
        for own in ours:
            if own.held is one:
                return own  # what is changed in place is given back as it came
        return GpuTensor(one)

    return changed(made, wrapped)


def changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same lists, tuples and dictionaries, of what is made of each of their leaves."""
    if isinstance(value, (list, tuple)):
        return type(value)(
            [changed(one, change) if isinstance(one, (list, tuple, dict)) else change(one) for one in value]
        )
    if isinstance(value, dict):
        return {name: changed(one, change) for name, one in value.items()}
    return change(value)


def refuse_mixing(operation: Operation, given: Any, others: list[torch.Tensor]) -> None:
    """RuntimeError where tensors of the CPU meet those of the GPU, but for single numbers and indices."""
    if operation.indexes and isinstance(given[0], GpuTensor):
        WATCH.waits[line()] += 1
    elif any(one.dim() for one in others):
        raise RuntimeError(f"{operation.name} mixes devices: {line()}")


def refuse_generators(operation: Operation, generators: list[torch.Generator], on: bool) -> None:
    """RuntimeError where a generator is not where its numbers are wanted."""
    for generator in generators:
        if (generator.device.type == "cuda") != on:
            raise RuntimeError(f"a generator on {generator.device} for {operation.name}: {line()}")


def note(operation: Operation, given: Any, ours: list[Any], others: list[Any], on: bool) -> None:
    """Count an operation for which the host waits, or which crosses between the two."""
    if ours and operation.reads:
        WATCH.waits[line()] += 1
    if ours and operation.indexes:
        masks = [one for one in given[1] if isinstance(one, torch.Tensor) and one.dtype == torch.bool]
        if masks:
            WATCH.waits[line()] += len(masks)
    if operation.casts and ours and isinstance(given[0], GpuTensor) and given[0].dim() > 1:
        WATCH.casts[tuple(given[0].shape)] += 1
    if operation.casts and not ours and on and others:
        WATCH.to_gpu[line()] += 1
    if operation.fills_any and ours and others:
        WATCH.to_gpu[line()] += len(others)


class Operations(TorchDispatchMode):
    """Makes tensors on the GPU where a device is named and no tensor is given."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """torch would wrap the method below against its compiler, which is not used here and costs as much as it."""
        return False

    def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        return run(function, given, named or {})


TO_CUDA = torch.Tensor.cuda
TO_DEVICE = {torch.Tensor.to, TO_CUDA}


class Moves(TorchFunctionMode):
    """Brings tensors of the CPU to the GPU."""

    def __torch_function__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        named = named or {}
        if function in TO_DEVICE and not isinstance(given[0], GpuTensor):
            device, dtype = (CUDA, None) if function is TO_CUDA else asked(given[1:], named)
            if device is not None and torch.device(device).type == "cuda":
                free = getattr(given[0], "pretends_pinned", False) and named.get("non_blocking")
                (WATCH.pinned if free else WATCH.to_gpu)[line()] += 1
                layout = named.get("memory_format") or torch.preserve_format
                held = given[0].detach()
                return GpuTensor(held.to(dtype or held.dtype).clone(memory_format=layout))
        if function is torch.tensor and torch.device(named.get("device") or "cpu").type == "cuda":
            WATCH.to_gpu[line()] += 1
            rest = {name: value for name, value in named.items() if name != "device"}
            return GpuTensor(torch.tensor(*given, **rest))
        return function(*given, **named)


class GpuGenerator(torch.Generator):
    """A generator that says which device it was asked for."""

    named: torch.device

    def __new__(cls, device: Any = "cpu") -> "GpuGenerator":
        made = super().__new__(cls, "cpu")  # type: ignore[call-arg]
        made.named = torch.device(device)
        return made

    def __init__(self, device: Any = "cpu") -> None:
        pass

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return CUDA if self.named.type == "cuda" else self.named

    def manual_seed(self, seed: int) -> "GpuGenerator":
        super().manual_seed(seed)
        return self


def pinned(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in memory that pretends to be pinned."""
    made = tensor.clone()
    made.pretends_pinned = True  # type: ignore[attr-defined]
    return made


def in_float32(norm: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A norm as autocast has it on a GPU: in float32; the CPU's leaves it in half precision."""

    def normed(states: Any, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
        if torch.is_autocast_enabled("cpu"):
            states, weight, bias = (one if one is None else one.float() for one in (states, weight, bias))
        return norm(states, shape, weight, bias, eps)

    return normed


def on_gpu(grouping: Callable[..., dict[Any, Any]]) -> Callable[..., dict[Any, Any]]:
    """What puts tensors together by device, which asks them below Python, where they are the CPU's."""

    def grouped(lists: list[list[torch.Tensor]], with_indices: bool = False) -> dict[Any, Any]:
        ours = any(isinstance(one, GpuTensor) for one in lists[0])
        made = grouping(lists, with_indices)
        return {(CUDA if ours else device, dtype): group for (device, dtype), group in made.items()}

    return grouped


def install(patch: pytest.MonkeyPatch, bfloat16: bool, memory: int) -> None:
    """Have torch say what it would say beside such a GPU."""
    capability = (8, 6) if bfloat16 else (7, 5)
    name = "Pretend A10G" if bfloat16 else "Pretend T4"

    def emptied() -> None:
        WATCH.emptied += 1

    said: dict[str, Any] = {
        "is_available": lambda: True,
        "is_bf16_supported": lambda including_emulation=True: bfloat16,
        "get_device_capability": lambda device=None: capability,
        "get_device_name": lambda device=None: name,
        "get_device_properties": lambda device=None: SimpleNamespace(
            total_memory=memory, name=name, major=capability[0], minor=capability[1]
        ),
        "mem_get_info": lambda device=None: (memory, memory),
        "memory_reserved": lambda device=None: 0,
        "current_device": lambda: 0,
        "device_count": lambda: 1,
        "_lazy_init": lambda: None,
        "get_rng_state": lambda device=None: torch.zeros(16, dtype=torch.uint8),
        "set_rng_state": lambda state, device=None: None,
        "manual_seed": lambda seed: None,
        "manual_seed_all": lambda seed: None,
        "empty_cache": emptied,
        "synchronize": lambda device=None: None,
    }
    for one, answer in said.items():
        patch.setattr(torch.cuda, one, answer)
    autocast = torch.autocast

    def anywhere(kind: str, dtype: torch.dtype | None = None, enabled: bool = True) -> Any:
        return autocast("cpu" if kind == "cuda" else kind, dtype, enabled=enabled)

    patch.setattr(torch, "autocast", anywhere)
    patch.setattr(torch, "Generator", GpuGenerator)
    patch.setattr(torch.Tensor, "pin_memory", pinned)
    for norm in ("group_norm", "layer_norm"):
        patch.setattr(torch.nn.functional, norm, in_float32(getattr(torch.nn.functional, norm)))
    for module in ("torch.nn.utils.clip_grad", "torch.optim.optimizer"):
        grouping = getattr(import_module(module), GROUPING)
        patch.setattr(import_module(module), GROUPING, on_gpu(grouping))


@contextmanager
def pretend_gpu(bfloat16: bool = True, memory: int = 16 * 10**9) -> Iterator[Watch]:
    """Inside of the block `cuda` is there.

    Args:
        bfloat16: whether it computes in it, as GPUs since Ampere do.
        memory: bytes that it has.
    """
    WATCH.clear()
    overwriting = torch.__future__.get_overwrite_module_params_on_conversion()
    with pytest.MonkeyPatch.context() as patch:
        install(patch, bfloat16, memory)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            with Operations(), Moves():
                yield WATCH
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(overwriting)
