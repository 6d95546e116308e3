"""The time that running requests spend in each stage that their function reports, sampled from `progress/`."""

import time
from dataclasses import dataclass

from serve.metrics import Metrics
from shared.operations.client import Client

SAMPLE_SECONDS = 1.0  # functions report once a second at most


@dataclass
class _Sight:
    stage: str
    since: float
    looked: float


class StageTimings:
    """The stages of one service's running requests."""

    def __init__(self, client: Client, function: str, service: str, metrics: Metrics) -> None:
        self._client, self._function, self._service, self._metrics = client, function, service, metrics
        self._sights: dict[str, _Sight] = {}

    def look(self, request_id: str) -> None:
        """Read the progress of a running request, once a second."""
        now = time.monotonic()
        seen = self._sights.get(request_id)
        if seen is not None and now - seen.looked < SAMPLE_SECONDS:
            return
        progress = self._client.progress(self._function, request_id)
        if progress is None:
            return
        if seen is None:
            self._sights[request_id] = _Sight(progress["stage"], now, now)
            return
        seen.looked = now
        if progress["stage"] != seen.stage:
            self._metrics.stage(self._service, seen.stage, now - seen.since)
            seen.stage, seen.since = progress["stage"], now

    def end(self, request_id: str) -> None:
        """Add the time of the last stage of a request that is answered."""
        seen = self._sights.pop(request_id, None)
        if seen is not None:
            self._metrics.stage(self._service, seen.stage, time.monotonic() - seen.since)
