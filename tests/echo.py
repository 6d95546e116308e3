"""A function without models, for tests of everything around a function."""

import time
from collections.abc import Callable, Sequence

from shared.buckets.base import Bucket
from shared.contract.function import Answer
from shared.contract.hooks import AttemptHook
from shared.contract.manifests import Json
from shared.contract.workspace import Workspace
from shared.lifecycle.invocation import Invocation
from shared.lifecycle.shutdown import Shutdown
from shared.settings import Lease, Limits, Settings

QUICK = Settings(lease=Lease(seconds=0.3, attempts=3, drain_seconds=0.2), limits=Limits(manifest_bytes=100_000))


class Echo:
    """Answers with its request's body; `work` may do anything in between. Counts its runs."""

    name = "check"

    def __init__(self, work: Callable[[Json, Workspace], None] = lambda body, workspace: None) -> None:
        self.runs: list[str] = []
        self._work = work

    def answer(self, body: Json, workspace: Workspace) -> Answer:
        self.runs.append(workspace.request_id)
        artifact = workspace.save("echo.txt", b"echo")
        self._work(body, workspace)
        return Answer({"echo": body, "artifact": artifact, "user_id": "u"})

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Nothing is kept."""

    def pointers(self, data: Json) -> dict[str, Json]:
        return {"users/u/model.json": {"artifact": data["artifact"]}}


def invocation(
    bucket: Bucket,
    function: Echo,
    settings: Settings = QUICK,
    owner: str = "w1",
    hooks: Sequence[AttemptHook] = (),
) -> Invocation:
    return Invocation(bucket, function, settings, owner, Shutdown(settings.lease.drain_seconds), hooks)


def until(condition: Callable[[], object], seconds: float = 20.0, pause: float = 0.02) -> None:
    """Wait for it, asking every `pause` seconds; AssertionError when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(pause)
