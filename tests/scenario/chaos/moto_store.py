"""moto without a server of its own: one call over HTTP as bytes in, its answer as bytes out.

moto's own server starts a thread and closes the connection for each call, which is half of what a call costs.
"""

import io
import sys
from typing import Any
from urllib.parse import unquote_to_bytes

from moto import backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

Headers = dict[str, str]


class MotoStore:
    """Every service of moto, in this process; one call at a time, since moto is not made for threads."""

    def __init__(self) -> None:
        modules = tuple(backends.list_of_moto_modules())
        backends.list_of_moto_modules = lambda: modules  # looks into folders at every call
        self._serve = DomainDispatcherApplication(create_backend_app)

    def ask(self, method: str, path: str, headers: Headers, body: bytes) -> bytes:
        """One call, answered as it stands on the wire."""
        environ = _environ(method, path, headers, body)
        said: list[Any] = []
        parts = self._serve(environ, lambda status, fields, error=None: said.extend((status, fields)))
        body = b"".join(parts)
        status, fields = said
        if not any(name.lower() == "content-length" for name, _ in fields):
            fields = [*fields, ("Content-Length", str(len(body)))]
        head = "".join(f"{name}: {value}\r\n" for name, value in fields if name.lower() != "connection")
        return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + (b"" if method == "HEAD" else body)


def _environ(method: str, path: str, headers: Headers, body: bytes) -> dict[str, Any]:
    where, _, query = path.partition("?")
    made = {
        "REQUEST_METHOD": method,
        "PATH_INFO": unquote_to_bytes(where).decode("latin-1"),
        "QUERY_STRING": query,
        "RAW_URI": path,
        "REQUEST_URI": path,
        "SCRIPT_NAME": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in headers.items():
        if name == "content-type":
            made["CONTENT_TYPE"] = value
        elif name not in ("content-length", "transfer-encoding"):
            made[f"HTTP_{name.upper().replace('-', '_')}"] = value
    return made
