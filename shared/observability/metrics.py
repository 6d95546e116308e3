"""What Prometheus is told of a worker, on a port or in a file for node_exporter; nothing where neither is set.

Names, labels and meanings are those of `photog serve` where both have them, so that one dashboard shows both; `service`
is the function's name unless `metrics.service` says how the queue server calls it.

| metric | |
|---|---|
| `photog_requests_total{service}` | attempts begun |
| `photog_answers_total{service, code}` | answered with `OK` or `error` |
| `photog_errors_total{service, type}` | of the latter, by the answer's error type |
| `photog_stage_seconds_sum`, `_count{service, stage}` | `running` in all, and each stage that the function reports |
| `photog_running{service}` | requests that this worker works on: 0 or 1 |
| `photog_attempts_lost_total{service, reason}` | attempts that ended without an answer |
| `photog_failing_keys{service}` | keys of the bucket that fail by themselves, as `photog status` shows them |
| `photog_last_success_timestamp_seconds{service}` | when a request was last answered with OK |
| `photog_process_...{service, process}` | memory, CPU, descriptors of the `worker` and of its `child` with the models |

Numbers begin at zero with the process, as Prometheus expects.
"""

import logging
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from shared.contract.hooks import Attempt, AttemptHook, Progress
from shared.contract.manifests import Json

if TYPE_CHECKING:  # a tenth of a second to import, which only those pay who want to be watched
    from shared.observability.exposition import Exposition

log = logging.getLogger(__name__)

MOST_NAMES = 50  # different values of a label; each is a time series that Prometheus keeps
OTHER = "other"  # the label of whatever comes after those
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_ .-]{0,63}")


class MetricsSettings(BaseModel):
    """Where a worker's metrics can be read."""

    port: int | None = Field(
        None, ge=0, le=65535, description="GET /metrics here; 0 takes a free one. None: no port. `up` counts on from it"
    )
    host: str = Field("127.0.0.1", description="address of the port; in a container 0.0.0.0, for nobody asks who reads")
    file: Path | None = Field(
        None,
        description="written anew every few seconds, for node_exporter's textfile collector: NAME.prom; {function} in "
        "it is the function's name. One worker a file",
    )
    file_seconds: float = Field(15.0, gt=0, description="between two writes of the file")
    service: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$",
        description="the label `service`; None: the function's name",
    )

    @property
    def wanted(self) -> bool:
        """Whether anybody reads."""
        return self.port is not None or self.file is not None


class WorkerMetrics(AttemptHook):
    """Counts what one worker does; every method may be called from any thread and never fails.

    Args:
        child: process id of the worker's child at the moment; None while there is none.
        failing: how many keys fail at the moment; asked before each request.
    """

    def __init__(
        self,
        function: str,
        settings: MetricsSettings,
        child: Callable[[], int | None] = lambda: None,
        failing: Callable[[], int] = lambda: 0,
    ) -> None:
        self._function, self._settings, self._child, self._failing = function, settings, child, failing
        self._service = settings.service or function
        self._exposition: Exposition | None = None
        self._names: dict[str, set[str]] = {}
        self._turn = threading.Lock()
        self._stage: str | None = None
        self._since = 0.0

    def start(self) -> None:
        """Begin to be readable. A port that is taken is logged: requests matter more than their being counted."""
        if self._settings.wanted:
            from shared.observability.exposition import Exposition

            self._exposition = Exposition(self._function, self._service, self._settings, self._child)
            self._exposition.start()

    @property
    def port(self) -> int | None:
        """Where it is readable; None where it is not."""
        return self._exposition.port if self._exposition is not None else None

    def before_request(self) -> None:
        if self._exposition is not None:
            self._exposition.failing.labels(self._service).set(self._failing())

    def before(self, attempt: Attempt) -> None:
        """Who it is for is not told: a name for each would be a series for each."""
        if self._exposition is None:
            return
        with self._turn:
            self._stage = None
        self._exposition.requests.labels(self._service).inc()
        self._exposition.running.labels(self._service).set(1)

    def progressed(self, attempt: Attempt, progress: Progress) -> None:
        """With a new stage the time in the one before is known."""
        if self._exposition is None:
            return
        with self._turn:
            left, since = self._stage, self._since
            if progress.stage == left:
                return
            self._stage, self._since = progress.stage, time.monotonic()
        if left is not None:
            self.stage(left, time.monotonic() - since)

    def stage(self, name: str, seconds: float) -> None:
        """A request has been in a stage for so long."""
        if self._exposition is not None:
            self._exposition.stages.labels(self._service, self._label("stage", name)).observe(max(0.0, seconds))

    def after(self, attempt: Attempt, envelope: Json) -> None:
        if self._exposition is None:
            return
        self._leave()
        self.stage("running", attempt.seconds())
        if envelope["code"] == "OK":
            self._exposition.answers.labels(self._service, "OK").inc()
            self._exposition.success.labels(self._service).set_to_current_time()
        else:
            self.refused(envelope["data"].get("error", {}).get("type") or OTHER)

    def refused(self, error_type: str) -> None:
        if self._exposition is not None:
            self._exposition.answers.labels(self._service, "error").inc()
            self._exposition.errors.labels(self._service, self._label("type", error_type)).inc()

    def failed(self, attempt: Attempt, reason: str) -> None:
        if self._exposition is not None:
            self._leave()
            self._exposition.lost.labels(self._service, self._label("reason", reason)).inc()

    def close(self) -> None:
        """Write the file a last time, and give the port back."""
        if self._exposition is not None:
            self._exposition.close()
            self._exposition = None

    def _leave(self) -> None:
        """No request runs any more."""
        with self._turn:
            left, since, self._stage = self._stage, self._since, None
        if left is not None:
            self.stage(left, time.monotonic() - since)
        if self._exposition is not None:
            self._exposition.running.labels(self._service).set(0)

    def _label(self, kind: str, name: str) -> str:
        """The name as a label's value, if it is one and not one too many."""
        with self._turn:
            known = self._names.setdefault(kind, set())
            if name not in known and (len(known) >= MOST_NAMES or not NAME.fullmatch(name)):
                return OTHER
            known.add(name)
        return name
