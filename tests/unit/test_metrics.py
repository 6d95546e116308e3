"""A worker's metrics: what Prometheus reads on the port and in the file; without either, nothing is spent on them."""

import logging
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serve.metrics import Metrics
from shared.contract.hooks import Attempt, Progress
from shared.contract.manifests import failure, success
from shared.errors import AttemptsExhausted, InvalidField, RequestError
from shared.observability import exposition
from shared.observability.metrics import WorkerMetrics
from shared.observability.metrics_settings import MetricsSettings
from shared.runtime.supervisor import Supervisor
from shared.settings import Settings

ROOT = Path(__file__).parents[2]
PORT = MetricsSettings(port=0)

ATTEMPT = Attempt("generate", "r1", 1)


@pytest.fixture
def worker():
    """Start metrics and close them at the end."""
    started: list[WorkerMetrics] = []

    def start(settings: MetricsSettings = PORT, function: str = "generate", **more: Any) -> WorkerMetrics:
        started.append(WorkerMetrics(function, settings, **more))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.close()


def scraped(metrics: WorkerMetrics, path: str = "/metrics") -> dict[str, float]:
    """Return every sample on the port, by its name with its labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}{path}", timeout=5) as reply:
        return samples(reply.read().decode())


def samples(text: str) -> dict[str, float]:
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {f"{one.name}{{{','.join(f'{k}={v}' for k, v in sorted(one.labels.items()))}}}": one.value for one in found}


def test_a_request_that_is_answered_is_counted_with_its_stages(worker):
    metrics = worker()
    metrics.before(ATTEMPT)
    assert scraped(metrics)["photog_running{service=generate}"] == 1
    metrics.progressed(ATTEMPT, Progress("start", 0, 1))
    time.sleep(0.02)
    metrics.progressed(ATTEMPT, Progress("diffusion", 0, 1))
    metrics.progressed(ATTEMPT, Progress("diffusion", 0, 1))
    metrics.after(replace(ATTEMPT, begun=time.monotonic() - 2.5), success("r1", "success", {}))
    read = scraped(metrics)
    assert read["photog_requests_total{service=generate}"] == 1
    assert read["photog_answers_total{code=OK,service=generate}"] == 1
    assert read["photog_running{service=generate}"] == 0
    assert read["photog_stage_seconds_sum{service=generate,stage=running}"] == pytest.approx(2.5, abs=0.2)
    assert 0.02 <= read["photog_stage_seconds_sum{service=generate,stage=start}"] < 1
    assert read["photog_stage_seconds_count{service=generate,stage=diffusion}"] == 1
    assert abs(read["photog_last_success_timestamp_seconds{service=generate}"] - time.time()) < 5


def test_errors_are_counted_by_their_type_and_lost_attempts_by_their_reason(worker):
    metrics = worker(failing=lambda: 7)
    for number in (1, 2):
        metrics.before(replace(ATTEMPT, number=number))
        metrics.failed(replace(ATTEMPT, number=number), "child died")
    metrics.before(replace(ATTEMPT, number=3))
    metrics.after(replace(ATTEMPT, number=3), failure("r1", AttemptsExhausted("died"), {}))
    metrics.refused("InvalidManifest")
    metrics.before_request()
    read = scraped(metrics)
    assert read["photog_attempts_lost_total{reason=child died,service=generate}"] == 2
    assert read["photog_answers_total{code=error,service=generate}"] == 2
    assert read["photog_errors_total{service=generate,type=InvalidManifest}"] == 1
    assert read["photog_errors_total{service=generate,type=AttemptsExhausted}"] == 1
    assert read["photog_failing_keys{service=generate}"] == 7
    assert read["photog_running{service=generate}"] == 0
    assert read["photog_last_success_timestamp_seconds{service=generate}"] == 0


def test_no_request_makes_series_without_end(worker):
    metrics = worker()
    for number in range(500):
        attempt = Attempt("generate", f"r{number}", 1)
        metrics.before(attempt)
        metrics.progressed(attempt, Progress(f"stage {number}", 0, 1))
        metrics.progressed(attempt, Progress('x" 1\nphotog_forged 1', 0, 1))
        metrics.after(attempt, failure(attempt.request_id, type(f"Type{number}", (RequestError,), {})("no"), {}))
    read = scraped(metrics)
    assert len(read) < 300
    assert not [name for name in read if "forged" in name or "r499" in name]
    assert read["photog_errors_total{service=generate,type=other}"] == 450


def test_memory_and_processor_are_those_of_the_worker_and_of_its_child(worker):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    pids: list[int | None] = [child.pid]
    metrics = worker(child=lambda: pids[0])
    read = scraped(metrics)
    for process in ("worker", "child"):
        assert read[f"photog_process_resident_memory_bytes{{process={process},service=generate}}"] > 1e5
    child.communicate()
    pids[0] = None
    read = scraped(metrics)
    assert "photog_process_resident_memory_bytes{process=child,service=generate}" not in read
    assert "photog_process_resident_memory_bytes{process=worker,service=generate}" in read


def test_what_worker_and_queue_server_both_have_has_the_same_name_type_and_labels(worker):
    empty = SimpleNamespace(services={"photog_pre_pmml": "generate"}, index=SimpleNamespace(states=lambda service: {}))
    server = Metrics(empty)
    server.count_answer("photog_pre_pmml", "OK")
    server.stage("photog_pre_pmml", "running", 1.0)
    metrics = worker(MetricsSettings(port=0, service="photog_pre_pmml"))
    metrics.before(ATTEMPT)
    metrics.after(ATTEMPT, success("r1", "success", {}))
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}/metrics", timeout=5) as reply:
        ours = shapes(reply.read().decode())
    theirs = shapes(server.exposition().decode())
    both = {name for name in ours.keys() & theirs.keys() if not name.endswith("_created")}
    assert both == {"photog_answers", "photog_stage_seconds", "photog_running"}
    assert {name: ours[name] for name in both} == {name: theirs[name] for name in both}


def shapes(text: str) -> dict[str, tuple[str, set[tuple[tuple[str, str], ...]]]]:
    families = text_string_to_metric_families(text)
    return {one.name: (one.type, {tuple(sorted(sample.labels.items())) for sample in one.samples}) for one in families}


def test_the_file_is_replaced_whole_and_holds_what_the_port_does(worker, tmp_path):
    metrics = worker(MetricsSettings(file=tmp_path / "photog-{function}.prom", file_seconds=0.01))
    file, seen = tmp_path / "photog-generate.prom", set()
    until = time.monotonic() + 5
    while len(seen) < 10 and time.monotonic() < until:
        metrics.before(ATTEMPT)
        if file.exists():
            seen.add(samples(file.read_text())["photog_requests_total{service=generate}"])
    metrics.after(ATTEMPT, success("r1", "success", {}))
    metrics.close()
    assert len(seen) == 10
    last = samples(file.read_text())
    assert last["photog_answers_total{code=OK,service=generate}"] == 1
    assert all("service=generate" in name for name in last), "node_exporter refuses a series that two files have"
    assert os.listdir(tmp_path) == ["photog-generate.prom"]


def test_a_port_that_is_taken_or_a_file_that_cannot_be_written_stops_no_worker(worker, tmp_path, caplog):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        metrics = worker(
            MetricsSettings(port=taken.getsockname()[1], file=tmp_path / "nowhere/x.prom", file_seconds=0.01)
        )
        metrics.before(ATTEMPT)
        time.sleep(0.1)
        metrics.after(ATTEMPT, success("r1", "success", {}))
        metrics.close()
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(said) == 2, said
    assert "no metrics are served on 127.0.0.1" in said[0]


def test_nothing_but_the_metrics_is_answered_and_readers_that_say_nothing_are_dropped(worker, monkeypatch):
    monkeypatch.setattr(exposition._Reader, "timeout", 0.2)
    metrics = worker()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        scraped(metrics, "/")
    silent = [socket.create_connection(("127.0.0.1", metrics.port)) for _ in range(30)]
    for one in silent:
        one.settimeout(5)
        assert one.recv(1) == b""
        one.close()
    assert scraped(metrics)["photog_running{service=generate}"] == 0


def test_who_sets_neither_port_nor_file_pays_nothing():
    code = (
        "import sys; from shared.observability.metrics import WorkerMetrics; from shared.settings import Settings\n"
        "from shared.contract.hooks import Attempt, Progress\n"
        "metrics, attempt = WorkerMetrics('check', Settings().metrics), Attempt('check', 'r', 1)\n"
        "metrics.start(); metrics.before_request(); metrics.before(attempt)\n"
        "metrics.progressed(attempt, Progress('a', 0, 1)); metrics.stage('a', 1)\n"
        "metrics.after(attempt, {'code': 'OK', 'data': {}}); metrics.failed(attempt, 'x'); metrics.close()\n"
        "sys.exit('prometheus_client' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_port_host_and_file_are_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("PHOTOG_METRICS__PORT", "9100")
    monkeypatch.setenv("PHOTOG_METRICS__HOST", "0.0.0.0")
    monkeypatch.setenv("PHOTOG_METRICS__FILE", str(tmp_path / "x.prom"))
    assert Settings().metrics == MetricsSettings(port=9100, host="0.0.0.0", file=tmp_path / "x.prom")


def test_workers_of_one_machine_get_ports_in_a_row(monkeypatch):
    started: list[tuple[str, str]] = []

    class Process:
        def __init__(self, command, env, **more):
            started.append((command[command.index("worker") + 1], env.get("PHOTOG_METRICS__PORT", "")))
            self.stdin = self.stdout = None
            self.returncode = 0

        def poll(self):
            return 0

        def wait(self, timeout=None):
            return 0

    monkeypatch.setattr(subprocess, "Popen", Process)
    for port, expected in (("9200", ["9200", "9201", "9202"]), ("0", ["0", "0", "0"]), ("", ["", "", ""])):
        started.clear()
        with Supervisor("/nowhere", ("check", "train", "generate"), 1, {"PHOTOG_METRICS__PORT": port} if port else {}):
            pass
        assert started == list(zip(("check", "train", "generate"), expected, strict=True))


def test_the_documented_metrics_are_those_that_there_are(worker):
    metrics = worker()
    metrics.before(ATTEMPT)
    metrics.progressed(ATTEMPT, Progress("start", 0, 1))
    metrics.after(ATTEMPT, failure("r1", InvalidField("no", "f"), {}))
    metrics.failed(ATTEMPT, "handed back")
    documented = set(re.findall(r"`(photog_\w+)", (ROOT / "docs/operation.md").read_text()))
    there = {re.sub(r"\{.*", "", name) for name in scraped(metrics) if not name.startswith("photog_process")}
    there = {name for name in there if not name.endswith("_created")}
    assert there - {"photog_stage_seconds_count"} <= documented
