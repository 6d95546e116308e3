"""Decodes hostile pictures one by one as check does; a JSON line for each, with what it cost.

    python -m tests.hostile.decoding corpus|largest|starving [NAME]

Runs in a process of its own, so that what the decoding costs can be measured and bounded.
"""

import gc
import json
import resource
import sys
import time
from pathlib import Path

from shared.errors import PhotoError
from shared.photos import decode_photo
from shared.runtime.memory_reuse import return_freed_memory
from shared.settings import Limits
from tests.hostile.pictures import HostilePicture, corpus, largest, photo, starving

KINDS = {"corpus": corpus, "largest": largest, "starving": starving}
SHORT_BYTES = 100_000_000  # beyond what the process has when it begins to starve
RESERVE_BYTES = 6 * 1024**3  # of addresses, so that a bomb ends this process and not the machine


def _decoded(one: HostilePicture, limits: Limits) -> dict[str, object]:
    data = one.make()
    outcome, message, size = "OK", "", None
    gc.collect()
    return_freed_memory()  # what made the picture would count as the decoder's
    _reset_peak()
    before = _peak()
    begun = time.process_time()
    try:
        image = decode_photo(data, limits).image
        size = image.shape
        del image
    except PhotoError as error:
        outcome, message = type(error).__name__, error.message
    seconds = time.process_time() - begun
    cost: dict[str, object] = {"bytes": len(data), "seconds": seconds, "peak": _peak() - before, "whole": _peak()}
    return cost | {"name": one.name, "outcome": outcome, "message": message, "shape": size}


def _taken() -> int:
    """Addresses that this process has, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Most memory that this process has had since the reset, in bytes."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    kind = sys.argv[1]
    decode_photo(photo(), Limits())  # Pillow's plugins are loaded
    reserve = _taken() + SHORT_BYTES if kind == "starving" else RESERVE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (reserve, reserve))
    for hostile in KINDS[kind]():
        if hostile.name in sys.argv[2:] or not sys.argv[2:]:
            sys.stdout.write(json.dumps(_decoded(hostile, Limits())) + "\n")
            sys.stdout.flush()
