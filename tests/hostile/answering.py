"""Puts hostile manifests one by one before a real trigger, invocation and request models; a JSON line for each.

    python -m tests.hostile.answering SIZE all|sized FOLDER

Runs in a process of its own, so that what the reading costs can be measured and bounded. No packet leaves it.
"""

import json
import logging
import os
import resource
import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

from functions.check.handler import CheckFunction
from functions.generate.request import GenerateRequest
from functions.train.request import TrainRequest
from shared.buckets import FolderBucket
from shared.contract.function import Answer, Function
from shared.contract.manifests import Json
from shared.contract.validation import validate
from shared.contract.workspace import Workspace
from shared.errors import PhotoError
from shared.lifecycle.invocation import Invocation
from shared.lifecycle.shutdown import Shutdown
from shared.settings import Scan, Settings
from shared.triggers.scan import ScanTrigger
from tests.hostile.manifests import Hostile, corpus
from tests.no_faces import NoFaces

RESERVE_BYTES = 4 * 1024**3  # of addresses, so that a bomb ends this process and not the machine


class _Kept:
    """What the real handlers of train and generate do with a body before any model is needed."""

    def __init__(self, name: str) -> None:
        self.name = name

    def answer(self, body: Json, workspace: Workspace) -> Answer:
        if self.name == "train":
            request, warnings = validate(TrainRequest, body)
            failed = [str(one) for one in workspace.fetch(request.images) if isinstance(one, PhotoError)]
            return Answer({"user_id": request.configure.user_id, "failed": len(failed), "warnings": warnings})
        wanted, warnings = validate(GenerateRequest, body)
        template = workspace.fetch([wanted.template_image])[0]
        if isinstance(template, PhotoError):
            raise type(template)(template.message, "template_image")
        for person in wanted.configure.assignments:
            if person.user_id is not None:
                workspace.read(f"users/{person.user_id}/model.json")
            workspace.fetch(person.references)
        return Answer({"user_id": wanted.configure.user_id, "warnings": warnings})

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Nothing is kept."""

    def pointers(self, data: Json) -> dict[str, Json]:
        return {f"users/{data['user_id']}/model.json": {"user_id": data["user_id"]}} if self.name == "train" else {}


def _no_network(*arguments: object, **more: object) -> Any:
    raise OSError("no test sends a packet")


def answered(one: Hostile, folder: Path, settings: Settings) -> Json:
    """What became of a manifest: its answers, what it cost, and what else lies in the bucket."""
    bucket = FolderBucket(folder)
    place = folder / f"requests/{one.function}/m.json"
    place.parent.mkdir(parents=True)
    place.write_bytes(one.make())
    function: Function = CheckFunction(NoFaces(), settings.limits) if one.function == "check" else _Kept(one.function)
    invocation = Invocation(bucket, function, settings, "w1", Shutdown(1))
    trigger = ScanTrigger(bucket, one.function, settings.scan)
    _reset_peak()
    begun = time.process_time()
    for _ in range(3):
        trigger.scan(invocation.receive, Event())
    seconds = time.process_time() - begun
    keys = [info.key for info in bucket.list("")]
    results = [key for key in keys if key.startswith("results/")]
    own = ("requests/", "results/", "claims/", "index/")
    said = {
        "answers": [_summary(bucket.get(key)) | {"key": key} for key in results],
        "left": [key for key in keys if not key.startswith(own)],
        "claims": sum(key.startswith("claims/") for key in keys),
    }
    cost = {"seconds": seconds, "peak": _peak()}
    return {"function": one.function, "name": one.name, "expected": one.expected} | cost | said


def _summary(text: bytes) -> Json:
    envelope = json.loads(text)
    error = envelope["data"].get("error", {})
    return {
        "code": envelope["code"],
        "type": error.get("type"),
        "retryable": error.get("retryable"),
        "bytes": len(text),
        "secret": b"hunter2" in text,
    }


def main(size: int, which: str, folder: Path) -> None:
    """Every case of the corpus."""
    resource.setrlimit(resource.RLIMIT_AS, (RESERVE_BYTES, RESERVE_BYTES))
    os.fsync = lambda fd: None  # nothing here need outlive a power cut, and the disk would be all the time
    socket.getaddrinfo, socket.socket.connect = _no_network, _no_network  # type: ignore[method-assign]
    logging.disable(logging.CRITICAL)
    settings = Settings(scan=Scan(seconds=0.001, settle_seconds=0))
    for number, one in enumerate(corpus(size)):
        if which == "sized" and not one.sized:
            continue
        place = folder / str(number)
        place.mkdir(parents=True)
        sys.stdout.write(json.dumps(answered(one, place, settings)) + "\n")
        shutil.rmtree(place)


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Most memory that this process has had since the reset, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
