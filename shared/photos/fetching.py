"""Fetches pictures by reference, concurrently: http(s), data URLs and keys of buckets, with limits of size and time.

For every hop of a redirect the host is looked up once, its addresses are checked, and the connection goes to the
address that was checked, so that a second DNS answer cannot lead elsewhere. For the same reason proxies from the
environment are not used.

Each connection serves one request. Connections are made to addresses, and an address may serve many hosts: a second
host must not be spoken to over the connection that the first one's certificate was checked for, nor be answered by what
a faulty response to the first one left unread.
"""

import asyncio
import logging
import os
import re
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import httpx

from shared.contract.data_urls import decode_content, is_embedded
from shared.contract.release import VERSION
from shared.errors import RETRY_SECONDS, PhotoError, PhotoTooLarge, PhotoUnavailable
from shared.photos import addresses
from shared.photos.keys import why_no_key
from shared.photos.packing import open_packed, unpack
from shared.photos.references import show_host, show_reference, split_store_url
from shared.photos.refusals import READ, quote_refusal, quote_title
from shared.photos.signatures import MESSAGES, describe_file, is_page, is_text
from shared.photos.transience import retry_after_error, retry_after_status
from shared.settings import Limits

AT_ONCE = 8  # connections of one request; more of them gain little with a single server and cost memory
REDIRECTS = 5
ONE_CALL = httpx.Limits(max_keepalive_connections=0)  # see above
REFUSAL_SECONDS = 3.0  # to wait for the body of an error response
MOST_SAID = 1024 * 1024  # bytes of that body once it is unpacked
WHOLE = (httpx.codes.OK, httpx.codes.NON_AUTHORITATIVE_INFORMATION)  # the latter from proxies that recompress
WHOLE_RANGE = re.compile(r"bytes 0-(\d{1,12})/(\d{1,12})")
UNAVAILABLE = (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError)
WORDS: tuple[tuple[type[Exception], str], ...] = (
    (httpx.TimeoutException, "it did not answer in time"),
    (httpx.NetworkError, "the connection broke"),
    (httpx.ProtocolError, "its server violates the HTTP protocol"),
    (httpx.HTTPError, "the request to its server failed"),
    (httpx.InvalidURL, "it is not a valid URL"),
    (OSError, "it cannot be read"),
    (ValueError, "the reference or the server's response is not valid"),
)

ReadKey = Callable[[str], bytes | None]
"""Reads the object under a key; a missing one is None, or a PhotoError that says more. Called from several threads."""
SizeOf = Callable[[str], int | None]
"""Returns the size in bytes of the object under a key without reading it; None if it is missing or its size unknown."""
Resolve = Callable[[str, int], list[str]]


def _without_secrets(record: logging.LogRecord) -> bool:
    """Replace URLs in httpx's log lines, of which there is one per request, by a form that shows no secrets."""
    if isinstance(record.args, tuple):
        record.args = tuple(show_reference(str(one)) if isinstance(one, httpx.URL) else one for one in record.args)
    return True


logging.getLogger("httpx").addFilter(_without_secrets)
logging.getLogger("httpcore").setLevel(logging.INFO)  # its DEBUG lines have headers, and with them redirects' secrets


class PhotoFetcher:
    """Fetches the pictures of requests; keeps no connections open between calls.

    Args:
        limits: `photo_bytes` and `fetch_seconds` are limits for each picture.
        allow_private: let http(s) reach private, link-local and loopback addresses.
        read_key: reads keys of the request's bucket; may raise OSError.
        buckets: readers for s3://name/key and oss://name/key by bucket name, including the request's bucket.
        resolve: looks up a host; replaced in tests.
        size_of, bucket_sizes: sizes of the objects in the request's bucket and in the named ones, if they are known;
            an object over the limit is then not read at all.
        user_agent: the User-Agent header; None for our name and release.
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
        self._user_agent = user_agent or f"photog/{VERSION}"
        self._tls: ssl.SSLContext | None = None

    def fetch(self, references: Sequence[str]) -> list[bytes | PhotoError]:
        """Return the bytes of each picture, or the error why they cannot be fetched, in the order of the references.

        Equal references are fetched once. Must be called from a thread without a running event loop.
        """
        distinct = list(dict.fromkeys(references))
        found = dict(zip(distinct, asyncio.run(self._fetch_all(distinct)), strict=True))
        return [found[reference] for reference in references]

    async def _fetch_all(self, references: list[str]) -> list[bytes | PhotoError]:
        turn = asyncio.Semaphore(AT_ONCE)
        async with httpx.AsyncClient(verify=self._context(references), trust_env=False, limits=ONE_CALL) as client:
            return await asyncio.gather(*(self._fetch_one(client, turn, reference) for reference in references))

    def _context(self, references: list[str]) -> ssl.SSLContext | bool:
        """Create the TLS context once, and only if a URL may need it: reading the certificates takes 20 ms."""
        if self._tls is None and any(reference.lower().startswith("http") for reference in references):
            self._tls = httpx.create_ssl_context()
        return self._tls or False

    async def _fetch_one(
        self, client: httpx.AsyncClient, turn: asyncio.Semaphore, reference: str
    ) -> bytes | PhotoError:
        async with turn:
            try:
                async with asyncio.timeout(self._limits.fetch_seconds):
                    return self._require_size(await self._get(client, reference))
            except PhotoError as error:
                return error
            except TimeoutError:
                return PhotoUnavailable(
                    f"{show_reference(reference)} took longer than {self._limits.fetch_seconds:g} seconds"
                ).retry_in(RETRY_SECONDS)
            except UNAVAILABLE as error:
                unavailable = PhotoUnavailable(f"{show_reference(reference)} cannot be fetched: {_reason(error)}")
                return unavailable.retry_in(retry_after_error(error))

    async def _get(self, client: httpx.AsyncClient, reference: str) -> bytes:
        if is_embedded(reference):
            return await asyncio.to_thread(decode_content, reference, self._limits.photo_bytes)
        scheme = reference.partition(":")[0].lower()
        if scheme in ("http", "https"):
            return await self._download(client, httpx.URL(reference))
        stored = split_store_url(reference)
        if stored is not None:
            name, key = stored
            if name not in self._buckets:
                bucket = show_reference(name.rpartition("@")[2])
                raise PhotoUnavailable(
                    f"bucket {bucket} is not one that this service may read; PHOTOG_BUCKETS lists those"
                )
            return await self._object(self._buckets[name], self._bucket_sizes.get(name), key)
        if "://" in reference:
            raise PhotoUnavailable(f"{show_reference(reference)} is not an http(s), s3, oss or data URL, nor a key")
        return await self._object(self._read_key, self._size_of, reference)

    async def _object(self, read: ReadKey, size_of: SizeOf | None, key: str) -> bytes:
        if impossible := why_no_key(key):
            raise PhotoUnavailable(f"{show_reference(key)} cannot be a key: {impossible}")
        size = None if size_of is None else await asyncio.to_thread(size_of, key)
        self._check_size(size or 0)
        data = await asyncio.to_thread(read, key)
        if data is None:
            raise PhotoUnavailable(f"{show_reference(key)} is not in the bucket")
        return await asyncio.to_thread(open_packed, data, self._limits.photo_bytes)

    async def _download(self, client: httpx.AsyncClient, url: httpx.URL) -> bytes:
        for _ in range(REDIRECTS + 1):
            if url.scheme not in ("http", "https") or not url.host:
                raise PhotoUnavailable(f"{show_reference(str(url))} is not an http(s) address")
            outcome = await self._hop(client, url, await self._check_address(url))
            if isinstance(outcome, bytes):
                return outcome
            url = outcome
        raise PhotoUnavailable(f"more than {REDIRECTS} redirects, the last to {show_reference(str(url))}")

    async def _check_address(self, url: httpx.URL) -> str:
        """Return the address to connect to; PhotoUnavailable if any address of the host is private."""
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
        """Request a URL at the checked address; return the picture, or the URL that a redirect leads to."""
        headers = {
            "Host": url.netloc.decode("ascii"),
            "User-Agent": self._user_agent,
            "Accept": "image/*",
            "Accept-Encoding": "identity",  # pictures are compressed anyway; a compressed response is still unpacked
        }
        timeout = httpx.Timeout(self._limits.fetch_seconds)
        async with client.stream(
            "GET", url.copy_with(host=address), headers=headers, timeout=timeout, extensions={"sni_hostname": url.host}
        ) as response:
            if response.has_redirect_location:
                return url.join(response.headers["Location"])
            if not _is_whole(response):
                quote = quote_refusal(await self._beginning(response), str(url))
                refusal = f"{show_reference(str(url))} answered {_status(response.status_code)}{quote}"
                raise PhotoUnavailable(refusal).retry_in(retry_after_status(response.status_code, response.headers))
            body = await self._body(response, url)
            data = await asyncio.to_thread(self._unpack, body, response.headers.get("Content-Encoding", ""), url)
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
        """Return the beginning of an error response's body, as much as arrives soon; the status alone says enough."""
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

    def _unpack(self, body: bytes, encoding: str, url: httpx.URL) -> bytes:
        try:
            return unpack(body, encoding, self._limits.photo_bytes)
        except PhotoTooLarge as error:
            raise PhotoTooLarge(f"{show_reference(str(url))}: {error.message}") from error
        except PhotoError as error:
            raise PhotoUnavailable(f"{show_reference(str(url))}: {error.message}") from error

    def _require_size(self, data: bytes) -> bytes:
        self._check_size(len(data))
        return data

    def _check_size(self, size: int) -> None:
        if size > self._limits.photo_bytes:
            raise PhotoTooLarge(f"the picture has {size} bytes, more than the limit of {self._limits.photo_bytes}")

    def _too_large(self, url: httpx.URL) -> PhotoTooLarge:
        return PhotoTooLarge(f"{show_reference(str(url))} has more than the limit of {self._limits.photo_bytes} bytes")


def _is_whole(response: httpx.Response) -> bool:
    """Return whether a response brings the whole file, as some caches do with 206 although nobody asked for a part."""
    if response.status_code == httpx.codes.PARTIAL_CONTENT:
        given = WHOLE_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        return given is not None and int(given[1]) + 1 == int(given[2])
    return response.status_code in WHOLE


def _refuse_page(data: bytes, url: httpx.URL) -> None:
    """Raise PhotoUnavailable if a server has sent a page or text instead of a picture, in spite of its status 200."""
    if is_page(data):
        raise PhotoUnavailable(
            f"{show_reference(str(url))} sent a web page instead of a picture{quote_title(data, str(url))}: "
            "give the address of the file itself, one that needs no login"
        )
    kind = describe_file(data) if is_text(data) else None
    if kind is not None:
        quote = quote_refusal(data, str(url)) if kind in MESSAGES else ""
        raise PhotoUnavailable(f"{show_reference(str(url))} sent no picture: {kind}{quote}")


def _status(code: int) -> str:
    """Return a status code with its standard phrase; the phrase in the response may be anything."""
    return f"{code} {httpx.codes.get_reason_phrase(code)}".rstrip()


def _reason(error: BaseException) -> str:
    """Return the cause in our words; a library's message may contain the URL with its password, or the response."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        if isinstance(cause, socket.gaierror):
            return "its host is unknown"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return next(words for kind, words in WORDS if isinstance(error, kind))
