"""Memory that one array has freed serves the next one while a request runs, and goes back to the system after it.

glibc asks the system for every array of more than 128 KiB, and gives it back at once when it is freed: then the kernel
clears each page anew for every step of a picture's processing, which was a third of a portrait's time beside the
networks at 12 megapixels. Where the C library has no such knobs (musl, macOS, Windows), nothing is changed.
"""

import ctypes
from contextlib import suppress

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
MOST = 2**31 - 1  # bytes; the largest int, since mallopt takes no more
NEVER = -1  # as a threshold for giving back: a portrait of 24 megapixels frees more than MOST at once


def keep_freed_memory() -> None:
    """Let this process keep what it frees, until `return_freed_memory`."""
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, MOST)
        library.mallopt(M_TRIM_THRESHOLD, NEVER)


def return_freed_memory() -> None:
    """Give the system all that is free."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
