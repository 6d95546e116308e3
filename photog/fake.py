"""A client for an application's own tests: no workers, no models, answers at once."""

import base64
import time
from collections.abc import Callable
from typing import Any

from photog.bucket_transport import BucketTransport
from photog.client import Client, Job
from shared.buckets.memory import MemoryBucket
from shared.contract import keys
from shared.contract.manifests import Json, encode, failure, running, success
from shared.contract.request import read_metadata
from shared.contract.usage import Meter, read_users
from shared.errors import RequestError
from shared.settings import Settings

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)  # a PNG of one pixel

Outcome = Json | RequestError


class FakeClient(Client):
    """A `Client` over a bucket in memory; requests are checked as real ones, and answered as the test says.

    Attributes:
        sent: every request in order, as (function, body).

    By default each request is answered at once: a check finds all photos usable, a training succeeds, a portrait is a
    picture of one pixel. `will_answer` and `will_fail` change what the next requests get. With `hold`, requests wait
    until `tell_progress` and `finish` move them.
    """

    def __init__(self) -> None:
        self.bucket = MemoryBucket("fake")
        self.sent: list[tuple[str, Json]] = []
        self._next: dict[str, list[Outcome]] = {}
        self._held = False
        super().__init__(_Fake(self.bucket, self._receive))

    def will_answer(self, function: str, **data: Any) -> None:
        """Answer the next request of a function with these members of `data` in place of the usual ones."""
        self._next.setdefault(function, []).append(data)

    def will_fail(self, function: str, error: RequestError) -> None:
        """Answer the next request of a function with this error, as `PhotoUnavailable("gone").retry_in(30)`."""
        self._next.setdefault(function, []).append(error)

    def hold(self) -> None:
        """Leave the requests that follow unanswered until `finish`."""
        self._held = True

    def tell_progress(self, job: Job[Any], stage: str, step: int, steps: int, eta_seconds: float | None = None) -> None:
        """Report the progress of a request that is held."""
        data = {"stage": stage, "step": step, "steps": steps, "eta_seconds": eta_seconds}
        self.bucket.put(keys.progress(job.function, job.request_id), encode(running(job.request_id, data)))

    def finish(self, job: Job[Any]) -> None:
        """Answer a request that was held."""
        body = next(body for function, body in self.sent if (function, str(body["request_id"])) == _name(job))
        self._answer(job.function, body)

    def _receive(self, function: str, body: Json) -> None:
        self.sent.append((function, body))
        if not self._held:
            self._answer(function, body)

    def _answer(self, function: str, body: Json) -> None:
        request_id, outcomes = str(body["request_id"]), self._next.get(function, [])
        outcome = outcomes.pop(0) if outcomes else {}
        metadata = read_metadata(body)
        if isinstance(outcome, RequestError):
            envelope = failure(request_id, outcome, {"cost_time": 0.1} | _used(body, answered=False), metadata)
        else:
            data = SAMPLES[function](body) | _used(body, answered=True) | outcome
            envelope = success(request_id, "success", data, metadata)
            if "image_key" in envelope["data"]:
                self.bucket.put(envelope["data"]["image_key"], PIXEL)
        self.bucket.put_if_absent(keys.result(function, request_id), encode(envelope))
        self.bucket.delete(keys.progress(function, request_id))


class _Fake(BucketTransport):
    """Tells of each request that was written for the first time."""

    def __init__(self, bucket: MemoryBucket, receive: Callable[[str, Json], None]) -> None:
        super().__init__(bucket, Settings())
        self._receive = receive

    def submit(self, function: str, body: Json) -> str:
        """Write the manifest, and say so."""
        new = self.bucket.head(keys.request(function, str(body["request_id"]))) is None
        request_id = super().submit(function, body)
        if new:
            self._receive(function, body)
        return request_id


def _name(job: Job[Any]) -> tuple[str, str]:
    return job.function, job.request_id


def _used(body: Json, answered: bool) -> Json:
    return {"usage": Meter().usage(0.1, read_users(body), time.time(), answered)}


def _check(body: Json) -> Json:
    result = {"message": "success", "code": 1, "frontal": True, "face": [10, 10, 90, 110], "width": 100, "height": 120}
    return {
        "request_id": body["request_id"],
        "images": body["images"],
        "configure": body.get("configure", {}),
        "cost_time": 0.1,
        "check_results": [{"url": image} | result for image in body["images"]],
        "warnings": [],
    }


def _train(body: Json) -> Json:
    knobs, folder = body["configure"], keys.artifacts("train", str(body["request_id"]), 1)
    steps = knobs.get("max_train_steps", 400)
    return {
        "user_id": knobs["user_id"],
        "request_id": body["request_id"],
        "trained": steps > 0,
        "lora": f"{folder}lora.safetensors" if steps else None,
        "steps": steps,
        "best_step": steps or None,
        "similarity": 0.6 if steps else None,
        "images_used": len(body["images"]),
        "base_model": "fake",
        "face_engine": "fake",
        "trigger": "sks",
        "cost_time": 0.1,
        "warnings": [],
    }


def _generate(body: Json) -> Json:
    knobs, key = body["configure"], f"{keys.artifacts('generate', str(body['request_id']), 1)}portrait.png"
    embedded = knobs.get("image_format", "base64") == "base64"
    likeness = {"similarity": {"before": 0.2, "after": 0.6}, "distance": {"before": 0.8, "after": 0.4}}
    people = knobs.get("user_id")
    faces = people if isinstance(people, list) else [people]
    return {
        "user_id": people,
        "image": base64.b64encode(PIXEL).decode() if embedded else key,
        "image_key": key,
        "width": 1,
        "height": 1,
        "trained": False,
        "faces": [{"user_id": one, "box": [0, 0, 1, 1]} | likeness for one in faces],
        "seed": knobs.get("seed") or 7,
        "cost_time": 0.1,
        "warnings": [],
    }


SAMPLES: dict[str, Callable[[Json], Json]] = {"check": _check, "train": _train, "generate": _generate}
