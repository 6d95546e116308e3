"""Names of one object: its key in a bucket, and the URLs that mean the same object there."""

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from shared.buckets import Bucket, s3_name
from shared.contract.data_urls import is_embedded


class Places:
    """Tells which references of requests lie in a bucket.

    A store's own name means the whole store, also where the bucket is only what lies below a prefix of it.
    """

    def __init__(self, bucket: Bucket, named: Mapping[str, str]) -> None:
        """named: addresses of the buckets that references may name."""
        self._home = _place(bucket.address)
        own = s3_name(bucket)
        self._named = {own: (self._home[0], "")} if own is not None else {}
        self._named |= {name: _place(address) for name, address in named.items()}

    def key(self, reference: str) -> str | None:
        """The key that a reference means in this bucket; None where it means something else."""
        scheme, slashes, rest = reference.partition("://")
        if not slashes:
            return None if is_embedded(reference) else reference
        name, _, key = rest.partition("/")
        if scheme.lower() not in ("s3", "oss") or name not in self._named:
            return None
        (store, base), (home, below) = self._named[name], self._home
        whole = base + key
        return whole.removeprefix(below) if store == home and whole.startswith(below) and key else None


def _place(address: str) -> tuple[str, str]:
    """The store at an address, and what stands before the keys there: empty, or ending with /."""
    if "://" not in address:
        return "folder", os.path.realpath(address).rstrip("/") + "/"
    parts = urlsplit(address)
    path = parts.path.strip("/")
    scheme = "s3" if parts.scheme == "oss" else parts.scheme
    return f"{scheme}://{parts.netloc}", f"{path}/" if path else ""
