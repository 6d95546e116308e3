"""How many threads a function's process computes with, and how they wait for one another.

OpenMP's threads meet after every operation. By default whoever comes first waits by spinning; where another process
has a core in the meantime, it spins until the last one is scheduled again, at every operation. So they sleep instead.
Networks as small as the embedded base model's gain nothing by more than one thread, which has nobody to wait for.

These variables are read when the libraries are loaded, so they are set for the process before it starts. What the user
has set stays: a variable of OpenMP as it is, and PHOTOG_MODEL__THREADS before it.
"""

from collections.abc import Mapping

from shared.settings import ModelSettings

EMBEDDED_THREADS = 1  # of portrait-tiny


def threading_environment(settings: ModelSettings, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that works with this base model."""
    added = {"OMP_WAIT_POLICY": "passive"}
    threads = settings.threads
    if threads is None and settings.path == ModelSettings().path:
        threads = EMBEDDED_THREADS
    if threads is not None:
        added["OMP_NUM_THREADS"] = str(threads)
    explicit = {"OMP_NUM_THREADS": str(settings.threads)} if settings.threads is not None else {}
    return added | dict(environment) | explicit
