"""Pictures of the bucket for browsers: whole where the file is of a kind that is safe to show, small ones made anew."""

import io
from collections import OrderedDict
from threading import Lock, Semaphore

from PIL import Image as Pillow

from page import texts
from shared.buckets import Bucket, BucketError
from shared.buckets.base import check_key
from shared.contract import keys
from shared.errors import PhotoError
from shared.photos.decoding import decode_photo
from shared.settings import Limits

SHOWN = (keys.PHOTOS, keys.TEMPLATES, keys.RESULTS, keys.USERS)
"""Where pictures may lie that the page shows; nothing else of the bucket is given out."""
KINDS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
}  # what every browser shows and what cannot hold a script, by the first bytes
SIDES = (96, 320, 640, 1600)  # longest sides of small pictures; others are rounded up, so that few have to be kept
KEPT_BYTES = 32 * 2**20  # of small pictures in memory
AT_ONCE = 1  # decoded at the same time: a picture of 100 million pixels has 300 MB


class NoPicture(Exception):
    """There is no picture under this key that the page would show; the message says why."""


class Pictures:
    """The pictures of one bucket."""

    def __init__(self, bucket: Bucket, limits: Limits) -> None:
        self._bucket, self._limits = bucket, limits
        self._small: OrderedDict[tuple[str, str, int], bytes] = OrderedDict()
        self._lock, self._decoding = Lock(), Semaphore(AT_ONCE)

    def whole(self, key: str) -> tuple[bytes, str]:
        """Return a picture's bytes and media type: as they are, or as a PNG if browsers may not know the format."""
        data = self._read(key)
        for first, kind in KINDS.items():
            if data.startswith(first):
                return data, kind
        with self._decoding:
            return self._encode(data, None), "image/png"

    def small(self, key: str, side: int) -> bytes:
        """Return a JPEG whose longest side is about `side` pixels, upright."""
        side = next((one for one in SIDES if one >= side), SIDES[-1])
        try:
            info = self._bucket.head(_checked(key))
        except BucketError as error:
            raise NoPicture(str(error)) from error
        if info is None:
            raise NoPicture(texts.NO_PICTURE)
        wanted = key, info.etag, side
        with self._lock:
            if (found := self._small.get(wanted)) is not None:
                self._small.move_to_end(wanted)
                return found
        with self._decoding:  # reading too: many callers would hold as many files
            made = self._encode(self._read(key), side)
        with self._lock:
            self._small[wanted] = made
            while sum(map(len, self._small.values())) > KEPT_BYTES:
                self._small.popitem(last=False)
        return made

    def require_picture(self, data: bytes) -> None:
        """Raise PhotoError unless an uploaded file is a picture that we read."""
        with self._decoding:
            decode_photo(data, self._limits)

    def _read(self, key: str) -> bytes:
        try:
            data = self._bucket.find(_checked(key), 4 * self._limits.photo_bytes)
        except BucketError as error:
            raise NoPicture(str(error)) from error
        if data is None:
            raise NoPicture(texts.NO_PICTURE)
        return data

    def _encode(self, data: bytes, side: int | None) -> bytes:
        try:
            picture = Pillow.fromarray(decode_photo(data, self._limits).image)
        except (PhotoError, MemoryError) as error:
            raise NoPicture(str(error)) from error
        out = io.BytesIO()
        if side is None:
            picture.save(out, "PNG", compress_level=1)
        else:
            picture.thumbnail((side, side), Pillow.Resampling.LANCZOS, reducing_gap=2.0)
            picture.save(out, "JPEG", quality=85)
        return out.getvalue()


def _checked(key: str) -> str:
    """Return the key if pictures may lie there, otherwise raise NoPicture or InvalidKey."""
    if not check_key(key).startswith(SHOWN):
        raise NoPicture(texts.NO_PICTURE)
    return key
