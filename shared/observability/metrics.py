"""Prometheus metrics of a worker, on a port or in a file for node_exporter; none if neither is configured.

Names, labels and meanings are those of `photog serve` where both have them, so that one dashboard shows both; `service`
is the function's name, or the queue server's name for it in `metrics.service`.

| metric | meaning |
|---|---|
| `photog_requests_total{service}` | attempts begun |
| `photog_answers_total{service, code}` | requests answered with `OK` or `error` |
| `photog_errors_total{service, type}` | requests answered with `error`, by the answer's error type |
| `photog_stage_seconds_sum`, `_count{service, stage}` | time in `running` in all, and in each stage that is reported |
| `photog_running{service}` | requests that this worker is serving: 0, 1, or one more that is being published |
| `photog_attempts_lost_total{service, reason}` | attempts that ended without an answer |
| `photog_device_seconds_total{service, code}` | seconds for which attempts had the device; `none`: without an answer |
| `photog_bytes_total{service, direction}` | bytes that answered attempts `read`, `written` and `kept` |
| `photog_failing_keys{service}` | keys of the bucket that cannot be served, as `photog status` shows them |
| `photog_last_success_timestamp_seconds{service}` | when a request was last answered with OK |
| `photog_process_...{service, process}` | memory, CPU, descriptors of the `worker` and of its `child` with the models |

Values begin at zero with the process, as Prometheus expects.
"""

import logging
import re
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from shared.contract.hooks import Attempt, AttemptHook, Progress
from shared.contract.manifests import Json
from shared.observability.metrics_settings import MetricsSettings

if TYPE_CHECKING:  # importing it takes a tenth of a second, which only those pay who use metrics
    from shared.observability.exposition import Exposition

log = logging.getLogger(__name__)

MOST_NAMES = 50  # different values of a label; each is a time series in Prometheus
NO_ANSWER = "none"  # in place of an answer's code
DIRECTIONS = ("read", "written", "kept")  # of bytes, as in an answer's usage
OTHER = "other"  # the label of all further values
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_ .-]{0,63}")


class WorkerMetrics(AttemptHook):
    """Counts what one worker does; every method may be called from any thread and never fails.

    Args:
        child: returns the process id of the worker's child; None while there is none.
        failing: returns the number of failing keys; called before each request.
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
        self._stages: dict[tuple[str, int], tuple[str | None, float]] = {}  # of each attempt, and since when

    def start(self) -> None:
        """Start serving the metrics. A port in use is only logged, as requests matter more than counting them."""
        if self._settings.wanted:
            from shared.observability.exposition import Exposition

            self._exposition = Exposition(self._function, self._service, self._settings, self._child)
            self._exposition.start()

    @property
    def port(self) -> int | None:
        """The port that serves the metrics; None if there is none."""
        return self._exposition.port if self._exposition is not None else None

    def before_request(self) -> None:
        if self._exposition is not None:
            self._exposition.failing.labels(self._service).set(self._failing())

    def before(self, attempt: Attempt) -> None:
        """Count an attempt, without the user: a label per user would be a time series per user."""
        if self._exposition is None:
            return
        with self._turn:
            self._stages[attempt.request_id, attempt.number] = None, 0.0
            self._exposition.running.labels(self._service).set(len(self._stages))
        self._exposition.requests.labels(self._service).inc()

    def progressed(self, attempt: Attempt, progress: Progress) -> None:
        """Record the time in the last stage when a new one begins."""
        if self._exposition is None:
            return
        with self._turn:
            left, since = self._stages.get((attempt.request_id, attempt.number), (None, 0.0))
            if progress.stage == left:
                return
            self._stages[attempt.request_id, attempt.number] = progress.stage, time.monotonic()
        if left is not None:
            self.stage(left, time.monotonic() - since)

    def stage(self, name: str, seconds: float) -> None:
        """Record the time that a request spent in a stage."""
        if self._exposition is not None:
            self._exposition.stages.labels(self._service, self._label("stage", name)).observe(max(0.0, seconds))

    def after(self, attempt: Attempt, envelope: Json) -> None:
        if self._exposition is None:
            return
        self._leave(attempt)
        self.stage("running", attempt.seconds())
        self._count_usage(envelope)
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
            self._leave(attempt)
            self._exposition.lost.labels(self._service, self._label("reason", reason)).inc()
            self._exposition.device_seconds.labels(self._service, NO_ANSWER).inc(attempt.seconds())

    def _count_usage(self, envelope: Json) -> None:
        """Count what an answer says that its attempt has used."""
        used = envelope["data"].get("usage")
        if self._exposition is None or used is None:
            return
        self._exposition.device_seconds.labels(self._service, envelope["code"]).inc(used["device_seconds"])
        for direction in DIRECTIONS:
            self._exposition.bytes.labels(self._service, direction).inc(used[f"bytes_{direction}"])

    def close(self) -> None:
        """Write the file a last time, and close the port."""
        if self._exposition is not None:
            self._exposition.close()
            self._exposition = None

    def _leave(self, attempt: Attempt) -> None:
        """Record that an attempt does not run any more."""
        with self._turn:
            left, since = self._stages.pop((attempt.request_id, attempt.number), (None, 0.0))
            if self._exposition is not None:
                self._exposition.running.labels(self._service).set(len(self._stages))
        if left is not None:
            self.stage(left, time.monotonic() - since)

    def _label(self, kind: str, name: str) -> str:
        """Return the name as a label's value, or `other` if it is unfit or there are too many."""
        with self._turn:
            known = self._names.setdefault(kind, set())
            if name not in known and (len(known) >= MOST_NAMES or not NAME.fullmatch(name)):
                return OTHER
            known.add(name)
        return name
