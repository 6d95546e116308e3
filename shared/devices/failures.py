"""Decides whether an error of torch, onnxruntime, dlib or OpenCV is the fault of the input or of the device.

| error | becomes | consequence |
|---|---|---|
| the memory of the GPU or the machine ran out | OutOfMemory | retried with less memory, then the answer |
| AcceleratorError, CudaError, DeviceReset, or an error of CUDA, cuDNN, ... | DeviceBroken | the process ends |
| onnxruntime's InvalidArgument | unchanged | the caller, who knows the input, says what is wrong with it |
| any other error of onnxruntime | DeviceError | the answer |
| anything else | unchanged | |

An error that says nothing of a device itself is judged by the error that caused it, or during whose handling it was
raised: diffusers raises "Unable to load weights" for every error, and cleaning up after a broken GPU fails as well.

These answers are retryable. After an illegal memory access or a similar error a CUDA context stays broken: every later
call fails with the same error, and only a new process gets a new context. None of the libraries is imported here; their
errors are recognized by class names and wording.
"""

import errno
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from shared.contract.function import DeviceBroken
from shared.errors import DeviceError, OutOfMemory, PhotogError

log = logging.getLogger(__name__)

MOST_CHARACTERS = 300  # of a library's message in an answer; torch's messages end in hints for developers
NO_MEMORY = -4  # cv2.Error.StsNoMem

OUT_OF_MEMORY = re.compile(
    r"out of memory|ALLOC_FAILED|fail(ed|ure) to allocate|can(no|')t allocate|bad_?alloc|bad allocation"
    r"|insufficient memory|not enough memory|smaller than requested bytes"  # the last one is from onnxruntime's arena
    # cuDNN, if no algorithm gets its workspace
    r"|cudaErrorMemoryAllocation|unable to find an engine to execute|unable to find a valid cuDNN algorithm",
    re.IGNORECASE,
)
BROKEN = re.compile(
    r"\b(CUDA|HIP|CUBLAS|CUDNN|CUDNN_FE|CUFFT|CURAND|CUSOLVER|CUSPARSE|NCCL)\b"
    r"( driver| kernel| frontend| runtime| unknown)? (error|failure|failed|exception)"
    r"|\b(CUDNN|CUBLAS|CUSOLVER|CUSPARSE|CURAND)_STATUS_|\bCUFFT_[A-Z]+_|\bcudaError[A-Z]|\bNVML_"
    r"|Error while calling cu(da|dnn|blas|rand|solver|fft)\w*\("  # dlib's wording
    r"|illegal memory access|device-side assert|unspecified launch failure|misaligned address|uncorrectable ECC"
    r"|Triton Error|no CUDA-capable device|No CUDA GPUs are available|Found no NVIDIA driver",
    re.IGNORECASE,
)


@contextmanager
def device_errors(but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Raise errors of a device within the block as DeviceError, OutOfMemory or DeviceBroken; others pass unchanged.

    Args:
        but: errors that always pass, because the caller knows better what they mean.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (PhotogError, *but)) or (found := failure(error)) is None:
            raise
        log.exception("the device failed: %s", found)
        raise found from error


def failure(error: Exception) -> DeviceError | DeviceBroken | None:
    """Return what an error means by the table above; None if it is not the device's fault or not recognized."""
    for one in _causes(error):
        if isinstance(one, DeviceError | DeviceBroken):
            return one
        if isinstance(one, PhotogError):  # whoever raised it knew the cause
            return None
        if (found := _judge(one)) is not None:
            return found
    return None


def _causes(error: BaseException | None) -> Iterator[Exception]:
    """Yield an error and its causes, as a trace shows them."""
    seen: set[int] = set()
    while isinstance(error, Exception) and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _judge(error: Exception) -> DeviceError | DeviceBroken | None:
    """Return what an error means by itself."""
    message = str(error)
    cause = f"{type(error).__name__}: {' '.join(message.split())[:MOST_CHARACTERS]}"
    if _is_out_of_memory(error, message):
        return OutOfMemory(f"the worker's memory is too small for this at the moment: send it again ({cause})")
    if _is_of_a_library(error) and (_is_accelerator_error(error) or BROKEN.search(message)):
        return DeviceBroken(f"the worker's device is broken until its process is restarted ({cause})")
    if _is_of_onnxruntime(error) and type(error).__name__ != "InvalidArgument":
        return DeviceError(f"the worker could not run a network: send it again ({cause})")
    return None


def _is_out_of_memory(error: Exception, message: str) -> bool:
    if isinstance(error, MemoryError) or _is_a("torch", "OutOfMemoryError", error):
        return True
    if isinstance(error, OSError):  # files are mapped into memory, too
        return error.errno == errno.ENOMEM
    if _is_a("cv2", "error", error):
        return getattr(error, "code", None) == NO_MEMORY
    return _is_of_a_library(error) and OUT_OF_MEMORY.search(message) is not None


def _is_of_a_library(error: Exception) -> bool:
    """Return whether a library may have raised the error: torch and dlib raise plain RuntimeErrors.

    NotImplementedError and RecursionError, which are RuntimeErrors too, have nothing to do with a device.
    """
    plain = isinstance(error, RuntimeError) and not isinstance(error, NotImplementedError | RecursionError)
    return plain or _is_of_onnxruntime(error)


def _is_of_onnxruntime(error: Exception) -> bool:
    return any(kind.__module__.startswith("onnxruntime.") for kind in type(error).__mro__)


def _is_accelerator_error(error: Exception) -> bool:
    kinds = (("torch", "AcceleratorError"), ("torch", "CudaError"), ("onnxruntime", "DeviceReset"))
    return any(_is_a(package, name, error) for package, name in kinds)


def _is_a(package: str, name: str, error: Exception) -> bool:
    return any(kind.__name__ == name and kind.__module__.partition(".")[0] == package for kind in type(error).__mro__)
