"""Names of one object: its key in a bucket, and the URLs that mean the same object there.

| reference | key, if the bucket is in a store |
|---|---|
| `photos/a.jpg` | the reference itself |
| `s3://own/photos/a.jpg`, `oss://...`, also by a name in the settings | the same |
| `https://own.s3.eu-central-1.amazonaws.com/photos/a.jpg?X-Amz-Signature=...` | the same, signed or not |
| `https://s3.amazonaws.com/own/photos/a.jpg` | the same |
| `http://minio:9000/own/photos/a.jpg`, `https://own.oss-cn-hangzhou.aliyuncs.com/photos/a.jpg` | by the endpoint |
| `album/a.jpg` in a folder, where `album` or `a.jpg` is a link to `photos` or below it | the key of the file itself |

URLs are parsed as the fetcher parses them, so that both mean the same object.

Other ways to a bucket cannot be known: a CDN, a proxy, another name of its endpoint.
"""

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.buckets import Bucket, endpoint_of, s3_name
from shared.buckets.base import is_usable_key
from shared.contract.data_urls import is_embedded
from shared.contract.references import split_store_url

if TYPE_CHECKING:
    import httpx

AWS = re.compile(r"(?:(?P<bucket>[a-z0-9._-]+)\.)?s3(?:[.-][a-z0-9-]+)*\.amazonaws\.com(?:\.cn)?")
"""Hosts of S3: global, regional, dual-stack, FIPS, accelerated, website; with or without the bucket in front."""
ALIYUN = re.compile(r"(?:s3\.)?(oss-[a-z0-9-]+?)(?:-internal)?\.aliyuncs\.com")  # from outside and from within a region
FOLDER = "folder"  # in place of the store of a bucket that is a folder
DEFAULT_PORTS = {"http": 80, "https": 443}


class Places:
    """Decides which references of requests mean an object in a bucket.

    A store's own name means the whole store, even if the bucket is only what is below a prefix of it.
    """

    def __init__(self, bucket: Bucket, named: Mapping[str, str]) -> None:
        """Resolve references for a bucket.

        Args:
            named: addresses of the buckets that references may name.
        """
        self._home = _parse_address(bucket.address)
        own, endpoint = s3_name(bucket), endpoint_of(bucket)
        host = ""
        if endpoint:
            import httpx  # here, since most commands look up no URL

            host = _parse_host(httpx.URL(endpoint))
        self._own, self._endpoint = own, None if not host or AWS.fullmatch(host) else host
        self._named = {own: (self._home[0], "")} if own is not None else {}
        self._named |= {name: _parse_address(address) for name, address in named.items()}

    def key(self, reference: str) -> str | None:
        """Return the key that a reference means in this bucket; None if it means something else."""
        key = self._key(reference)
        return self._follow_links(key) if key is not None and self._home[0] == FOLDER else key

    def _key(self, reference: str) -> str | None:
        if "://" not in reference:
            return None if is_embedded(reference) else reference
        if reference.partition(":")[0].lower() in DEFAULT_PORTS:
            whole = self._key_by_host(reference)
            return None if whole is None else self._key_below(self._home[0], whole)
        name, key = split_store_url(reference) or ("", "")
        if name not in self._named or not key:
            return None
        store, base = self._named[name]
        return self._key_below(store, base + key)

    def _follow_links(self, key: str) -> str:
        """Return the key of the file that a key leads to; the key itself if it leads out of the bucket."""
        root = self._home[1]
        path = os.path.realpath(root + key) if is_usable_key(key) else ""
        return path.removeprefix(root) if path.startswith(root) else key

    def _key_below(self, store: str, whole: str) -> str | None:
        """Return the key in this bucket of the object that `store` calls `whole`; None if it is outside."""
        home, below = self._home
        return whole.removeprefix(below) or None if store == home and whole.startswith(below) else None

    def _key_by_host(self, url: str) -> str | None:
        """Return the key in this bucket's store of the object at an http(s) URL; None if it is elsewhere."""
        import httpx

        try:
            parts = httpx.URL(url)
        except httpx.InvalidURL:
            return None
        host, path = _parse_host(parts), parts.path.removeprefix("/")
        if self._own is None:
            return None
        name = self._bucket_of_host(host)
        if name is None:
            return None
        if not name:
            name, _, path = path.partition("/")
        return path if name == self._own else None

    def _bucket_of_host(self, host: str) -> str | None:
        """Return the bucket that a host names; empty if the path names it, None if it is not a host of the store."""
        if self._endpoint is None:
            found = AWS.fullmatch(host)
            return None if found is None else found["bucket"] or ""
        if host == self._endpoint:
            return ""
        name = host.removesuffix(f".{self._endpoint}")
        return None if name == host else name


def _parse_address(address: str) -> tuple[str, str]:
    """Return the store at an address, and the prefix of the keys there: empty, or ending with /."""
    if "://" not in address:
        return FOLDER, os.path.realpath(address).rstrip("/") + "/"
    parts = urlsplit(address)
    path = parts.path.strip("/")
    scheme = "s3" if parts.scheme == "oss" else parts.scheme
    return f"{scheme}://{parts.netloc}", f"{path}/" if path else ""


def _parse_host(url: "httpx.URL") -> str:
    """Return the host and port of a URL in one canonical spelling."""
    host = ALIYUN.sub(r"\1.aliyuncs.com", url.host.rstrip("."))
    return host if url.port in (None, DEFAULT_PORTS.get(url.scheme)) else f"{host}:{url.port}"
