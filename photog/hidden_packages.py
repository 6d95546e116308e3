"""Says which package of an application hides one of photog's, which are called `shared` and `functions`."""

from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

OWN = ("shared", "functions")


def explain_hidden_package(error: ImportError) -> ImportError:
    """Return an error that names the package that hides one of photog's, or the error itself if none does.

    photog's packages lie beside this one, in a checkout and where it is installed. An application's own package of the
    same name comes first on its path.
    """
    beside = Path(__file__).resolve().parent.parent
    for name in OWN:
        spec = find_spec(name)
        found = _place(spec) if spec else None
        if found is not None and found != beside / name:
            return ImportError(
                f"{found} hides photog's package {name}: give yours another name, or send requests by REST "
                "(docs/serve.md) instead of this client",
                name=name,
            )
    return error


def _place(spec: ModuleSpec) -> Path | None:
    """Return the folder of a package, or the file of a module."""
    place = next(iter(spec.submodule_search_locations or ()), spec.origin)
    return Path(place).resolve() if place else None
