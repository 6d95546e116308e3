"""Number and waiting policy of the CPU threads in a function's process.

OpenMP's threads meet after every operation. By default, threads that arrive early spin; if another process occupies a
core, they spin until the last thread is scheduled again, at every operation. So they are made to sleep instead: beside
busy processes on two cores, a training of twelve steps took 43 and 51 s where spinning threads took over 280.

The variables are read when the libraries are loaded, so they must be set before a process starts. What the user has set
takes precedence: an OpenMP variable stays, and PHOTOG_MODEL__THREADS overrides OMP_NUM_THREADS.
"""

from collections.abc import Mapping

from shared.settings import ModelSettings


def threading_environment(settings: ModelSettings, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a process that runs a function with these settings."""
    wanted = {} if settings.threads is None else {"OMP_NUM_THREADS": str(settings.threads)}
    return {"OMP_WAIT_POLICY": "passive"} | dict(environment) | wanted
