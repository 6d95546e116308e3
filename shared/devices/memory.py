"""Work that ran out of memory, done once more with less of it."""

import gc
import logging
import sys
import traceback
from collections.abc import Callable
from typing import TypeVar

from shared.devices.failures import device_errors
from shared.errors import OutOfMemory

log = logging.getLogger(__name__)

Made = TypeVar("Made")


def once_more_with_less(work: Callable[[], Made], sparing: Callable[[], Made]) -> Made:
    """What `work` gives, or where memory runs out what `sparing` gives: the same work with one thing at a time.

    Raises OutOfMemory where that is too much as well; DeviceError and DeviceBroken as `device_errors`.
    """
    try:
        with device_errors():
            return work()
    except OutOfMemory as error:
        log.warning("once more, with one thing at a time: %s", error)
        _clear_frames(error)
    # not within the block above, where the error's trace still holds the frames that hold the tensors
    with device_errors():
        empty_caches()
        return sparing()


def _clear_frames(error: BaseException | None) -> None:
    """Let go of what the functions that failed were holding, whoever still keeps the error: a logger, say."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def empty_caches() -> None:
    """Give back what nobody holds any more; torch's cache keeps it from onnxruntime and from other processes."""
    gc.collect()  # networks and their hooks hold each other
    torch = sys.modules.get("torch")  # check has none, and must not import it
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
