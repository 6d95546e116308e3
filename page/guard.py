"""Who may reach the page: a middleware in front of all of it, HTTP and WebSocket alike.

| call | without a token (loopback only) | with a token |
|---|---|---|
| whose Host is not a name of this machine | refused: another site's name may have been pointed here | passed on |
| whose Origin is another site | refused | refused |
| without a session | passed on | the login form; a WebSocket is refused |
| over a WebSocket whose session has ended since | | closed at its next message, which comes within half a minute |
| login with a wrong token | | counted; beyond the limit refused for a minute, right token or not |

A session is a random name in a cookie that scripts cannot read and other sites cannot send. It is kept in memory: after
a restart everybody logs in again.
"""

import hmac
import ipaddress
import secrets
import time
from collections import deque
from collections.abc import Callable
from html import escape
from urllib.parse import SplitResult, parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from page import texts
from page.settings import PageSettings

COOKIE = "photog_session"
LONGEST_LOGIN = 8192  # bytes of a login's body
SPARE_BYTES = 64 * 1024  # around a picture: the multipart frame of its upload
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws: wss:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)  # Vue compiles its templates in the browser, which is eval
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"same-origin",  # with no-referrer browsers send a form without its Origin
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}


def is_loopback(host: str) -> bool:
    """Return whether an address or name is this machine and nothing else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Sessions:
    """The sessions of browsers that have logged in, and the wrong tries of the last minute."""

    def __init__(self, settings: PageSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._until: dict[str, float] = {}
        self._wrong: deque[float] = deque()

    @property
    def needed(self) -> bool:
        """Whether anybody has to log in."""
        return self._settings.token is not None

    def is_open(self, session: str | None) -> bool:
        """Return whether a cookie's value is a session that has not ended."""
        return not self.needed or self._until.get(session or "", 0.0) > self._clock()

    def seconds_closed(self) -> float:
        """Return for how long no login is taken; 0 if one is."""
        while self._wrong and self._wrong[0] <= self._clock() - 60:
            self._wrong.popleft()
        if len(self._wrong) < self._settings.tries_a_minute:
            return 0.0
        return self._wrong[0] + 60 - self._clock()

    def log_in(self, token: str) -> str | None:
        """Return a new session for the right token; None for a wrong one, which is counted."""
        kept = (self._settings.token or "").encode("utf-8", "surrogateescape")  # of an environment in another encoding
        right = hmac.compare_digest(token.encode(), kept)
        if not right or not self._settings.token:
            self._wrong.append(self._clock())
            return None
        now = self._clock()
        self._until = {name: until for name, until in self._until.items() if until > now}
        session = secrets.token_urlsafe(32)
        self._until[session] = now + self._settings.session_hours * 3600
        return session

    def log_out(self, session: str | None) -> None:
        """End a session."""
        self._until.pop(session or "", None)


class Guard:
    """An ASGI middleware that guards every path below `root`."""

    def __init__(self, app: ASGIApp, sessions: Sessions, root: str, most_bytes: int, hours: float) -> None:
        """Guard an application.

        Args:
            root: the page's path, such as /page.
            most_bytes: of one uploaded picture.
            hours: that a browser keeps the cookie.
        """
        self._app, self._sessions, self._root = app, sessions, root
        self._most_bytes, self._hours = most_bytes, hours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, or refuse it."""
        path = scope.get("path", "")
        if scope["type"] not in ("http", "websocket") or not (path == self._root or path.startswith(self._root + "/")):
            await self._app(scope, receive, send)
            return
        request = Request({**scope, "type": "http", "method": scope.get("method", "GET")}, receive)
        refused = self._refuse(request, scope["type"] == "websocket")
        if refused is None and scope["type"] == "http":
            refused = await self._sign_in(request, path)
        if refused is None:
            inner = self._until_ended(request, receive, send) if scope["type"] == "websocket" else receive
            await self._app(scope, inner, _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refused(scope, receive, _with_headers(send))

    def _refuse(self, request: Request, socket: bool) -> Response | None:
        """Return the refusal of a call that no browser of a rightful viewer makes, or of one that is too large."""
        host = request.headers.get("host", "")
        if not self._sessions.needed and not is_loopback(_split(f"//{host}").hostname or ""):
            return PlainTextResponse(texts.WRONG_HOST, 421)
        origin = request.headers.get("origin")
        if origin is not None and _split(origin).netloc != host:
            return PlainTextResponse(texts.OTHER_SITE, 403)
        if socket and not self._sessions.is_open(request.cookies.get(COOKIE)):
            return PlainTextResponse(texts.LOGIN_FIRST, 401)
        if request.method == "POST":
            length = request.headers.get("content-length", "")
            if not length.isdigit():
                return PlainTextResponse(texts.NO_LENGTH, 411)
            if int(length) > self._most_bytes + SPARE_BYTES:
                return PlainTextResponse(texts.too_large(self._most_bytes), 413)
        return None

    def _until_ended(self, request: Request, receive: Receive, send: Send) -> Receive:
        """Return what a WebSocket receives for as long as its session is open."""

        async def receiving() -> Message:
            message = await receive()
            if message["type"] != "websocket.receive" or self._sessions.is_open(request.cookies.get(COOKIE)):
                return message
            await send({"type": "websocket.close", "code": 1008})
            return {"type": "websocket.disconnect", "code": 1008}

        return receiving

    async def _sign_in(self, request: Request, path: str) -> Response | None:
        """Answer the logout, the login, and everything else of those who have not logged in."""
        session = request.cookies.get(COOKIE)
        if path == f"{self._root}/logout" and request.method == "POST":
            self._sessions.log_out(session)
            return RedirectResponse(self._root + "/", 303)
        if self._sessions.is_open(session):
            return None
        if path != f"{self._root}/login":
            asked = "text/html" in request.headers.get("accept", "")
            return self._form() if asked and request.method == "GET" else PlainTextResponse(texts.LOGIN_FIRST, 401)
        return await self._log_in(request) if request.method == "POST" else self._form()

    async def _log_in(self, request: Request) -> Response:
        """Answer a login."""
        if (wait := self._sessions.seconds_closed()) > 0:
            return self._form(texts.too_many_tries(wait), 429, {"Retry-After": str(int(wait) + 1)})
        if int(request.headers["content-length"]) > LONGEST_LOGIN:
            return PlainTextResponse(texts.too_large(LONGEST_LOGIN), 413)
        given = parse_qs((await request.body()).decode("utf-8", "replace")).get("token", [""])[0]
        made = self._sessions.log_in(given)
        if made is None:
            return self._form(texts.WRONG_TOKEN, 403)
        answer = RedirectResponse(self._root + "/", 303)
        secure = request.headers.get("x-forwarded-proto", request.url.scheme) in ("https", "wss")
        answer.set_cookie(
            COOKIE,
            made,
            max_age=int(self._hours * 3600),
            path=self._root,
            httponly=True,
            samesite="strict",
            secure=secure,
        )
        return answer

    def _form(self, told: str = "", status: int = 401, headers: dict[str, str] | None = None) -> HTMLResponse:
        alert = f'<p role="alert">{escape(told)}</p>' if told else ""
        return HTMLResponse(
            LOGIN.format(
                title=texts.LOGIN_TITLE,
                label=texts.TOKEN,
                button=texts.LOG_IN,
                alert=alert,
                action=f"{self._root}/login",
            ),
            status,
            {"Cache-Control": "no-store"} | (headers or {}),
        )


LOGIN = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<style>
:root {{ font: 16px/1.5 system-ui, sans-serif; color-scheme: light dark }}
body {{ margin: 0 }} main {{ min-height: 100vh; display: grid; place-items: center;
  background: light-dark(#f6f6f4, #161618) }}
form {{ width: min(21rem, 100% - 3rem); display: grid; gap: 1rem; padding: 2rem; border-radius: 16px;
  box-sizing: border-box; background: light-dark(#fff, #202023); border: 1px solid light-dark(#e4e4df, #323237) }}
h1 {{ font-size: 1.25rem; margin: 0 }} label {{ display: grid; gap: .35rem; font-size: .9rem }} p {{ margin: 0 }}
input, button {{ font: inherit; padding: .6rem .8rem; border-radius: 10px;
  border: 1px solid light-dark(#cfcfca, #4a4a50) }}
button {{ background: #0f766e; border-color: #0f766e; color: #fff; font-weight: 600; cursor: pointer }}
[role=alert] {{ color: light-dark(#b42318, #f97066) }}
</style></head><body><main><form method="post" action="{action}"><h1>{title}</h1>{alert}
<label>{label}<input name="token" type="password" autocomplete="current-password" required autofocus></label>
<button>{button}</button></form></main></body></html>"""


def _split(address: str) -> SplitResult:
    """Split an address; what is none has neither name nor port."""
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", "", "", "")


def _with_headers(send: Send) -> Send:
    """Add the headers of a safe page to every answer that has none of its own under these names."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            has = {name.lower() for name, _ in message.get("headers", [])}
            message["headers"] = [
                *message.get("headers", []),
                *((name, value) for name, value in HEADERS.items() if name not in has),
            ]
        await send(message)

    return sending
