"""Measures the queue server: puts per second, latency from put to answer with an echoing worker, and memory.

    python -m benchmarks.serve_speed [--entries 20000] [--folder DIR] [--sync-milliseconds 20]

Most of the time is spent on the folder's disk, since a put is accepted only after it is synced. Name a folder on the
disk that would be used in production; or one in memory, with the time that each sync of such a disk takes.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import websockets

from serve import wire
from tests.sdk import Server, workers

INPUT, SINK = "/api/predict/photog_check", "/api/predict/photog_check/sink"
OTHER = "/api/predict/photog_train_pmml"  # a queue without a worker
TOKEN = {"Authorization": "secret"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--entries", type=int, default=20_000, help="entries to put while memory is measured")
    parser.add_argument("--puts", type=int, default=2_000)
    parser.add_argument("--folder", type=Path, help="folder for the bucket and the state; a temporary one by default")
    parser.add_argument("--sync-milliseconds", type=float, default=0, help="make every sync of the server this slow")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        server = Server(Path(folder), arguments.sync_milliseconds)
        server.start()
        try:
            for threads in (1, 8, 32):
                rate = puts(server, arguments.puts, threads)
                print(f"puts into the input queue, {threads} at a time: {rate:8.0f} /s")
            client(server).delete(OTHER, params={"_trunc_": "true", "_index_": 10**9})
            with workers(server.bucket, 1):
                latency("one at a time", one_at_a_time(server, 200))
                latency(f"{arguments.puts} in a row, watched", flood(server, arguments.puts))
            memory(server, arguments.entries)
        finally:
            server.stop()


def client(server: Server) -> httpx.Client:
    return httpx.Client(base_url=f"http://{server.endpoint}", headers=TOKEN, timeout=120)


def puts(server: Server, count: int, threads: int) -> float:
    def some(begin: int) -> None:
        with client(server) as one:
            for number in range(begin, count, threads):
                one.post(OTHER, content=request(f"p{threads}-{number}")).raise_for_status()

    running = [threading.Thread(target=some, args=(begin,)) for begin in range(threads)]
    started = time.perf_counter()
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return count / (time.perf_counter() - started)


def request(identity: str) -> str:
    return json.dumps({"request_id": identity, "images": ["photos/one.jpg"]})


def one_at_a_time(server: Server, count: int) -> list[float]:
    """Return the seconds from each put to its answer, with one request at a time."""
    found = []
    with client(server) as one:
        for number in range(count):
            started = time.perf_counter()
            identity = one.post(INPUT, content=request(f"o{number}")).headers["X-Eas-Queueservice-Request-Id"]
            asked = {"requestId": identity, "_timeout_": "60s", "_auto_delete_": "true"}
            [frame] = wire.read_several(one.get(SINK, params=asked).content)
            assert json.loads(frame.data)["code"] == "OK"
            found.append(time.perf_counter() - started)
    return found


def flood(server: Server, count: int) -> list[float]:
    """Return the same for puts as fast as possible, with answers received by a watching client."""
    sent: dict[str, float] = {}
    seen: dict[str, float] = {}

    def send() -> None:
        with client(server) as one:
            for number in range(count):
                started = time.perf_counter()
                sent[one.post(INPUT, content=request(f"f{number}")).headers["X-Eas-Queueservice-Request-Id"]] = started

    async def watch() -> None:
        url = f"ws://{server.endpoint}{SINK}?_watch_=true&_index_=0&_window_=20&_auto_commit_=true"
        async with websockets.connect(url, additional_headers=TOKEN) as socket:
            while len(seen) < count:
                seen[wire.read_one(await socket.recv(decode=False)).tags["requestId"]] = time.perf_counter()

    sender = threading.Thread(target=send)
    started = time.perf_counter()
    sender.start()
    asyncio.run(watch())
    sender.join()
    print(f"puts to answers in a row, one echoing worker: {count / (time.perf_counter() - started):8.0f} /s")
    return [seen[identity] - sent[identity] for identity in sent]


def latency(name: str, seconds: list[float]) -> None:
    hundredths = statistics.quantiles(seconds, n=100)
    print(f"put to answer, {name}: p50 {hundredths[49] * 1000:8.0f} ms   p99 {hundredths[98] * 1000:8.0f} ms")


def memory(server: Server, entries: int) -> None:
    """Print the resident memory while entries pile up in a sink, and while they are consumed."""
    print(f"memory: {resident(server):6.0f} MB before")
    with client(server) as one:
        in_steps(
            entries, lambda number: one.post(OTHER + "/sink", content=b"x" * 1000).raise_for_status(), server, "put"
        )

        def take(number: int) -> None:
            if number % 100 == 0:
                asked = {"_length_": "100", "_timeout_": "0", "_auto_delete_": "true"}
                assert wire.read_several(one.get(OTHER + "/sink", params=asked).content)

        in_steps(entries, take, server, "consumed")


def in_steps(entries: int, step: Callable[[int], object], server: Server, what: str) -> None:
    for number in range(entries):
        step(number)
        if (number + 1) % (entries // 4) == 0:
            print(f"memory: {resident(server):6.0f} MB after {number + 1} entries {what}")


def resident(server: Server) -> float:
    """Return the resident memory of the server process in MB."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
