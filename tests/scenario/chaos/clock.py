"""A wall clock that is wrong and then jumps, in this process only; claims must not care."""

import time


def step_clock(offset: float, step: float) -> None:
    """Be `offset` seconds off at once, and `step` more from one second later."""
    real, since = time.time, time.monotonic()
    time.time = lambda: real() + offset + (step if time.monotonic() - since > 1 else 0.0)
