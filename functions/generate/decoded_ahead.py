"""One picture that was decoded ahead, for the portrait that is made next; it is recognized by its file's bytes."""

import hashlib
from threading import Lock

from shared.photos import Decoded

MOST_BYTES = 128 * 1024 * 1024  # of its pixels: 20 megapixels with a color space of their own


class DecodedAhead:
    """Keeps at most one decoded picture, and gives it once; threads may share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: tuple[bytes, Decoded] | None = None

    def keep(self, file: bytes, decoded: Decoded) -> None:
        """Keep a picture instead of the one before, unless it is too large."""
        size = decoded.image.nbytes + (0 if decoded.own is None else decoded.own.nbytes)
        with self._lock:
            self._kept = (_name(file), decoded) if size <= MOST_BYTES else None

    def take(self, file: bytes) -> Decoded | None:
        """Return the picture if it is the file's; it is not kept any longer, whichever it is."""
        with self._lock:
            kept, self._kept = self._kept, None
        return kept[1] if kept is not None and kept[0] == _name(file) else None

    def drop(self) -> None:
        """Forget the picture."""
        with self._lock:
            self._kept = None


def _name(file: bytes) -> bytes:
    return hashlib.sha256(file).digest()
