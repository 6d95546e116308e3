"""What an operator sees of a real worker: lines of JSON that name their request, metrics on a port, and no secret."""

import json
import os
import re
import signal
import sys
import urllib.request
from pathlib import Path

import pytest

from shared.buckets import FolderBucket
from tests import pictures, zygotes
from tests.echo import until

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def test_a_workers_lines_are_json_name_their_request_and_tell_no_secret_and_its_metrics_count(tmp_path):
    bucket, log = FolderBucket(tmp_path / "bucket"), tmp_path / "stderr"
    bucket.put("photos/one.jpg", pictures.jpeg(pictures.astronaut()))
    settings = {"PHOTOG_LOG__FORMAT": "json", "PHOTOG_METRICS__PORT": "0", "PHOTOG_SCAN__SETTLE_SECONDS": "0.5"}
    command = [sys.executable, "-m", "shared.cli", "worker", "check", bucket.address]
    with log.open("wb") as place:
        process = zygotes.start(command, cwd=ROOT, env=os.environ | settings, stderr=place)
    try:
        # refused before anything is sent: the address is private
        unreachable = "http://bob:hunter2@127.0.0.1/a.jpg?X-Amz-Signature=hunter2"
        body = {"request_id": "r1", "images": ["photos/one.jpg", unreachable], "configure": {"a\nb": 1}}
        bucket.put("requests/check/a.json", json.dumps(body).encode())
        bucket.put("requests/check/b.json", b'{"request_id": "r2"}')
        bucket.put("requests/check/c\u2028d.json", b'{"request_id": "r3", "images": 1}')
        bucket.put("requests/check/d.json", b'{"request_id": [')
        until(lambda: (bucket.root / "results/check/r1/result.json").exists(), 60)
        port = re.search(r"metrics are served on port (\d+)", log.read_text())
        assert port is not None
        until(lambda: 'photog_errors_total{service="check",type="InvalidManifest"} 1.0' in scraped(port[1]))
        metrics = scraped(port[1])
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert all(line.keys() >= {"time", "level", "logger", "message"} for line in lines)
    said = [line for line in lines if line.get("request_id") == "r1"]
    assert len(said) >= 2, lines
    assert {(line["function"], line["attempt"]) for line in said} == {("check", 1)}
    assert said[-1]["seconds"] > 0
    assert "hunter2" not in log.read_text()
    assert 'photog_answers_total{code="OK",service="check"} 1.0' in metrics
    assert 'photog_errors_total{service="check",type="InvalidField"} 2.0' in metrics
    assert 'photog_answers_total{code="error",service="check"} 3.0' in metrics
    assert 'photog_stage_seconds_count{service="check",stage="running"} 3.0' in metrics
    assert 'photog_running{service="check"} 0.0' in metrics
    assert 'photog_process_resident_memory_bytes{process="child",service="check"}' in metrics


def scraped(port: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        return reply.read().decode()
