"""Repeats work that ran out of memory in a way that takes less memory."""

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
    """Return what `work` returns; if it runs out of memory, return what `sparing` returns.

    Args:
        work: does the work.
        sparing: does the same work one thing at a time, with less memory.

    Raises:
        OutOfMemory: `sparing` ran out of memory, too.
        DeviceError, DeviceBroken: see `device_errors`.
    """
    try:
        with device_errors():
            return work()
    except OutOfMemory as error:
        log.warning("out of memory, trying again with one thing at a time: %s", error)
        _clear_frames(error)
    # outside the except block, within which the error's traceback keeps alive the frames that refer to the tensors
    with device_errors():
        empty_caches()
        return sparing()


def _clear_frames(error: BaseException | None) -> None:
    """Release what the failed functions referred to, even if something, such as a logger, still keeps the error."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def empty_caches() -> None:
    """Release unused memory, including torch's cache, which onnxruntime and other processes cannot use."""
    gc.collect()  # networks and their hooks refer to each other
    torch = sys.modules.get("torch")  # not imported by check, which must stay without it
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
