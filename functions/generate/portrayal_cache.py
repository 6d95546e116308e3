"""A cache of users' reference photos with what was found in them: the same people come again, with other templates.

| from | event | to |
|---|---|---|
| absent | a user's photos are read from the bucket | kept, under the user's id |
| kept | they are read again | those with the same file and record are kept, the others go |
| kept | reading them again fails | removed |
| kept | the user's record is gone, as after `photog forget` | removed by `evict` |
| kept | not used for a while, or more than USERS or BYTES | removed |

The files are read in every request all the same: a photo that is gone or was replaced is never taken from here.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from functions.generate.fusion.landmark_fusion import ReferencePhoto
from shared.contract import keys
from shared.models.expiring_cache import Clock, ExpiringCache

USERS = 32  # as many as have their LoRA in memory
BYTES = 256 * 2**20  # of all photos and their masks; of a user who alone has more nothing is kept
POSES = 2  # a photo and its mirror image
MASKS = 12  # bytes a pixel of the masks of frames, facial hair and what hides the face


@dataclass(frozen=True, eq=False)
class KnownPhoto:
    """A photo of a user.

    Attributes:
        photo: the photo with what was found in it.
        close: the photo and its mirror image, looked at closely, by their landmarks and the user's face vector.
    """

    photo: ReferencePhoto
    close: dict[bytes, ReferencePhoto] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes that it takes at most."""
        masks = MASKS * self.photo.image.size // self.photo.image.shape[2]
        return int(self.photo.image.nbytes + masks) * (1 + len(self.close))


KnownPhotos = dict[bytes, KnownPhoto]
"""The photos of a user, each by the digest of its file and record."""


class PortrayalCache:
    """Users' photos by the user's id.

    Args:
        users: number of users to keep.
        bytes_kept: limit of the size of all their photos together.
        clock: replaced in tests.
    """

    def __init__(self, users: int = USERS, bytes_kept: int = BYTES, clock: Clock = time.monotonic) -> None:
        self._users: ExpiringCache[str, KnownPhotos] = ExpiringCache(users, clock=clock)
        self._bytes_kept = bytes_kept

    def take(self, user_id: str) -> KnownPhotos:
        """Remove a user's photos from the cache and return them; none if the user is not in it."""
        self._users.expire()
        known: KnownPhotos = self._users.pop(user_id, {})
        return known

    def keep(self, user_id: str, photos: KnownPhotos) -> None:
        """Put the photos of a user into the cache, if there is room for them."""
        self._users[user_id] = photos
        self._limit_memory()

    def look_closely(
        self, user_id: str | None, photo: ReferencePhoto, look: Callable[[ReferencePhoto], ReferencePhoto]
    ) -> ReferencePhoto:
        """Return what `look` makes of a photo; only once for a photo of a user that is in the cache.

        Args:
            user_id: the user; None for somebody who is known by the request's pictures.
            photo: the photo, or its mirror image.
            look: looks at the photo closely.
        """
        known = next((one for one in self._of(user_id) if one.photo.name == photo.name), None)
        if known is None:
            return look(photo)
        seen = photo.landmarks.tobytes() + (b"" if photo.identity is None else photo.identity.tobytes())
        if seen not in known.close:
            if len(known.close) >= POSES:
                known.close.clear()
            known.close[seen] = look(photo)
            self._limit_memory()
        return known.close[seen]

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Drop the photos of users whose record is gone, and those that have not been used for a while.

        Args:
            exists: whether the bucket has an object with this key; what it raises is not caught.
        """
        self._users.expire()
        for user_id in [user_id for user_id in self._users if not exists(keys.model(user_id))]:
            self._users.pop(user_id, None)

    def _of(self, user_id: str | None) -> list[KnownPhoto]:
        found: KnownPhotos | None = None if user_id is None else self._users.get(user_id)
        return list((found or {}).values())

    def _limit_memory(self) -> None:
        while sum(photo.size for photos in self._users.values() for photo in photos.values()) > self._bytes_kept:
            self._users.popitem()


def identify(file: bytes, record: str) -> bytes:
    """Return the digest of a photo's file and of the record that says where its face is."""
    return hashlib.sha256(hashlib.sha256(file).digest() + record.encode()).digest()
