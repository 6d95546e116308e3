"""A queue server in this process, over a bucket in memory, with a worker that answers when it is told to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from serve import wire
from serve.application import build_application
from serve.database import Database
from serve.settings import ServeSettings
from shared.buckets import MemoryBucket
from shared.buckets.base import Bucket
from shared.events import ObjectCreated
from shared.settings import Lease, Limits, Settings
from tests.echo import Echo, invocation, until

TOKEN = {"Authorization": "secret"}
INPUT, SINK = "/api/predict/photog_check", "/api/predict/photog_check/sink"
DEFAULTS: dict[str, Any] = {"token": "secret", "poll_seconds": 0.05}
SETTINGS = Settings(lease=Lease(seconds=0.3), limits=Limits(manifest_bytes=100_000))


class Served:
    """One server at a time over one bucket; `running()` is its life, and may come again."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.bucket: Bucket = MemoryBucket()
        self.folder = folder
        self.settings = ServeSettings(**DEFAULTS | settings)
        self.echo = Echo()

    @contextmanager
    def running(self) -> Iterator[TestClient]:
        """The server, from start to a clean stop."""
        app = build_application(self.bucket, Database(self.folder, self.bucket.address), SETTINGS, self.settings)
        with TestClient(app, headers=TOKEN) as client:
            yield client

    def lose_state(self) -> None:
        """Delete the SQLite file."""
        for path in self.folder.glob("state.sqlite*"):
            path.unlink()

    def work(self) -> list[str]:
        """A worker answers every manifest that lies in the bucket, in order of arrival; the keys."""
        infos = sorted(self.bucket.list("requests/check/"), key=lambda info: (info.modified, info.key))
        worker = invocation(self.bucket, self.echo)
        for info in infos:
            worker.receive(ObjectCreated(info.key))
        return [info.key for info in infos]

    def work_until(self, answers: int) -> None:
        """Work on whatever is released until so many requests have answers."""

        def enough() -> bool:
            self.work()
            return self.results() >= answers

        until(enough)

    def results(self) -> int:
        """How many requests are answered."""
        return sum(info.key.endswith("/result.json") for info in self.bucket.list("results/check/"))


def put(client: TestClient, body: bytes | str, path: str = INPUT, priority: int = 0, **tags: str) -> tuple[int, str]:
    """Put; the index and the request id."""
    headers = {"X-EAS-QueueService-Priority": str(priority)}
    response = client.post(path, content=body, params=tags, headers=headers)
    assert response.status_code == 200, response.text
    return int(response.text), response.headers["X-Eas-Queueservice-Request-Id"]


def get(client: TestClient, path: str = SINK, timeout: str = "5s", **query: Any) -> list[wire.Frame]:
    """Get; the frames."""
    names = {"index": "_index_", "length": "_length_", "auto_delete": "_auto_delete_"}
    asked = {
        names.get(name, name): str(value).lower() if value in (True, False) else value for name, value in query.items()
    }
    response = client.get(path, params={"_timeout_": timeout, "_raw_": "false"} | asked)
    assert response.status_code == 200, response.text
    return wire.read_several(response.content)


def attributes(client: TestClient, path: str = SINK) -> dict[str, str]:
    """What a queue says of itself."""
    return client.get(path, params={"_attrs_": "true"}).json()
