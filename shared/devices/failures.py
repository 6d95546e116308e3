"""Whose an error of torch, onnxruntime, dlib or OpenCV is: the input's, or the device's.

| what is raised | becomes | what follows |
|---|---|---|
| what says that memory ran out, the card's or the machine's | OutOfMemory | once more with less, then the answer |
| AcceleratorError, CudaError; DeviceReset; a failure of CUDA, cuDNN, cuBLAS ... | DeviceBroken | the process ends |
| onnxruntime's InvalidArgument | itself | whoever knows the input says what is wrong with it |
| any other error of onnxruntime | DeviceError | the answer |
| all else | itself | |

An error that a library raised of another one, or while another one was on its way, is judged by that one where it says
nothing itself: diffusers makes "Unable to load weights" of every error, and what lets go of a broken card fails too.

Such answers are retryable. After an illegal access and its like a CUDA context stays broken: every later call fails
with the same error, and only a new process gets a new one. None of the libraries is imported here: their errors are
known by class names and words.
"""

import errno
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from shared.contract.function import DeviceBroken
from shared.errors import DeviceError, OutOfMemory, PhotogError

log = logging.getLogger(__name__)

MOST_CHARACTERS = 300  # of a library's message in an answer; torch's goes on with hints for its developers
NO_MEMORY = -4  # cv2.Error.StsNoMem

OUT_OF_MEMORY = re.compile(
    r"out of memory|ALLOC_FAILED|fail(ed|ure) to allocate|can(no|')t allocate|bad_?alloc|bad allocation"
    r"|insufficient memory|not enough memory|smaller than requested bytes"  # the last is onnxruntime's arena
    # cuDNN, where no algorithm has its workspace
    r"|cudaErrorMemoryAllocation|unable to find an engine to execute|unable to find a valid cuDNN algorithm",
    re.IGNORECASE,
)
BROKEN = re.compile(
    r"\b(CUDA|HIP|CUBLAS|CUDNN|CUDNN_FE|CUFFT|CURAND|CUSOLVER|CUSPARSE|NCCL)\b"
    r"( driver| kernel| frontend| runtime| unknown)? (error|failure|failed|exception)"
    r"|\b(CUDNN|CUBLAS|CUSOLVER|CUSPARSE|CURAND)_STATUS_|\bCUFFT_[A-Z]+_|\bcudaError[A-Z]|\bNVML_"
    r"|Error while calling cu(da|dnn|blas|rand|solver|fft)\w*\("  # dlib's words
    r"|illegal memory access|device-side assert|unspecified launch failure|misaligned address|uncorrectable ECC"
    r"|Triton Error|no CUDA-capable device|No CUDA GPUs are available|Found no NVIDIA driver",
    re.IGNORECASE,
)


@contextmanager
def device_errors(but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Within it, what a device did wrong is raised as DeviceError, OutOfMemory or DeviceBroken; all else as it is.

    Args:
        but: errors that pass, since the caller knows better whose they are.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (PhotogError, *but)) or (found := failure(error)) is None:
            raise
        log.exception("the device failed: %s", found)
        raise found from error


def failure(error: Exception) -> DeviceError | DeviceBroken | None:
    """What an error means by the table above; None where it is not the device's, or nobody knows."""
    for one in _causes(error):
        if isinstance(one, DeviceError | DeviceBroken):
            return one
        if isinstance(one, PhotogError):  # whoever raised it knew what it came of
            return None
        if (found := _judged(one)) is not None:
            return found
    return None


def _causes(error: BaseException | None) -> Iterator[Exception]:
    """An error and what it came of, as a trace shows them."""
    seen: set[int] = set()
    while isinstance(error, Exception) and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _judged(error: Exception) -> DeviceError | DeviceBroken | None:
    said = str(error)
    told = f"{type(error).__name__}: {' '.join(said.split())[:MOST_CHARACTERS]}"
    if _is_out_of_memory(error, said):
        return OutOfMemory(f"the worker's memory is too small for this at the moment: send it again ({told})")
    if _is_of_a_library(error) and (_is_accelerator_error(error) or BROKEN.search(said)):
        return DeviceBroken(f"the worker's device is broken until its process is started anew ({told})")
    if _is_of_onnxruntime(error) and type(error).__name__ != "InvalidArgument":
        return DeviceError(f"the worker could not run a network: send it again ({told})")
    return None


def _is_out_of_memory(error: Exception, said: str) -> bool:
    if isinstance(error, MemoryError) or _is_a("torch", "OutOfMemoryError", error):
        return True
    if isinstance(error, OSError):  # files are mapped into memory, too
        return error.errno == errno.ENOMEM
    if _is_a("cv2", "error", error):
        return getattr(error, "code", None) == NO_MEMORY
    return _is_of_a_library(error) and OUT_OF_MEMORY.search(said) is not None


def _is_of_a_library(error: Exception) -> bool:
    """torch and dlib raise plain RuntimeErrors; what only says that some code is missing is none of a device."""
    plain = isinstance(error, RuntimeError) and not isinstance(error, NotImplementedError | RecursionError)
    return plain or _is_of_onnxruntime(error)


def _is_of_onnxruntime(error: Exception) -> bool:
    return any(kind.__module__.startswith("onnxruntime.") for kind in type(error).__mro__)


def _is_accelerator_error(error: Exception) -> bool:
    kinds = (("torch", "AcceleratorError"), ("torch", "CudaError"), ("onnxruntime", "DeviceReset"))
    return any(_is_a(package, name, error) for package, name in kinds)


def _is_a(package: str, name: str, error: Exception) -> bool:
    return any(kind.__name__ == name and kind.__module__.partition(".")[0] == package for kind in type(error).__mro__)
