"""Bytes of pictures by reference: http(s), data URLs, keys of buckets; all at once, bounded in size, time and reach.

Every hop of a redirect is looked up once, its addresses are checked, and the connection goes to the very address that
was checked, so that a second DNS answer cannot lead elsewhere. Proxies of the environment are not used for that reason.
"""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version

import httpx

from shared.contract.data_urls import decode_content, is_embedded
from shared.errors import PhotoError, PhotoTooLarge, PhotoUnavailable
from shared.photos import addresses
from shared.photos.keys import why_no_key
from shared.photos.packing import open_packed, unpack
from shared.photos.references import show_host, show_reference
from shared.photos.refusals import READ, quote_refusal, quote_title
from shared.photos.signatures import MESSAGES, describe_file, is_page, is_text
from shared.settings import Limits

AT_ONCE = 8  # connections of one request; more gain little against one server and cost memory
REDIRECTS = 5
REFUSAL_SECONDS = 3.0  # for the words of a server that refuses
MOST_SAID = 1024 * 1024  # bytes of them, unpacked
UNAVAILABLE = (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError)
WORDS: tuple[tuple[type[Exception], str], ...] = (
    (httpx.TimeoutException, "it did not answer in time"),
    (httpx.NetworkError, "the connection broke"),
    (httpx.ProtocolError, "its server does not keep to HTTP"),
    (httpx.HTTPError, "its server cannot be asked"),
    (httpx.InvalidURL, "it is no valid URL"),
    (OSError, "it cannot be read"),
    (ValueError, "it, or what its server says of it, cannot be understood"),
)

ReadKey = Callable[[str], bytes | None]
"""Reads a key; None, or a PhotoError that says more, where there is none. Called from several threads at once."""
SizeOf = Callable[[str], int | None]
"""Size of a key's object in bytes without reading it; None where there is none or nobody knows."""
Resolve = Callable[[str, int], list[str]]


def _without_secrets(record: logging.LogRecord) -> bool:
    """Whoever turns httpx's log on sees one line a request, with the URL as it was: as it may be shown, from now on."""
    if isinstance(record.args, tuple):
        record.args = tuple(show_reference(str(one)) if isinstance(one, httpx.URL) else one for one in record.args)
    return True


logging.getLogger("httpx").addFilter(_without_secrets)
logging.getLogger("httpcore").setLevel(logging.INFO)  # its DEBUG repeats headers, with where a redirect leads


class PhotoFetcher:
    """Fetches the pictures of requests; keeps no connection between two calls.

    Args:
        limits: `photo_bytes` and `fetch_seconds` are per picture.
        allow_private: let http(s) reach private, link-local and loopback addresses.
        read_key: reads keys of the request's own bucket; may raise OSError.
        buckets: readers for s3://name/key and oss://name/key by the name of the bucket, the own one included.
        size_of, bucket_sizes: sizes of the objects of the own bucket and of the named ones, where they are known: what
            is over the limit is then not read at all.
        resolve: looks a host up; replaced in tests.
        user_agent: what servers are told who asks; None is our name and release.
    """

    def __init__(
        self,
        limits: Limits,
        allow_private: bool,
        read_key: ReadKey,
        buckets: Mapping[str, ReadKey] | None = None,
        resolve: Resolve = addresses.resolve,
        size_of: SizeOf | None = None,
        bucket_sizes: Mapping[str, SizeOf] | None = None,
        user_agent: str | None = None,
    ) -> None:
        self._limits = limits
        self._allow_private = allow_private
        self._read_key = read_key
        self._buckets = dict(buckets or {})
        self._resolve = resolve
        self._size_of = size_of
        self._bucket_sizes = dict(bucket_sizes or {})
        self._user_agent = user_agent or f"photog/{version('photog')}"
        self._tls: ssl.SSLContext | None = None

    def fetch(self, references: Sequence[str]) -> list[bytes | PhotoError]:
        """The bytes of each picture, or why they cannot be had, in the order given; equal references are fetched once.

        Call it from a thread that runs no event loop.
        """
        distinct = list(dict.fromkeys(references))
        found = dict(zip(distinct, asyncio.run(self._fetch_all(distinct)), strict=True))
        return [found[reference] for reference in references]

    async def _fetch_all(self, references: list[str]) -> list[bytes | PhotoError]:
        turn = asyncio.Semaphore(AT_ONCE)
        async with httpx.AsyncClient(verify=self._context(references), trust_env=False) as client:
            return await asyncio.gather(*(self._fetch_one(client, turn, reference) for reference in references))

    def _context(self, references: list[str]) -> ssl.SSLContext | bool:
        """Reading the certificates takes 20 ms: only where https may be met, and once."""
        if self._tls is None and any(reference.lower().startswith("http") for reference in references):
            self._tls = httpx.create_ssl_context()
        return self._tls or False

    async def _fetch_one(
        self, client: httpx.AsyncClient, turn: asyncio.Semaphore, reference: str
    ) -> bytes | PhotoError:
        async with turn:
            try:
                async with asyncio.timeout(self._limits.fetch_seconds):
                    return self._bounded(await self._get(client, reference))
            except PhotoError as error:
                return error
            except TimeoutError:
                return PhotoUnavailable(
                    f"{show_reference(reference)} took longer than {self._limits.fetch_seconds:g} seconds"
                )
            except UNAVAILABLE as error:
                return PhotoUnavailable(f"{show_reference(reference)} cannot be fetched: {_reason(error)}")

    async def _get(self, client: httpx.AsyncClient, reference: str) -> bytes:
        if is_embedded(reference):
            return await asyncio.to_thread(decode_content, reference, self._limits.photo_bytes)
        scheme = reference.partition(":")[0].lower()
        if scheme in ("http", "https"):
            return await self._download(client, httpx.URL(reference))
        if scheme in ("s3", "oss") and "://" in reference:
            name, _, key = reference.partition("://")[2].partition("/")
            if name not in self._buckets:
                bucket = show_reference(name.rpartition("@")[2])
                raise PhotoUnavailable(
                    f"bucket {bucket} is not one that this service may read; PHOTOG_BUCKETS names them"
                )
            return await self._object(self._buckets[name], self._bucket_sizes.get(name), key)
        if "://" in reference:
            raise PhotoUnavailable(f"{show_reference(reference)} is no http(s), s3, oss or data URL, and no key")
        return await self._object(self._read_key, self._size_of, reference)

    async def _object(self, read: ReadKey, size_of: SizeOf | None, key: str) -> bytes:
        if impossible := why_no_key(key):
            raise PhotoUnavailable(f"{show_reference(key)} is no key: {impossible}")
        size = None if size_of is None else await asyncio.to_thread(size_of, key)
        self._check_size(size or 0)
        data = await asyncio.to_thread(read, key)
        if data is None:
            raise PhotoUnavailable(f"{show_reference(key)} is not in the bucket")
        return await asyncio.to_thread(open_packed, data, self._limits.photo_bytes)

    async def _download(self, client: httpx.AsyncClient, url: httpx.URL) -> bytes:
        for _ in range(REDIRECTS + 1):
            if url.scheme not in ("http", "https") or not url.host:
                raise PhotoUnavailable(f"{show_reference(str(url))} is no http(s) address")
            outcome = await self._hop(client, url, await self._checked(url))
            if isinstance(outcome, bytes):
                return outcome
            url = outcome
        raise PhotoUnavailable(f"more than {REDIRECTS} redirects, the last to {show_reference(str(url))}")

    async def _checked(self, url: httpx.URL) -> str:
        """The address to connect to; one private address among several is enough to refuse."""
        port = url.port or (443 if url.scheme == "https" else 80)
        found = await asyncio.to_thread(self._resolve, url.host, port)
        if not found:
            raise PhotoUnavailable(f"{show_host(url.host, str(url))} has no address")
        if not self._allow_private and not all(map(addresses.is_public, found)):
            raise PhotoUnavailable(
                f"{show_host(url.host, str(url))} is at a private address: put the picture into the bucket, or set "
                "PHOTOG_PRIVATE_ADDRESSES"
            )
        return found[0]

    async def _hop(self, client: httpx.AsyncClient, url: httpx.URL, address: str) -> bytes | httpx.URL:
        """The picture, or where a redirect leads."""
        headers = {
            "Host": url.netloc.decode("ascii"),
            "User-Agent": self._user_agent,
            "Accept": "image/*",
            "Accept-Encoding": "identity",  # pictures are packed already; what comes packed all the same is unpacked
        }
        timeout = httpx.Timeout(self._limits.fetch_seconds)
        async with client.stream(
            "GET", url.copy_with(host=address), headers=headers, timeout=timeout, extensions={"sni_hostname": url.host}
        ) as response:
            if response.has_redirect_location:
                return url.join(response.headers["Location"])
            if response.status_code != httpx.codes.OK:
                told = quote_refusal(await self._beginning(response), str(url))
                raise PhotoUnavailable(f"{show_reference(str(url))} answered {_status(response.status_code)}{told}")
            body = await self._body(response, url)
            data = await asyncio.to_thread(self._unpacked, body, response.headers.get("Content-Encoding", ""), url)
            _refuse_page(data, url)
            return data

    async def _body(self, response: httpx.Response, url: httpx.URL) -> bytes:
        if int(response.headers.get("Content-Length", 0)) > self._limits.photo_bytes:
            raise self._too_large(url)
        parts = bytearray()
        async for part in response.aiter_raw():
            parts += part
            if len(parts) > self._limits.photo_bytes:
                raise self._too_large(url)
        return bytes(parts)

    async def _beginning(self, response: httpx.Response) -> bytes:
        """What a refusal says, as far as it is there soon; without it the status says enough."""
        parts = bytearray()
        with suppress(TimeoutError, httpx.HTTPError):
            async with asyncio.timeout(REFUSAL_SECONDS):
                async for part in response.aiter_raw():
                    parts += part
                    if len(parts) > READ:
                        break
        try:
            return unpack(bytes(parts[:READ]), response.headers.get("Content-Encoding", ""), MOST_SAID)
        except PhotoError:
            return b""

    def _unpacked(self, body: bytes, encoding: str, url: httpx.URL) -> bytes:
        try:
            return unpack(body, encoding, self._limits.photo_bytes)
        except PhotoTooLarge as error:
            raise PhotoTooLarge(f"{show_reference(str(url))}: {error.message}") from error
        except PhotoError as error:
            raise PhotoUnavailable(f"{show_reference(str(url))}: {error.message}") from error

    def _bounded(self, data: bytes) -> bytes:
        self._check_size(len(data))
        return data

    def _check_size(self, size: int) -> None:
        if size > self._limits.photo_bytes:
            raise PhotoTooLarge(f"the picture has {size} bytes, more than the limit of {self._limits.photo_bytes}")

    def _too_large(self, url: httpx.URL) -> PhotoTooLarge:
        return PhotoTooLarge(f"{show_reference(str(url))} has more than the limit of {self._limits.photo_bytes} bytes")


def _refuse_page(data: bytes, url: httpx.URL) -> None:
    """PhotoUnavailable where a server has sent words instead of a picture, though it says that all is well."""
    if is_page(data):
        raise PhotoUnavailable(
            f"{show_reference(str(url))} sent a web page instead of a picture{quote_title(data, str(url))}: "
            "give the address of the file itself, one that needs no login"
        )
    kind = describe_file(data) if is_text(data) else None
    if kind is not None:
        told = quote_refusal(data, str(url)) if kind in MESSAGES else ""
        raise PhotoUnavailable(f"{show_reference(str(url))} sent no picture: {kind}{told}")


def _status(code: int) -> str:
    """With the standard's words for it: the server's own may be anything."""
    return f"{code} {httpx.codes.get_reason_phrase(code)}".rstrip()


def _reason(error: BaseException) -> str:
    """What went wrong, in our words: a library's may repeat the URL with its password, and what the server sent."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        if isinstance(cause, socket.gaierror):
            return "its host is not known"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return next(words for kind, words in WORDS if isinstance(error, kind))
