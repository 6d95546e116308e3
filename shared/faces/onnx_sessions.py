"""Sessions of onnxruntime on the provider, the GPU and the threads of the settings."""

import contextlib
import functools
import logging
import sys
from pathlib import Path
from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from shared.devices import failure
from shared.devices.gpu import DRIVER
from shared.errors import OutOfMemory
from shared.faces.base import EngineUnavailable
from shared.settings import MEBIBYTE, FaceSettings

log = logging.getLogger(__name__)

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"

# A thread that has no work spins by default, which costs nothing on a machine of one's own only. Beside other processes
# a check of one face took 122 ms of CPU with two spinning threads, 31 with two that sleep, 24 with one.
SPINNING = "session.intra_op.allow_spinning"

UNLOADABLE: tuple[type[Exception], ...] = (
    *(kind for kind in vars(runtime).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    RuntimeError,  # by the provider's library, if its start is interrupted
    ValueError,  # for options that this release does not know
)
"""What onnxruntime raises when a session cannot be made."""


def open_session(path: Path, settings: FaceSettings) -> onnxruntime.InferenceSession:
    """Open a session. Unlike with onnxruntime itself, a fallback to the CPU is an error if CUDA is required.

    Raises EngineUnavailable if a restart does not help, OutOfMemory if other processes may have taken the memory.
    """
    wanted = wanted_provider(settings)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.intra_threads
    options.inter_op_num_threads = settings.inter_threads
    options.add_session_config_entry(SPINNING, "0")
    options.log_severity_level = 3  # errors; warnings speak of the graph's unused weights
    if wanted == CUDA:
        _preload_cuda()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers(settings, wanted))
    except UNLOADABLE as error:
        if isinstance(found := failure(error), OutOfMemory):
            raise found from error
        raise EngineUnavailable(f"{path} cannot be loaded on {wanted}: {error}") from error
    session.disable_fallback()  # a failing run is an error, not a run elsewhere
    used = session.get_providers()[0]
    if used != wanted and settings.provider == "cuda":
        raise EngineUnavailable(
            f"{path.name} runs on {used} though CUDA was asked for: CUDA or cuDNN cannot be loaded, or there is no "
            f"GPU. {DRIVER}; or set PHOTOG_FACES__PROVIDER=cpu"
        )
    if used != wanted:
        log.warning("%s runs on %s: onnxruntime has %s but could not load it", path.name, used, wanted)
    return session


def wanted_provider(settings: FaceSettings) -> str:
    """Return the provider to run on. Raises EngineUnavailable if CUDA is required and not built in."""
    available = onnxruntime.get_available_providers()
    if settings.provider == "cpu":
        return CPU
    if CUDA in available:
        return CUDA
    if settings.provider == "cuda":
        raise EngineUnavailable(
            f"this onnxruntime has no {CUDA}, only {', '.join(available)}: pip uninstall onnxruntime, then "
            "pip install onnxruntime-gpu in the release of constraints.txt, or set PHOTOG_FACES__PROVIDER=cpu"
        )
    return CPU


def providers(settings: FaceSettings, wanted: str) -> list[str | tuple[str, dict[str, Any]]]:
    """Return the providers for `InferenceSession`: the CPU for operations that CUDA lacks, never TensorRT."""
    if wanted != CUDA:
        return [CPU]
    gpu = {
        "device_id": settings.device_id or 0,
        "gpu_mem_limit": settings.arena_mebibytes * MEBIBYTE,
        "arena_extend_strategy": settings.arena_extend_strategy,
    }
    return [(CUDA, gpu), CPU]


@functools.cache
def _preload_cuda() -> None:
    """Load the CUDA libraries that were installed as packages, such as torch's; its output goes to stderr."""
    preload = getattr(onnxruntime, "preload_dlls", None)
    if callable(preload):
        with contextlib.redirect_stdout(sys.stderr):
            preload()
