"""Measures which share of the time a worker's device works, on a queue of requests and a store across a network.

    python -m benchmarks.device_busy [--requests 50] [--seconds 1.0] [--latency-milliseconds 40] [--in-memory]

The store and the queue are moto's server behind a proxy that delays whatever is sent to it; or a bucket in memory whose
calls take as long, and which is scanned, on a machine that is too busy for moto. The worker is photog's, with
everything around the function. The function makes the calls of a portrait with one face: it fetches and decodes the
template as `generate` does, looks up the person's LoRA, reports stages and saves a picture. Its device is none: it is
busy for the given seconds, in which Python sleeps, as it waits for a GPU. What a portrait computes on the processor
besides, and the way into a child process, are not in it; so this is what the store costs, and no more.
"""

import argparse
import asyncio
import io
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import numpy as np
from PIL import Image

from functions.generate.decoded_ahead import DecodedAhead
from functions.generate.template import decode_ahead, fetch_template
from shared.buckets import Bucket, MemoryBucket, ObjectInfo, open_bucket
from shared.buckets.aws_clients import S3Settings, SqsSettings
from shared.contract.function import Answer
from shared.contract.manifests import Json
from shared.contract.workspace import Workspace
from shared.runtime.worker import Worker
from shared.settings import Limits, Scan, Settings
from tests.cloud import CREDENTIALS, REGION, Cloud, start

FUNCTION = "generate"
STAGES = ("template", "people", "diffusion", "fusion", "diffusion", "fusion", "retouching", "output")
LORA, MODEL = "results/train/t/a1/lora.safetensors", "users/ann/model.json"
PICTURE = os.urandom(1_500_000)  # a portrait of one megapixel as PNG
SIDE = 1024  # of the template, in pixels
PIECE = 65_536


class Device:
    """A function whose device is busy for a while; it notes when."""

    name = FUNCTION

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._limits, self._ahead = Limits(), DecodedAhead()
        self.worked: list[tuple[float, float]] = []

    def answer(self, body: Json, workspace: Workspace) -> Answer:
        """Make a portrait's calls, with the work spread over its stages."""
        fetch_template(body["template_image"], workspace, self._limits, self._ahead)
        if workspace.size(MODEL) is None or workspace.read(MODEL) is None or workspace.etag(LORA) is None:
            raise LookupError("the person's model is gone")
        for number, stage in enumerate(STAGES):
            workspace.progress(stage, number, len(STAGES), self._seconds * (1 - number / len(STAGES)))
            begun = time.monotonic()
            time.sleep(self._seconds / len(STAGES))
            self.worked.append((begun, time.monotonic()))
        return Answer({"image_key": workspace.save("portrait.png", PICTURE), "user_id": "ann"})

    def prepare(self, body: Json, workspace: Workspace) -> None:
        """Look up and decode ahead what `answer` does, as `generate` does."""
        if workspace.size(MODEL) is not None:
            workspace.read(MODEL)
        workspace.etag(LORA)
        decode_ahead(body["template_image"], workspace, self._limits, self._ahead)

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Nothing is kept."""

    def pointers(self, data: Json) -> dict[str, Json]:
        """Return none, as `generate` does."""
        return {}


class DistantBucket(MemoryBucket):
    """Objects in memory, each call a network away."""

    def __init__(self, latency: float) -> None:
        super().__init__()
        self.address, self._latency = "s3://distant", latency

    def get(self, key: str, largest: int | None = None) -> bytes:
        time.sleep(self._latency)
        return super().get(key, largest)

    def put(self, key: str, data: bytes) -> None:
        time.sleep(self._latency)
        super().put(key, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        time.sleep(self._latency)
        return super().put_if_absent(key, data)

    def list(self, prefix: str, after: str = "") -> Iterator[ObjectInfo]:
        time.sleep(self._latency)
        yield from super().list(prefix, after)

    def delete(self, key: str) -> None:
        time.sleep(self._latency)
        super().delete(key)

    def head(self, key: str) -> ObjectInfo | None:
        time.sleep(self._latency)
        return super().head(key)


def main() -> None:
    """Fill the queue, serve all of it, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=1.0, help="the device's work for one request")
    parser.add_argument("--latency-milliseconds", type=float, default=40.0)
    parser.add_argument("--in-memory", action="store_true", help="no moto, no queue: scan a bucket in memory")
    options = parser.parse_args()
    device = Device(options.seconds)
    cpu = time.process_time()
    (scan if options.in_memory else consume)(device, options.requests, options.latency_milliseconds / 1000)
    cpu = time.process_time() - cpu
    busy = sum(ended - begun for begun, ended in device.worked)
    took = device.worked[-1][1] - device.worked[0][0]
    told = f"{options.requests} requests of {options.seconds} s, {options.latency_milliseconds:.0f} ms to the store"
    print(f"{told}, load {os.getloadavg()[0]:.1f}")
    print(f"device busy      {100 * busy / took:.1f} % of {took:.1f} s")
    print(f"between requests {1000 * (took - busy) / (options.requests - 1):.0f} ms")
    print(f"CPU              {1000 * cpu / options.requests:.0f} ms a request, all threads of the worker")


def scan(device: Device, requests: int, latency: float) -> None:
    """Serve all requests from a bucket in memory."""
    bucket = DistantBucket(0.0)
    fill(bucket, requests)
    bucket._latency = latency
    settings = Settings(scan=Scan(seconds=0.5))
    worker = Worker(FUNCTION, bucket, settings, lambda name, _: device)

    def stop_when_answered() -> None:
        while sum(1 for _ in bucket.folders(f"results/{FUNCTION}/")) < requests or len(
            list(bucket.folders("progress/"))
        ):
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_when_answered, daemon=True).start()
    worker.run()


def consume(device: Device, requests: int, latency: float) -> None:
    """Serve all requests from moto's queue and store."""
    os.environ.update(CREDENTIALS)
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    store = context.Process(target=serve_store, args=(theirs, latency), daemon=True)
    store.start()
    direct, delayed = ours.recv()
    try:
        cloud = Cloud(direct)
        name, queue = cloud.bucket(), cloud.queue()
        for key in fill(open_bucket(f"s3://{name}", S3Settings(endpoint=direct, region=REGION)), requests):
            place = {"bucket": {"name": name}, "object": {"key": key, "size": 1}}
            event = {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": place}]}
            cloud.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(event))
        sqs = SqsSettings(queue=queue.replace(direct, delayed), endpoint=delayed, wait_seconds=1)
        settings = Settings(s3=S3Settings(endpoint=delayed, region=REGION), sqs=sqs)
        bucket = open_bucket(f"s3://{name}", settings.s3)
        Worker(FUNCTION, bucket, settings, lambda name, _: device, until_empty=True).run()
    finally:
        store.kill()


def fill(bucket: Bucket, requests: int) -> list[str]:
    """Put the pictures, the person and the requests; return the keys of these."""
    for key, data in {MODEL: b"{}", LORA: b"lora"}.items():
        bucket.put(key, data)
    template = make_template()
    keys = [f"requests/{FUNCTION}/r{number}.json" for number in range(requests)]
    for number, key in enumerate(keys):
        bucket.put(f"photos/{number}.png", template)
        body = {"request_id": f"r{number}", "template_image": f"photos/{number}.png", "configure": {"user_id": "ann"}}
        bucket.put(key, json.dumps(body).encode())
    return keys


def make_template() -> bytes:
    """Return a picture of one megapixel, as detailed as a photo."""
    rough = np.random.default_rng(0).integers(0, 256, (SIDE // 4, SIDE // 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(rough).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


def serve_store(pipe: Connection, latency: float) -> None:
    """Run moto's server and the proxy before it; tell both addresses."""
    server, cloud = start()
    host, port = cloud.endpoint.removeprefix("http://").split(":")

    async def proxy() -> None:
        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            upstream = await asyncio.open_connection(host, int(port))
            await asyncio.gather(carry(reader, upstream[1], latency), carry(upstream[0], writer, 0.0))

        listening = await asyncio.start_server(pass_on, "127.0.0.1", 0)
        pipe.send((cloud.endpoint, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"))
        await listening.serve_forever()

    try:
        asyncio.run(proxy())
    finally:
        server.stop()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, latency: float) -> None:
    """Carry bytes on, each a latency later; more of them may be on their way meanwhile."""
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, piece = await under_way.get()
            await asyncio.sleep(due - time.monotonic())
            if not piece:
                writer.close()
                return
            writer.write(piece)

    delivering = asyncio.create_task(deliver())
    while piece := await reader.read(PIECE):
        under_way.put_nowait((time.monotonic() + latency, piece))
    under_way.put_nowait((time.monotonic() + latency, b""))
    await delivering


if __name__ == "__main__":
    main()
