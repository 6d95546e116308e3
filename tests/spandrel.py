"""spandrel where its torchvision cannot be loaded: the wheels of the registry belong to CUDA's torch, not to the CPU's.

spandrel imports three functions of torchvision, for LaMa and RestoreFormer. They stand here by name while it is
imported, and raise where one is called: what photog's tests load is other networks, which is all spandrel's own work.
"""

import sys
from importlib.util import find_spec
from types import ModuleType
from unittest.mock import patch

import pytest


def spandrel_or_skip() -> ModuleType:
    """The package; skips the test where it is not installed."""
    if "spandrel" not in sys.modules and find_spec("spandrel") is None:
        pytest.skip("spandrel is not installed: pip install --no-deps spandrel einops")
    try:
        import spandrel
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.partition(".")[0] in ("spandrel", "torchvision")]:
            del sys.modules[name]  # what the failed import left
        with patch.dict(sys.modules, _torchvision()):
            import spandrel

            loaded = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "spandrel"}
        sys.modules.update(loaded)
    return spandrel


def _torchvision() -> dict[str, ModuleType]:
    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    package, transforms, functional = (ModuleType(name) for name in names)
    for name in ("InterpolationMode", "rotate", "normalize"):
        setattr(functional, name, _absent)
    package.transforms, transforms.functional = transforms, functional  # type: ignore[attr-defined]
    return dict(zip(names, (package, transforms, functional), strict=True))


def _absent(*_: object, **__: object) -> None:
    raise AssertionError("a network of this test needs the real torchvision")
