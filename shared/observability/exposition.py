"""Exposition of a worker's metrics to Prometheus: its own registry, a small server, an atomically replaced file."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Summary, generate_latest
from prometheus_client.core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from shared.observability.metrics_settings import MetricsSettings

log = logging.getLogger(__name__)

CONNECTION_SECONDS = 10.0  # for a reader that sends or accepts nothing
MOST_READERS = 8  # concurrent connections; Prometheus needs one


class Exposition:
    """The metrics of one worker, readable from `start` to `close`."""

    def __init__(self, function: str, service: str, settings: MetricsSettings, child: Callable[[], int | None]) -> None:
        self._settings, self._registry = settings, CollectorRegistry()
        self._file = Path(str(settings.file).replace("{function}", function)) if settings.file else None
        self._server: _Server | None = None
        self._closed, self._failed = threading.Event(), False
        self._writer = threading.Thread(target=self._write_on, name="metrics file", daemon=True)
        self._registry.register(_Processes(service, {"worker": os.getpid, "child": child}))
        self.requests = Counter("photog_requests", "Attempts begun", ["service"], registry=self._registry)
        self.answers = Counter(
            "photog_answers", "Answered requests, by code", ["service", "code"], registry=self._registry
        )
        self.errors = Counter(
            "photog_errors", "Requests answered with an error, by type", ["service", "type"], registry=self._registry
        )
        self.stages = Summary(
            "photog_stage_seconds", "Time in each stage of a request", ["service", "stage"], registry=self._registry
        )
        self.running = Gauge(
            "photog_running", "Requests that this worker is serving", ["service"], registry=self._registry
        )
        self.lost = Counter(
            "photog_attempts_lost", "Attempts without an answer", ["service", "reason"], registry=self._registry
        )
        self.failing = Gauge(
            "photog_failing_keys", "Keys of the bucket that cannot be served", ["service"], registry=self._registry
        )
        self.success = Gauge(
            "photog_last_success_timestamp_seconds", "When a request was last OK", ["service"], registry=self._registry
        )
        self.device_seconds = Counter(
            "photog_device_seconds",
            "Seconds for which attempts had the device, by the code of their answer",
            ["service", "code"],
            registry=self._registry,
        )
        self.bytes = Counter(
            "photog_bytes",
            "Bytes that answered attempts read, wrote and kept",
            ["service", "direction"],
            registry=self._registry,
        )
        for known in (self.requests, self.running, self.failing, self.success):  # present from the beginning, as zero
            known.labels(service)

    @property
    def port(self) -> int | None:
        """The server's port; None if there is no server."""
        return int(self._server.server_address[1]) if self._server is not None else None

    def start(self) -> None:
        """Start the server and the file, as configured."""
        if self._settings.port is not None:
            try:
                self._server = _Server((self._settings.host, self._settings.port), self.text)
            except OSError as error:
                log.error(
                    "no metrics are served on %s:%d: %s", self._settings.host, self._settings.port, error.strerror
                )
            else:
                threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()
                log.info("metrics are served on port %d", self.port)
        if self._file is not None:
            self._writer.start()

    def close(self) -> None:
        """Stop both; the file keeps the last values."""
        self._closed.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        if self._writer.is_alive():
            self._writer.join()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _write_on(self) -> None:
        while not self._closed.is_set():
            self._write()
            self._closed.wait(self._settings.file_seconds)
        self._write()

    def _write(self) -> None:
        """Replace the file; a failure is logged once, and again only after a success in between."""
        if self._file is None:
            return
        written = self._file.with_name(f".{self._file.name}.{os.getpid()}")  # node_exporter reads only *.prom
        try:
            written.write_bytes(self.text())
            written.replace(self._file)
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.error("metrics cannot be written to %s: %s", self._file, error.strerror)
            self._failed = True


class _Server(ThreadingHTTPServer):
    """Answers GET /metrics; slow or surplus readers are dropped."""

    daemon_threads = True
    request_queue_size = 32  # connections that wait to be accepted or dropped

    def __init__(self, address: tuple[str, int], text: Callable[[], bytes]) -> None:
        self.text = text
        self._readers = threading.BoundedSemaphore(MOST_READERS)
        super().__init__(address, _Reader)

    def process_request(self, request: object, client_address: object) -> None:
        """Serve a reader in a thread of its own, unless there are too many."""
        if self._readers.acquire(blocking=False):
            super().process_request(request, client_address)  # type: ignore[arg-type]
        else:
            self.shutdown_request(request)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Serve one reader to the end."""
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._readers.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a reader that disconnected early."""
        log.debug("a reader of metrics disconnected", exc_info=True)


class _Reader(BaseHTTPRequestHandler):
    timeout = CONNECTION_SECONDS
    server: _Server

    def do_GET(self) -> None:
        """Send the metrics; any other path is not found."""
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404)
            return
        text = self.server.text()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *arguments: object) -> None:
        """Log a scrape at debug level only."""
        log.debug(format, *arguments)


class _Processes(Collector):
    """Prometheus' process metrics of several processes, under names that node_exporter does not use."""

    def __init__(self, service: str, processes: dict[str, Callable[[], int | None]]) -> None:
        self._service = service
        # unregistered collectors: each yields families of the same names, which must be merged
        self._collectors = {
            name: ProcessCollector(namespace="photog", pid=_existing(pid), registry=None)
            for name, pid in processes.items()
        }

    def collect(self) -> Iterator[Metric]:
        """Yield the families, with the samples of all processes."""
        families: dict[str, Metric] = {}
        for name, collector in self._collectors.items():
            for found in collector.collect():
                family = families.setdefault(found.name, Metric(found.name, found.documentation, found.type))
                for sample in found.samples:
                    family.add_sample(sample.name, {"service": self._service, "process": name}, sample.value)
        return iter(families.values())


def _existing(pid: Callable[[], int | None]) -> Callable[[], int]:
    """Return a callable with the process id, or 0 if there is no process, as /proc has no entry 0."""
    return lambda: pid() or 0
