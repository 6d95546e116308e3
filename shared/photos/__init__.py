"""Pictures from outside: fetches and decodes them safely. Knows nothing about buckets."""

from typing import TYPE_CHECKING, Any

from shared.photos.fetching import PhotoFetcher, ReadKey, SizeOf

if TYPE_CHECKING:
    from shared.photos.decoding import Decoded, decode_photo

__all__ = ["Decoded", "PhotoFetcher", "ReadKey", "SizeOf", "decode_photo"]


def __getattr__(name: str) -> Any:
    """Import the decoders when one is first asked for: most commands, and the parent of a worker, decode nothing, and
    OpenCV, Pillow and numpy are a quarter of their start.
    """
    if name not in ("Decoded", "decode_photo"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from shared.photos import decoding

    return getattr(decoding, name)
