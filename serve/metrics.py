"""Metrics for Prometheus: backlogs are read from the index at each scrape, the rest is counted as it happens."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Summary, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serve.queue_index import QUEUED, RELEASED, RUNNING
from serve.store import Store


class Metrics:
    """The metrics of one server. Counters start at zero with the process, as Prometheus expects."""

    def __init__(self, store: Store) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Backlog(store))
        self._puts = Counter("photog_puts", "Accepted puts", ["queue"], registry=self._registry)
        self._answers = Counter(
            "photog_answers", "Answered puts by outcome", ["service", "code"], registry=self._registry
        )
        self._consumed = Counter("photog_consumed", "Entries that left a queue", ["queue"], registry=self._registry)
        self._stages = Summary(
            "photog_stage_seconds", "Time in each stage of a request", ["service", "stage"], registry=self._registry
        )

    def count_put(self, queue: str) -> None:
        """Count a put that was accepted."""
        self._puts.labels(queue).inc()

    def count_answer(self, service: str, code: str) -> None:
        """Count a put that was answered, with OK or error."""
        self._answers.labels(service, code).inc()

    def count_consumed(self, queue: str, entries: int) -> None:
        """Count entries that were committed or deleted."""
        self._consumed.labels(queue).inc(entries)

    def stage(self, service: str, stage: str, seconds: float) -> None:
        """Add the time of a stage: `waiting` for a worker, `running` in all, or a stage that the function reports."""
        self._stages.labels(service, stage).observe(max(0.0, seconds))

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _Backlog(Collector):
    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        backlog = GaugeMetricFamily("photog_backlog", "Puts that no worker has claimed yet", labels=["service"])
        oldest = GaugeMetricFamily("photog_oldest_seconds", "Age of the oldest unanswered put", labels=["service"])
        running = GaugeMetricFamily("photog_running", "Puts that a worker works on", labels=["service"])
        ready = GaugeMetricFamily("photog_ready", "Answers that have not been consumed yet", labels=["service"])
        now = time.time()
        for service in self._store.services:
            states = self._store.index.states(service)
            counts = {state: count for state, (count, _) in states.items()}
            open_since = [first for state, (_, first) in states.items() if state in (QUEUED, RELEASED, RUNNING)]
            backlog.add_metric([service], counts.get(QUEUED, 0) + counts.get(RELEASED, 0))
            running.add_metric([service], counts.get(RUNNING, 0))
            ready.add_metric([service], counts.get("answered", 0))
            oldest.add_metric([service], max(0.0, now - min(one for one in open_since if one)) if open_since else 0.0)
        return iter([backlog, oldest, running, ready])
