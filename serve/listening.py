"""uvicorn with this server's connections: its configuration, how it stops, how many files it may open."""

import asyncio
import resource
import socket
from functools import partial
from typing import cast

import uvicorn
from fastapi import FastAPI

from serve.connections import Bounds, HttpConnection, WatchConnection
from serve.settings import ServeSettings

PING_SECONDS = 20.0
DRAIN_SECONDS = 10  # for calls under way at SIGTERM; watchers reconnect by themselves
SAID_BYTES = 4096  # of a frame from a watcher, whose content is ignored
SPARE_FILES = 200  # for the bucket, the state and the logs


class Server(uvicorn.Server):
    """Serves an application until it is told to stop."""

    def __init__(
        self, app: FastAPI, host: str, port: int, settings: ServeSettings, bounds: Bounds, frame_bytes: int = SAID_BYTES
    ) -> None:
        configuration = uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            http=cast("type[asyncio.Protocol]", partial(HttpConnection, bounds=bounds)),
            ws=cast("type[asyncio.Protocol]", partial(WatchConnection, bounds=bounds)),
            ws_max_size=frame_bytes,
            ws_per_message_deflate=False,  # base64 of pictures hardly compresses
            ws_ping_interval=PING_SECONDS,
            ws_ping_timeout=settings.silent_seconds,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
        super().__init__(configuration)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer the calls that only wait, then shut down as uvicorn does, which waits for calls under way."""
        self._app.state.stopping()
        await super().shutdown(sockets)


def connection_bounds(settings: ServeSettings) -> Bounds:
    """Return the settings' limits, with no more connections than the process may open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.connections + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    most = settings.connections if soft == resource.RLIM_INFINITY else min(settings.connections, soft - SPARE_FILES)
    return Bounds(max(1, most), settings.head_seconds, settings.body_seconds)
