"""Whether torchvision, which nothing here needs but spandrel, was made for the torch that is installed, CPU or CUDA."""

from importlib import import_module
from importlib.util import find_spec


def require_matching_torchvision() -> None:
    """Raise what torchvision raises where it was made for another torch, a RuntimeError or ImportError.

    diffusers and transformers import it where it is there, and hide its error; and they take seconds to come to it.
    """
    if find_spec("torchvision") is not None:
        import_module("torchvision")
