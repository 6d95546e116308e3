"""Checks that the GPU that PHOTOG_MODEL__DEVICE names can compute, and otherwise says what is wrong with it."""

from typing import TYPE_CHECKING, Any

from shared.devices.failures import failure
from shared.errors import ConfigurationError, OutOfMemory

if TYPE_CHECKING:
    import torch

# for the releases in constraints.txt: torch 2.13 ships CUDA 13.0, onnxruntime-gpu 1.31 works with any 13.x; 580 is the
# first driver for CUDA 13, https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
CUDA_MAJOR, LEAST_DRIVER = 13, 580
DRIVER = (
    f"The pinned torch and onnxruntime-gpu are built for CUDA {CUDA_MAJOR}, which needs an NVIDIA driver of "
    f"{LEAST_DRIVER} or newer, and a container must be given the GPU (docker run --gpus, nvidia.com/gpu)"
)
BFLOAT16 = (8, 0)  # compute capability of Ampere, the first that computes in bfloat16


class DeviceMissing(ConfigurationError):
    """Raised when the GPU that the settings name is missing or unusable; the message says why and what to do."""


def require_gpu(device: "torch.device") -> None:
    """Compute something on a GPU, so that a worker finds out at its start whether the GPU works.

    Raises:
        DeviceMissing: the GPU cannot be used, and a restart does not help.
        OutOfMemory: the GPU's memory is full, perhaps because of other processes.
    """
    import torch

    try:
        torch.ones(2, device=device).sum().item()
    # a torch without CUDA raises AssertionError, a call made before CUDA started DeferredCudaCallError
    except (RuntimeError, AssertionError, torch.cuda.DeferredCudaCallError) as error:
        if isinstance(found := failure(error), OutOfMemory):
            raise found from error
        why = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise DeviceMissing(
            f"PHOTOG_MODEL__DEVICE={device}, but torch {torch.__version__} cannot use it: {why}. {DRIVER}; or set "
            "PHOTOG_MODEL__DEVICE=cpu, which is slow"
        ) from error


def computes_in_bfloat16(device: "torch.device") -> bool:
    """Return whether this GPU, which need not be torch's current one, computes in bfloat16."""
    import torch

    return torch.cuda.get_device_capability(device) >= BFLOAT16


def describe(device: "torch.device") -> dict[str, Any]:
    """Describe a GPU for reports: its name, compute capability and memory in GB, and torch's CUDA version."""
    import torch

    known = torch.cuda.get_device_properties(device)
    return {
        "gpu": known.name,
        "capability": f"{known.major}.{known.minor}",
        "memory_gb": round(known.total_memory / 1e9, 1),
        "cuda": torch.version.cuda,
    }
