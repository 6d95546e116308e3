"""The ASGI application of the page: NiceGUI's screens, the pictures, the style sheet, and the guard in front of all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse, RedirectResponse
from nicegui import ui
from starlette.concurrency import run_in_threadpool

from page import texts
from page.guard import Guard, Sessions
from page.operation_screen import OperationScreen
from page.people_screen import PeopleScreen
from page.pictures import NoPicture
from page.portrait_screen import PortraitScreen
from page.request_screen import RequestScreen
from page.studio import Studio
from page.widgets import ROOT, frame

ASSETS = Path(__file__).parent / "assets"
RECONNECT_SECONDS = 30.0  # without a connection, after which a tab begins anew and its photos have to be added again
FAVICON = "📷"
SAFE_PICTURE = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, max-age=3600",
}


def build_application(studio: Studio) -> FastAPI:
    """Build the application of `photog page`; NiceGUI allows one in a process."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield

    app = FastAPI(title="photog page", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/")
    async def to_page() -> RedirectResponse:
        return RedirectResponse(ROOT + "/")

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    mount_page(app, studio)
    return app


def mount_page(app: FastAPI, studio: Studio) -> None:
    """Add the page to an application, below ROOT."""
    sessions = Sessions(studio.page)
    _add_files(app, studio)
    _add_screens(studio, sessions)
    ui.run_with(
        app,
        mount_path=ROOT,
        title=texts.PRODUCT,
        dark=None,
        tailwind=False,
        favicon=FAVICON,
        show_welcome_message=False,
        reconnect_timeout=RECONNECT_SECONDS,
    )
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        tasks = [asyncio.create_task(one.run()) for one in (studio.follower, studio.drafts)]
        studio.index.start()
        try:
            async with inner(app) as state:
                yield state
        finally:
            for task in tasks:
                task.cancel()
            await run_in_threadpool(studio.index.stop)
            await run_in_threadpool(studio.drafts.end)

    app.router.lifespan_context = lifespan
    app.add_middleware(
        Guard,
        sessions=sessions,
        root=ROOT,
        most_bytes=studio.settings.limits.photo_bytes,
        hours=studio.page.session_hours,
    )


def _add_files(app: FastAPI, studio: Studio) -> None:
    @app.get(ROOT + "/assets/page.css", include_in_schema=False)
    async def style() -> FileResponse:
        return FileResponse(ASSETS / "page.css", media_type="text/css", headers={"Cache-Control": "no-cache"})

    @app.get(ROOT + "/pictures/{key:path}", include_in_schema=False)
    async def picture(key: str, request: Request, side: int | None = None, download: str | None = None) -> Response:
        try:
            if side is not None:
                data, kind = await run_in_threadpool(studio.pictures.small, key, side), "image/jpeg"
            else:
                data, kind = await run_in_threadpool(studio.pictures.whole, key)
        except NoPicture as error:
            return PlainTextResponse(str(error), 404, SAFE_PICTURE)
        headers = dict(SAFE_PICTURE)
        if download is not None:
            name = "".join(one if one.isascii() and (one.isalnum() or one in "._-") else "_" for one in download)
            headers["Content-Disposition"] = f'attachment; filename="{name[:200]}"'
        return Response(data, media_type=kind, headers=headers)


def _add_screens(studio: Studio, sessions: Sessions) -> None:
    @ui.page("/", title=f"{texts.PORTRAITS} · {texts.PRODUCT}")
    async def portraits(user: str = "") -> None:
        with frame(texts.PORTRAITS, sessions.needed):
            await PortraitScreen(studio).fill(user)

    @ui.page("/people", title=f"{texts.PEOPLE} · {texts.PRODUCT}")
    async def people() -> None:
        studio.index.look()
        with frame(texts.PEOPLE, sessions.needed):
            await PeopleScreen(studio).fill()

    @ui.page("/operation", title=f"{texts.OPERATION} · {texts.PRODUCT}")
    async def operation(state: str = "", text: str = "") -> None:
        with frame(texts.OPERATION, sessions.needed):
            OperationScreen(studio, state, text)

    @ui.page("/operation/{function}/{request_id}", title=f"{texts.REQUEST} · {texts.PRODUCT}")
    async def request(function: str, request_id: str) -> None:
        with frame(texts.OPERATION, sessions.needed):
            await RequestScreen(studio, function, request_id).fill()
