"""The places that the workers serve, as the sender, the operator and the consumers see them: nothing fails here."""

import heapq
import json
import os
import time
from pathlib import Path
from typing import Any, Protocol

import httpx

from shared.buckets import Bucket, FolderBucket
from shared.buckets.aws_clients import S3Settings
from shared.buckets.s3 import S3Bucket
from shared.contract.manifests import Json
from shared.events import put_event
from shared.operations.sweep import Sweep
from shared.settings import Lease, Limits
from tests.cloud import REGION, Cloud
from tests.receiver import Receiver
from tests.scenario.chaos.disk import Disk
from tests.scenario.chaos.labour import DEADLINE, NAME
from tests.scenario.chaos.proxy import Proxy
from tests.scenario.chaos.schedule import LARGEST, LEASE, Delivery, Schedule
from tests.scenario.chaos.watch import FolderWatch, ProxyWatch
from tests.scenario.chaos.weather import Weather

SECRET = "a secret of the chaos"
REST_SECONDS = 0.35  # between the halves of a slow manifest
OLD = 86_400 * 400
MANY = 100_000  # requests of a user per day


class Site(Protocol):
    """One bucket with all that is around it, for one schedule."""

    receiver: Receiver

    @property
    def bucket(self) -> Bucket:
        """Seen as the judge sees it, with no weather."""

    @property
    def watch(self) -> FolderWatch | ProxyWatch:
        """Who notes what is written."""

    def settings(self, function: str) -> Json:
        """Of a worker of this function."""

    def deliver(self, delivery: Delivery) -> None:
        """Put a manifest; OSError when the disk does not take it now."""

    def tick(self) -> bool:
        """Do what has become due; whether something is still to come."""

    def strike(self, kind: str) -> bool:
        """Make the store full, readonly or out; whether that could be done."""

    def heal(self) -> None:
        """The store works again."""

    def sweep(self, function: str) -> None:
        """What an operator's cron does: find requests whose event was lost, and send it again."""

    def topic_events(self) -> list[Json]:
        """What the topic's subscriber got since the last question."""

    def leftovers(self) -> list[str]:
        """What is left outside of the bucket's keys."""

    def close(self) -> None:
        """Take all of it away."""


class _Later:
    """What is to be done at a time; a heap with a counter, since actions do not compare."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Any]] = []
        self._count = 0

    def add(self, seconds: float, action: Any) -> None:
        self._count += 1
        heapq.heappush(self._heap, (time.monotonic() + seconds, self._count, action))

    def run(self) -> bool:
        while self._heap and self._heap[0][0] <= time.monotonic():
            action = heapq.heappop(self._heap)[2]
            try:
                action()
            except OSError:  # the disk is full; the sender tries again
                self.add(0.2, action)
        return bool(self._heap)


def common(receiver: Receiver) -> Json:
    """Settings of every worker: short leases, so that a death shows within two seconds."""
    return {
        "lease": {"seconds": LEASE, "attempts": 3, "drain_seconds": 1.0},
        "scan": {"seconds": 0.4, "settle_seconds": 1.0},
        "limits": {"request_seconds": DEADLINE, "manifest_bytes": LARGEST},
        "notify": {
            "bucket": True,
            "webhooks": [f"{receiver.url}/hook"],
            "webhook_secret": SECRET,
            "webhook_seconds": 1.0,
            "redelivery_seconds": 0.5,
        },
        "usage": {"record": True},
        "quota": {NAME: MANY},  # never used up, but each request takes a slot
    }


class FolderSite:
    """A folder on a small disk."""

    def __init__(self, schedule: Schedule, place: Path, mounts: bool) -> None:
        self._disk = Disk(place, mounts)
        self.bucket = FolderBucket(place / "bucket")
        self.root = self.bucket.root
        self.watch = FolderWatch(self.root)
        self.receiver = Receiver(*schedule.webhook)
        self.receiver.__enter__()
        self._later = _Later()
        self._struck = ""

    def settings(self, function: str) -> Json:
        return common(self.receiver)

    def deliver(self, delivery: Delivery) -> None:
        path = self.root / delivery.key
        path.parent.mkdir(parents=True, exist_ok=True)
        half = len(delivery.text) // 2 if delivery.manner == "slow" else 0
        if delivery.manner in ("slow", "hollow"):
            path.write_bytes(delivery.text[:half])
            self._later.add(REST_SECONDS, lambda: _append(path, delivery.text, half))
            return
        path.write_bytes(delivery.text)
        if delivery.manner == "dated":
            os.utime(path, (OLD, OLD + len(delivery.key)))

    def tick(self) -> bool:
        return self._later.run()

    def strike(self, kind: str) -> bool:
        self._struck = kind
        return self._disk.fill() if kind == "full" else self._disk.readonly(True)

    def heal(self) -> None:
        if self._struck:
            self._disk.readonly(False)
        self._disk.empty()

    def sweep(self, function: str) -> None:
        """Nothing: a folder is scanned."""

    def topic_events(self) -> list[Json]:
        return []

    def leftovers(self) -> list[str]:
        found = (path for path in (self.root / ".photog").rglob("*") if path.is_file())
        return [f"staging {path.relative_to(self.root)}" for path in found]

    def close(self) -> None:
        self.receiver.__exit__()
        self._disk.close()


class Far:
    """moto and the proxy before it, for all schedules of a process; a context manager."""

    def __enter__(self) -> "Far":
        self.proxy = Proxy().__enter__()
        self.cloud = Cloud(self.proxy.fair)
        return self

    def __exit__(self, *exception: object) -> None:
        self.proxy.__exit__()


class S3Site:
    """A bucket of moto behind the proxy; with `queues`, events go to queues and answers to a topic as well."""

    def __init__(self, schedule: Schedule, far: Far, queues: bool) -> None:
        self._far, self.cloud = far, far.cloud
        self.name = far.cloud.bucket()
        direct = S3Settings(endpoint=far.cloud.endpoint, region=REGION, addressing="path")
        self.bucket = S3Bucket(self.name, direct)
        self.watch = ProxyWatch()
        self.receiver = Receiver(*schedule.webhook)
        self.receiver.__enter__()
        self._later = _Later()
        self._queues: dict[str, str] | None = {} if queues else None
        self.topic, self._subscriber = far.cloud.topic() if queues else ("", "")
        far.proxy.weather = self.weather = Weather(schedule.seed, schedule.weather)
        far.proxy.written = self.watch.written

    def settings(self, function: str) -> Json:
        made = common(self.receiver)
        made["s3"] = {
            "endpoint": self._far.proxy.url,
            "region": REGION,
            "addressing": "path",
            "connect_seconds": 1.0,
            "read_seconds": 1.0,
            "tries": 2,
        }
        if self._queues is not None:
            made["sqs"] = {
                "queue": self._through_proxy(self._queue(function)),
                "endpoint": self._far.proxy.url,
                "wait_seconds": 1,
                "visibility_seconds": 4,
            }
            made["notify"] |= {"sns_topic": self.topic, "sns_endpoint": self._far.proxy.url}
        return made

    def deliver(self, delivery: Delivery) -> None:
        if delivery.manner == "hollow":
            self._put(delivery, b"")
            self._later.add(REST_SECONDS, lambda: self._put(delivery, delivery.text))
        else:
            self._put(delivery, delivery.text)

    def tick(self) -> bool:
        return self._later.run()

    def strike(self, kind: str) -> bool:
        if kind == "readonly":
            self.weather.readonly = True
        else:
            self.weather.outage = True
        return True

    def heal(self) -> None:
        self.weather.readonly = self.weather.outage = False

    def sweep(self, function: str) -> None:
        if self._queues is None or self.cloud.counts(self._queue(function)) != (0, 0):
            return  # what waits in the queue is not lost
        limits, lease = Limits(manifest_bytes=LARGEST), Lease(seconds=LEASE)
        for one in Sweep(self.bucket, limits, lease).find([function], older_seconds=0.0):
            self._send(function, put_event(self.name, one.info))

    def topic_events(self) -> list[Json]:
        if self._queues is None:
            return []
        return [json.loads(json.loads(body)["Message"]) for body in self.cloud.messages(self._subscriber)]

    def leftovers(self) -> list[str]:
        counts = [(name, self.cloud.counts(queue)) for name, queue in (self._queues or {}).items()]
        return [f"messages in the queue of {name}: {count}" for name, count in counts if count != (0, 0)]

    def close(self) -> None:
        self.receiver.__exit__()
        httpx.post(f"{self.cloud.endpoint}/moto-api/reset").raise_for_status()

    def _put(self, delivery: Delivery, text: bytes) -> None:
        self.bucket.put(delivery.key, text)
        function = delivery.key.split("/")[1]
        event = _eventbridge(self.name, delivery.key, len(text))
        for seconds in delivery.events if self._queues is not None else ():
            self._later.add(seconds, lambda: self._send(function, event))

    def _send(self, function: str, event: Json) -> None:
        self.cloud.client("sqs").send_message(QueueUrl=self._queue(function), MessageBody=json.dumps(event))

    def _queue(self, function: str) -> str:
        assert self._queues is not None
        if function not in self._queues:
            self._queues[function] = self.cloud.queue()
        return self._queues[function]

    def _through_proxy(self, queue: str) -> str:
        return self._far.proxy.url + "/" + queue.split("/", 3)[3]


def _append(path: Path, text: bytes, half: int) -> None:
    with path.open("r+b") as file:
        file.seek(half)
        file.write(text[half:])


def _eventbridge(bucket: str, key: str, size: int) -> Json:
    detail = {"version": "0", "bucket": {"name": bucket}, "object": {"key": key, "size": size}}
    return {"version": "0", "source": "aws.s3", "detail-type": "Object Created", "detail": detail}
