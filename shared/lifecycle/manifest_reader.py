"""Reads the manifests of one function, so that whatever a manifest does to its reader has been counted before.

| manifest | what is done first |
|---|---|
| under a key that not every store can bear | nothing is read but its hash |
| larger than the limit | nothing is read but its hash |
| large | a claim on its bytes, `claims/<function>/.reading-<hash>/`, removed once it is read |
| small | nothing: it cannot cost much, see `manifests.py` |

A reader that dies leaves that claim behind; after as many as `lease.attempts` the manifest is refused unread.
"""

import hashlib

from shared.buckets.base import Bucket, is_usable_key
from shared.contract import keys
from shared.contract.manifests import Manifest, parse
from shared.errors import InvalidManifest, ManifestTooLarge, PhotogError
from shared.lifecycle.claims import AttemptsUsedUp, ClaimBusy, Claims

COUNTED_BYTES = 1024 * 1024  # from here on reading takes enough memory or time to be worth three calls of the store


class BeingRead(PhotogError):
    """Another worker reads this manifest, or died of it a moment ago; look again later."""


def require_key(key: str) -> None:
    """InvalidManifest for a manifest that is not read because of its key, whoever finds it."""
    if not is_usable_key(key):
        raise InvalidManifest(
            "it cannot be a key with / at an end or twice in a row, so the manifest was not read; put it under "
            f"{keys.without_empty_names(key)}"
        )


class ManifestReader:
    """Reads manifests of a bucket for one function."""

    def __init__(self, bucket: Bucket, claims: Claims, largest: int) -> None:
        self._bucket, self._claims, self._largest = bucket, claims, largest

    def read(self, key: str, size: int) -> Manifest:
        """The manifest at a key. InvalidManifest, ManifestTooLarge, MissingObject, BeingRead.

        Args:
            size: of the object in bytes, as the store says.
        """
        require_key(key)
        if size > self._largest:
            raise ManifestTooLarge(f"{key} has {size} bytes, {self._largest} are allowed")
        text = self._bucket.get(key)
        return parse(text) if len(text) < COUNTED_BYTES else self._counted(key, text)

    def digest(self, key: str) -> str:
        """SHA-256 of the bytes at a key, without holding them all; MissingObject."""
        digest = hashlib.sha256()
        for piece in self._bucket.stream(key):
            digest.update(piece)
        return digest.hexdigest()

    def _counted(self, key: str, text: bytes) -> Manifest:
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
