"""Reads the manifests of one function, and counts readings of large ones, since a reader may die of them.

| manifest | what is done first |
|---|---|
| under a key that not every store supports | only its hash is computed, it is not parsed |
| larger than the limit | only its hash is computed, it is not parsed |
| large | a claim on its bytes, `claims/<function>/.reading-<hash>/`, removed once it is read |
| small | nothing: it cannot cost much, see `manifest_text.py` |

A reader that dies leaves that claim behind; after `lease.attempts` such claims the manifest is refused unread.
"""

import hashlib

from shared.buckets.base import Bucket, ObjectTooLarge, is_usable_key
from shared.contract import keys
from shared.contract.manifests import Manifest, parse
from shared.errors import InvalidManifest, ManifestTooLarge, PhotogError
from shared.lifecycle.claims import AttemptsUsedUp, ClaimBusy, Claims

COUNTED_BYTES = 1024 * 1024  # from here on, reading takes enough memory or time to be worth three store calls


class BeingRead(PhotogError):
    """Another worker is reading this manifest, or died doing so a moment ago; look again later."""


def require_key(key: str) -> None:
    """Raise InvalidManifest if a manifest must not be read because of its key, however it was found."""
    if not is_usable_key(key):
        raise InvalidManifest(
            "it cannot be a key, because it has / at an end or twice in a row; the manifest was not read, put it under "
            f"{keys.without_empty_names(key)}"
        )


class ManifestReader:
    """Reads the manifests of one function in a bucket.

    Args:
        largest: limit of a manifest in bytes.
    """

    def __init__(self, bucket: Bucket, claims: Claims, largest: int) -> None:
        self._bucket, self._claims, self._largest = bucket, claims, largest

    def read(self, key: str) -> Manifest | None:
        """Return the manifest at a key; None if there is no object, or an empty one. One store call for a small one.

        Raises:
            InvalidManifest: if it cannot be read.
            ManifestTooLarge: if it is over the limit.
            BeingRead: if another worker is reading it.
        """
        if not is_usable_key(key):
            if self._size(key):
                require_key(key)
            return None
        try:
            text = self._bucket.find(key, self._largest)
        except ObjectTooLarge as error:
            raise ManifestTooLarge(f"{key} has {self._size(key)} bytes, {self._largest} are allowed") from error
        if not text:
            return None
        return parse(text) if len(text) < COUNTED_BYTES else self._read_counted(key, text)

    def peek(self, key: str) -> Manifest | None:
        """Return a small manifest; None if it is not there or large. One store call, and nothing is written."""
        try:
            text = self._bucket.find(key, COUNTED_BYTES - 1) if is_usable_key(key) else None
        except ObjectTooLarge:
            return None
        return parse(text) if text else None

    def digest(self, key: str) -> str:
        """Return the SHA-256 of the bytes at a key, without holding them all; raises MissingObject."""
        digest = hashlib.sha256()
        for piece in self._bucket.stream(key):
            digest.update(piece)
        return digest.hexdigest()

    def _size(self, key: str) -> int:
        """Return the size of an object in bytes, 0 if there is none."""
        info = self._bucket.head(key)
        return 0 if info is None else info.size

    def _read_counted(self, key: str, text: bytes) -> Manifest:
        digest = hashlib.sha256(text).hexdigest()
        name = f".reading-{digest[:12]}"  # no request_id begins with a dot
        claim = self._claims.acquire(name, key, digest)
        if isinstance(claim, ClaimBusy):
            raise BeingRead(key)
        try:
            if isinstance(claim, AttemptsUsedUp):
                raise InvalidManifest(f"the manifest cannot be read: {claim}")
            return parse(text)
        finally:
            self._claims.remove(name)
