"""The card that PHOTOG_MODEL__DEVICE names: there and able to compute, or an error that says what is wrong with it."""

from typing import TYPE_CHECKING, Any

from shared.devices.failures import failure
from shared.errors import ConfigurationError, OutOfMemory

if TYPE_CHECKING:
    import torch

# of the releases in constraints.txt: torch 2.13 brings CUDA 13.0, onnxruntime-gpu 1.31 takes any 13; 580 is CUDA 13's
# first driver, https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
CUDA_MAJOR, LEAST_DRIVER = 13, 580
DRIVER = (
    f"The pinned torch and onnxruntime-gpu are built for CUDA {CUDA_MAJOR}, which needs an NVIDIA driver of "
    f"{LEAST_DRIVER} or newer, and a container needs its card passed (docker run --gpus, nvidia.com/gpu)"
)
BFLOAT16 = (8, 0)  # compute capability of Ampere, the first that computes in bfloat16


class DeviceMissing(ConfigurationError):
    """The card that the settings name is not there or cannot be used; the message says why, and what to do."""


def require_card(device: "torch.device") -> None:
    """Compute something on a card, so that a worker finds out at its start.

    Raises DeviceMissing where starting anew is no help, OutOfMemory where others may have taken its memory.
    """
    import torch

    try:
        torch.ones(2, device=device).sum().item()
    # the second of a torch that is built without CUDA, the third where a call waited for its start
    except (RuntimeError, AssertionError, torch.cuda.DeferredCudaCallError) as error:
        if isinstance(found := failure(error), OutOfMemory):
            raise found from error
        why = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise DeviceMissing(
            f"PHOTOG_MODEL__DEVICE={device}, but torch {torch.__version__} cannot use it: {why}. {DRIVER}; or set "
            "PHOTOG_MODEL__DEVICE=cpu, which is slow"
        ) from error


def computes_in_bfloat16(device: "torch.device") -> bool:
    """Whether this very card does, which need not be the current one."""
    import torch

    return torch.cuda.get_device_capability(device) >= BFLOAT16


def describe(device: "torch.device") -> dict[str, Any]:
    """What is known of a card, for reports: name, compute capability, memory in GB, torch's CUDA."""
    import torch

    known = torch.cuda.get_device_properties(device)
    return {
        "card": known.name,
        "capability": f"{known.major}.{known.minor}",
        "memory_gb": round(known.total_memory / 1e9, 1),
        "cuda": torch.version.cuda,
    }
