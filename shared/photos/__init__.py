"""Pictures from outside: fetches and decodes them safely. Knows nothing about buckets."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.photos.decoding import Decoded, decode_photo
    from shared.photos.fetching import PhotoFetcher, ReadKey, SizeOf

__all__ = ["Decoded", "PhotoFetcher", "ReadKey", "SizeOf", "decode_photo"]

HOMES = {
    "decoding": ("Decoded", "decode_photo"),  # with OpenCV, Pillow and numpy
    "fetching": ("PhotoFetcher", "ReadKey", "SizeOf"),  # with httpx, whose import costs more than a folder's request
}


def __getattr__(name: str) -> Any:
    """Import decoders and fetcher when one is first asked for.

    Most commands, and the parent of a worker, decode nothing and fetch nothing from outside, and what decoding and
    fetching need is a third of their start.
    """
    for home, names in HOMES.items():
        if name in names:
            return getattr(import_module(f"shared.photos.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
