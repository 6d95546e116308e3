"""The images' own commands as real processes: ENTRYPOINT, CMD and HEALTHCHECK of the Dockerfiles, on a bucket."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from shared.buckets import FolderBucket
from tests import pictures
from tests.deployment import DOCKERFILES, ROOT, command, environment, health_command
from tests.echo import until

BIN = Path(sys.executable).parent

pytestmark = pytest.mark.slow


class Container:
    """An image's file system is this machine's; its command, health command and environment are its own.

    /bucket is the folder of the test, and the file of the sign of life lies beside it.
    """

    def __init__(self, function: str, folder: Path, *words: str) -> None:
        self._dockerfile, self._words = DOCKERFILES[function], words
        self.bucket = FolderBucket(folder / "bucket")
        self._environment = os.environ | environment(self._dockerfile) | {"PATH": f"{BIN}:{os.environ['PATH']}"}
        self._environment |= {"PHOTOG_HEALTH__FILE": str(folder / "alive"), "PHOTOG_LEASE__SECONDS": "1"}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "subprocess.Popen[bytes]":
        words = [self.bucket.address if word == "/bucket" else word for word in command(self._dockerfile)]
        self.process = subprocess.Popen([*words[:1], *(self._words or words[1:])], cwd=ROOT, env=self._environment)
        return self.process

    def health(self) -> "subprocess.CompletedProcess[str]":
        words = health_command(self._dockerfile)
        return subprocess.run(words, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False)

    def says(self, state: str) -> bool:
        """What the worker wrote last; the health command takes half a second, too long to wait with."""
        alive = Path(self._environment["PHOTOG_HEALTH__FILE"])
        return alive.exists() and json.loads(alive.read_text())["state"] == state

    def request(self, request_id: str, images: list[str]) -> None:
        body = json.dumps({"request_id": request_id, "images": images}).encode()
        self.bucket.put(f"requests/check/{request_id}.json", body)

    def answer(self, request_id: str) -> dict | None:
        path = self.bucket.root / f"results/check/{request_id}/result.json"
        return json.loads(path.read_text()) if path.exists() else None

    def __enter__(self) -> "Container":
        self.bucket.put("photos/six.jpg", pictures.group_path().read_bytes())
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)


def test_an_images_command_answers_is_healthy_and_drains_under_sigterm(tmp_path):
    with Container("check", tmp_path) as container:
        until(lambda: container.says("idle"), 60)
        assert container.health().returncode == 0
        container.request("r1", ["photos/six.jpg"] * 8)
        until(lambda: (container.bucket.root / "claims/check/r1").exists(), 60)
        assert container.health().stdout.strip() == "busy"
        container.process.send_signal(signal.SIGTERM)
        container.request("r2", ["photos/six.jpg"])
        assert container.process.wait(150) == 0
        assert [one["code"] for one in container.answer("r1")["data"]["check_results"]] == [3] * 8
        assert container.answer("r2") is None, "nothing is begun on the way out"
        assert container.health().returncode == 1, "the process is gone"


def test_a_worker_that_hangs_is_found_out(tmp_path):
    with Container("check", tmp_path) as container:
        container._environment["PHOTOG_HEALTH__IDLE_SECONDS"] = "3"
        until(lambda: container.says("idle"), 60)
        assert container.health().stdout.strip() == "idle"
        container.process.send_signal(signal.SIGSTOP)
        until(lambda: container.health().returncode == 1, 30)
        assert "idle for" in container.health().stderr
        container.process.send_signal(signal.SIGCONT)
        until(lambda: container.health().returncode == 0, 30)


def test_the_http_entry_serves_function_computes_event_and_drains(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ("http", "check", str(tmp_path / "bucket"), "--port", str(port), "--host", "127.0.0.1")
    with Container("check", tmp_path, *words) as container, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        until(lambda: _answers(client), 60)
        assert client.post("/initialize", timeout=60).json() == {"state": "ready"}
        event = json.loads((ROOT / "events/oss-function-compute.json").read_text())
        container.request("r1", ["photos/six.jpg"])
        event["events"][0]["oss"]["object"]["key"] = "requests/check/r1.json"
        answer = client.post("/invoke", json=event, headers={"x-fc-request-id": "1"}, timeout=60)
        assert answer.json() == {"outcomes": {"requests/check/r1.json": "answered"}}
        assert container.answer("r1")["data"]["check_results"][0]["code"] == 3
        container.process.send_signal(signal.SIGTERM)
        assert container.process.wait(30) == 0, "an idle kept-alive connection does not hold it"


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False
