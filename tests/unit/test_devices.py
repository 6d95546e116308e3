"""Errors of devices: a library's error about a GPU is not the picture's fault, and one about code not the GPU's."""

import errno
import weakref

import cv2
import numpy as np
import pytest
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as onnx

from shared.contract.function import DeviceBroken
from shared.devices import device_errors, failure, memory, once_more_with_less
from shared.devices.gpu import DeviceMissing, computes_in_bfloat16
from shared.errors import DeviceError, InvalidField, OutOfMemory
from shared.models.diffusion import choose_precision, resolve_device
from shared.settings import ModelSettings, Settings

ARENA = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node: "
    "bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal(size_t) Available memory of 1024 is smaller "
    "than requested bytes of 4096"
)
ACCESS = (
    "[ONNXRuntimeError] : 1 : FAIL : CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=a ; "
    "expr=cudaStreamSynchronize(stream);"
)
FULL = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 14.58 GiB"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other call"),
    torch.AcceleratorError("CUDA error: out of memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: Error code 12"),
    RuntimeError("Error while calling cudaMalloc(&data, n) in file data.cpp:28. code: 2, reason: out of memory"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    onnx.RuntimeException(ARENA),
    onnx.Fail("[ONNXRuntimeError] : 1 : FAIL : CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc(&p, size);"),
    onnx.EPFail("[ONNXRuntimeError] : 11 : EP_FAIL : Failed to allocate memory for requested buffer of size 4194304"),
    MemoryError(),
    RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"),
    torch.cuda.CudaError.__new__(torch.cuda.CudaError, "out of memory (2)"),  # to begin it needs a driver
    RuntimeError("Triton Error [CUDA]: out of memory"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    onnx.Fail("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; expr=cublasCreate(&cublas_handle_);"),
    onnx.RuntimeException("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc"),
]
BROKEN = [
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    torch.AcceleratorError("CUDA error: device-side assert triggered"),
    RuntimeError("CUDA error: unspecified launch failure"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx(handle, opa, opb, m, n, k)`"),
    RuntimeError("cuFFT error: CUFFT_EXEC_FAILED"),
    RuntimeError("CUDA driver error: invalid argument"),
    RuntimeError("Error while calling cudnnConvolutionForward(...) in file x.cpp:9. code: 8, reason: execution failed"),
    onnx.Fail(ACCESS),
    onnx.DeviceReset("the device was reset"),
    onnx.RuntimeException("CUDNN failure 5000: CUDNN_STATUS_EXECUTION_FAILED ; GPU=0 ; expr=cudnnConvolutionForward()"),
    onnx.EPFail("CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED ; GPU=0"),
    torch.cuda.CudaError.__new__(torch.cuda.CudaError, "unspecified failure (719)"),
    torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"),
    torch.AcceleratorError("CUDA error: the launch timed out and was terminated"),
    RuntimeError("CUDA device-side assertion failures were found on GPU #0!"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR, when calling `cusolverDnCreate(handle)`"),
    RuntimeError("cuDNN Frontend error: [cudnn_frontend] Error: No execution plans support the graph."),
    RuntimeError("NVML_SUCCESS == DriverAPI::get()->nvmlInit_v2_() INTERNAL ASSERT FAILED"),
    RuntimeError("Error while calling cudaStreamSynchronize(0) in file gpu_data.cpp:1. code: 700, reason: an illegal"),
    RuntimeError("/onnxruntime_src/core/providers/cuda/cuda_call.cc:129 CudaCall() CUDA failure 719: unspecified"),
    onnx.Fail("CUDNN_FE failure 11: CUDNN_BACKEND_API_FAILED ; GPU=0 ; expr=s_.execute(handle, ws, pack);"),
]
RUN = [
    onnx.Fail("[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Reshape node"),
    onnx.RuntimeException("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : something unheard of"),
    onnx.EPFail("[ONNXRuntimeError] : 11 : EP_FAIL : nobody knows"),
    onnx.NotImplemented("[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : no kernel of CUDAExecutionProvider"),
    onnx.EngineError("[ONNXRuntimeError] : 5 : ENGINE_ERROR : no idea"),
    onnx.InvalidGraph("[ONNXRuntimeError] : 10 : INVALID_GRAPH : this is an invalid model"),
]
NOT_THE_DEVICE = [
    onnx.InvalidArgument("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input"),
    RuntimeError("Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
    NotImplementedError("Could not run 'aten::x' with arguments from the 'CUDA' backend"),
    ValueError("CUDA error: written by somebody"),
    cv2.error("OpenCV: assertion failed"),
    InvalidField("CUDA error: in a prompt", "configure"),
    OSError(errno.ENOSPC, "No space left on device"),
    KeyError("CUDA error"),
]


@pytest.mark.parametrize(
    ("errors", "kind"), [(FULL, OutOfMemory), (BROKEN, DeviceBroken), (RUN, DeviceError), (NOT_THE_DEVICE, type(None))]
)
def test_every_error_has_one_owner(errors, kind):
    assert {str(error): type(failure(error)) for error in errors} == {str(error): kind for error in errors}


def wrapped(first: Exception, last: Exception, told: bool = True) -> Exception:
    """The last error as Python leaves it where it was raised while the first was handled."""
    last.__context__ = first
    if told:
        last.__cause__ = first
    return last


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(
    ("first", "kind"), [(FULL[0], OutOfMemory), (BROKEN[0], DeviceBroken), (RUN[0], DeviceError), (ValueError(), None)]
)
def test_an_error_that_a_library_made_of_another_has_the_same_owner(first, kind, told):
    for between in (OSError("Unable to load weights from checkpoint file"), KeyError("while it let go")):
        error = wrapped(wrapped(first, between, told), ValueError("in the end"), told)
        assert type(failure(error)) is (kind or type(None))


def test_who_knew_what_an_error_came_of_is_believed():
    assert (
        failure(wrapped(MemoryError(), InvalidField("the picture needs more memory than there is", "images"))) is None
    )
    assert failure(wrapped(wrapped(MemoryError(), InvalidField("too large", "images")), KeyError())) is None
    full = wrapped(wrapped(MemoryError(), OutOfMemory("full")), KeyError(), told=False)
    assert str(failure(full)) == "full"


def test_what_is_said_not_to_come_of_an_error_does_not():
    """As `raise KeyError from None` leaves it."""
    error = wrapped(MemoryError(), KeyError(), told=False)
    error.__suppress_context__ = True
    assert failure(error) is None


@pytest.mark.parametrize("error", [*FULL, *RUN], ids=lambda error: type(error).__name__)
def test_what_the_device_did_may_be_asked_again_and_says_what_was_heard(error):
    with pytest.raises(DeviceError, match=type(error).__name__) as told, device_errors():
        raise error
    assert told.value.as_dict()["retryable"] is True
    assert "\n" not in told.value.message
    assert len(told.value.message) < 500


def test_errors_that_the_caller_knows_better_pass():
    with pytest.raises(MemoryError), device_errors(but=(MemoryError,)):
        raise MemoryError


# --- once more ---------------------------------------------------------------------------------------------------


class Tensor:
    """Stands for an object that a frame of the failed work refers to."""


def test_the_memory_of_what_failed_is_free_before_the_caches_are_emptied(monkeypatch):
    held: list[weakref.ref] = []
    alive = []
    emptied = memory.empty_caches
    monkeypatch.setattr(memory, "empty_caches", lambda: (emptied(), alive.extend(one() for one in held)))

    def work() -> str:
        large = Tensor()
        held.append(weakref.ref(large))
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert once_more_with_less(work, lambda: "done") == "done"
    assert alive == [None]


def test_memory_that_does_not_suffice_for_one_at_a_time_is_answered_after_the_second_time():
    tried = []

    def work(how: str):
        tried.append(how)
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(OutOfMemory):
        once_more_with_less(lambda: work("all"), lambda: work("one"))
    assert tried == ["all", "one"]


@pytest.mark.parametrize("error", [RUN[0], BROKEN[0], InvalidField("no", "x"), RuntimeError("a bug")])
def test_nothing_else_is_tried_again(error):
    tried = []

    def work():
        tried.append(1)
        raise error

    with pytest.raises((DeviceError, DeviceBroken, InvalidField, RuntimeError)):
        once_more_with_less(work, work)
    assert tried == [1]


def test_the_cache_of_torch_is_emptied(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append(1))
    memory.empty_caches()
    assert calls == [1]


# --- which GPU --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there_is_refused_with_the_driver_that_it_needs(name):
    with pytest.raises(DeviceMissing, match=rf"DEVICE={name}, .* CUDA.*driver of 580 or newer.*=cpu"):
        resolve_device(name)


def test_a_gpu_whose_driver_is_too_old_is_refused_with_what_torch_says_of_it(monkeypatch):
    def ones(*shape, device):
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 12040).\nPlease update it")

    monkeypatch.setattr(torch, "ones", ones)
    with pytest.raises(DeviceMissing, match=r"too old \(found version 12040\)"):
        resolve_device("cuda")


def test_a_gpu_of_which_a_call_waited_for_its_start_is_refused_the_same(monkeypatch):
    def ones(*shape, device):
        raise torch.cuda.DeferredCudaCallError("CUDA call failed lazily at initialization with error: invalid ordinal")

    monkeypatch.setattr(torch, "ones", ones)
    with pytest.raises(DeviceMissing, match="invalid ordinal"):
        resolve_device("cuda:3")


def test_a_gpu_that_is_full_at_the_start_may_be_free_at_the_next(monkeypatch):
    def ones(*shape, device):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "ones", ones)
    with pytest.raises(OutOfMemory):
        resolve_device("cuda")


@pytest.mark.parametrize(("asked", "bf16"), [("cuda:0", False), ("cuda:1", True)])
def test_the_precision_is_that_of_the_gpu_that_is_named(asked, bf16, monkeypatch):
    """Simulate a T4 as the first GPU and an A10 as the second, whichever is current."""
    gpus = {0: (7, 5), 1: (8, 6)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: gpus[torch.device(device).index])
    assert computes_in_bfloat16(torch.device(asked)) is bf16
    assert choose_precision(torch.device(asked)) == (torch.bfloat16 if bf16 else torch.float16)


@pytest.mark.parametrize(
    ("device", "own", "gpu"), [("cuda:1", None, 1), ("cuda", None, None), ("cuda:1", "2", 2), ("cpu", None, None)]
)
def test_onnxruntime_is_on_the_gpu_of_torch_unless_it_is_told_another(device, own, gpu, monkeypatch):
    monkeypatch.setenv("PHOTOG_MODEL__DEVICE", device)
    if own is not None:
        monkeypatch.setenv("PHOTOG_FACES__DEVICE_ID", own)
    assert Settings().faces.device_id == gpu


@pytest.mark.parametrize("name", ["gpu", "cuda0", "cuda:", "CUDA"])
def test_a_device_that_is_none_is_refused_at_the_start(name):
    with pytest.raises(ValueError, match="pattern"):
        ModelSettings(device=name)


def test_a_picture_too_large_for_opencv_is_no_gpu():
    with pytest.raises(cv2.error) as told:
        cv2.resize(np.zeros((0, 0, 3), np.uint8), (1, 1))
    assert failure(told.value) is None
