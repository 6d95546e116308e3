"""Real checks of a real picture beside the cheap requests: the command line's own worker, killed once in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from shared.contract.manifests import Json, decode
from tests import pictures
from tests.cloud import CREDENTIALS
from tests.scenario.chaos.crew import ROOT
from tests.scenario.chaos.schedule import Delivery, Schedule

if TYPE_CHECKING:
    from tests.scenario.chaos.sites import Site

FUNCTION = "check"
REQUESTS = 4
PHOTO = "photos/one.jpg"
KILLED_AFTER = 1  # claims of real requests


class Checks:
    """A worker of check, its requests and their answers."""

    def __init__(self, site: "Site", schedule: Schedule, place: Path, trace: Callable[..., None]) -> None:
        self._site, self._place, self._trace = site, place, trace
        settings = site.settings(FUNCTION)
        settings["limits"]["request_seconds"] = 60.0
        self._environment = os.environ | CREDENTIALS | {"OMP_NUM_THREADS": "1"} | dict(_flat("PHOTOG", settings))
        self._killed = False
        self._looked = 0.0
        site.bucket.put(PHOTO, pictures.jpeg(pictures.astronaut()))
        for number in range(REQUESTS):
            body = {"request_id": f"real{number}", "images": [PHOTO] * (1 + number % 2)}
            text = json.dumps(body).encode()
            schedule.deliveries.insert(0, Delivery(0.0, f"requests/{FUNCTION}/real{number}.json", text))
        self._process = self._start()

    def look(self) -> None:
        """Kill the worker once it has claimed something; start another where there is none."""
        if time.monotonic() - self._looked < 0.1:
            return
        self._looked = time.monotonic()
        if self._process.poll() is not None:
            self._process = self._start()
        elif not self._killed and any(True for _ in self._site.bucket.list(f"claims/{FUNCTION}/")):
            self._killed = True
            self._trace("real worker killed")
            self._process.send_signal(signal.SIGKILL)

    def breaches(self) -> list[str]:
        """Real requests that are not answered, or wrongly."""
        found = []
        for number in range(REQUESTS):
            key = f"results/{FUNCTION}/real{number}/result.json"
            if self._site.bucket.head(key) is None:
                found.append(f"unanswered: real{number}")
                continue
            answer: Json = decode(self._site.bucket.get(key))
            codes = [one["code"] for one in answer["data"].get("check_results", [])]
            if codes != [1] * (1 + number % 2):
                found.append(f"content: real{number} says {answer['code']} {answer['message']} {codes}")
        return found

    def stop(self) -> list[str]:
        """Terminate the worker; what was wrong with how it ended."""
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return ["the real worker did not stop"]
        return [] if status == 0 else [f"the real worker ended with {status}"]

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "shared.cli", "worker", FUNCTION, self._site.bucket.address]
        with (self._place / "worker-real.log").open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)


def _flat(prefix: str, settings: Json) -> Iterator[tuple[str, str]]:
    """Settings as the environment spells them."""
    for name, value in settings.items():
        key = f"{prefix}_{name.upper()}" if prefix == "PHOTOG" else f"{prefix}__{name.upper()}"
        if isinstance(value, dict):
            yield from _flat(key, value)
        else:
            yield key, value if isinstance(value, str) else json.dumps(value)
