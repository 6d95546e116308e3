"""How the threads that a function's process computes with wait for one another, and how many they are.

OpenMP's threads meet after every operation. By default whoever comes first waits by spinning; where another process
has a core in the meantime, it spins until the last one is scheduled again, at every operation. So they sleep instead:
beside busy processes on two cores, a training of twelve steps took 43 and 51 s where spinning threads took over 280.

The variables are read when the libraries are loaded, so they are set for a process before it starts. What the user has
set stays: a variable of OpenMP as it is, and PHOTOG_MODEL__THREADS before it.
"""

from collections.abc import Mapping

from shared.settings import ModelSettings


def threading_environment(settings: ModelSettings, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that works with this base model."""
    wanted = {} if settings.threads is None else {"OMP_NUM_THREADS": str(settings.threads)}
    return {"OMP_WAIT_POLICY": "passive"} | dict(environment) | wanted
