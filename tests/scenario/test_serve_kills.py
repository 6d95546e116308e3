"""The server killed at any moment, its state kept, deleted or cut off: nothing is lost or doubled."""

import contextlib
import json
import random
import shutil
import threading
import time

import httpx
import pytest

from serve import wire
from shared.buckets import FolderBucket
from tests import sdk
from tests.echo import until

pytestmark = pytest.mark.slow

INPUT, SINK = "/api/predict/photog_check", "/api/predict/photog_check/sink"
TOKEN = {"Authorization": "secret"}
KILLS = 4
SENDERS = 5


class Sender:
    """Puts one request after another, each until it is accepted; keeps what was accepted, in order."""

    def __init__(self, server: sdk.Server, name: str) -> None:
        self.accepted: list[tuple[int, str, str]] = []
        self._server, self._name, self._halt = server, name, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._halt.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        with httpx.Client(base_url=f"http://{self._server.endpoint}", headers=TOKEN, timeout=5) as client:
            while not self._halt.is_set():
                number += 1
                identity = f"{self._name}-{number}"
                with contextlib.suppress(httpx.HTTPError):
                    response = client.post(INPUT, content=json.dumps({"request_id": identity}))
                    if response.status_code == 200:
                        uuid = response.headers["X-Eas-Queueservice-Request-Id"]
                        self.accepted.append((int(response.text), uuid, identity))
                time.sleep(0.05)


def frames(server: sdk.Server) -> list[wire.Frame]:
    with httpx.Client(base_url=f"http://{server.endpoint}", headers=TOKEN, timeout=30) as client:
        found = client.get(SINK, params={"_length_": "100000", "_timeout_": "0"})
    return wire.read_several(found.content)


def waiting(server: sdk.Server) -> str:
    """Return how many puts are not answered yet."""
    with httpx.Client(base_url=f"http://{server.endpoint}", headers=TOKEN, timeout=30) as client:
        return client.get(INPUT, params={"_attrs_": "true"}).json()["stream.length"]


def lose(folder, how: float) -> None:
    """Leave of the state what a loss of power, or of a disk, may leave."""
    state = folder / "state"
    if how < 0.25:
        shutil.rmtree(state)
    elif how < 0.6:
        (state / "state.sqlite-wal").unlink(missing_ok=True)
    elif how < 0.75:
        data = (state / "state.sqlite").read_bytes()
        (state / "state.sqlite").write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(("seed", "sync_milliseconds"), [(1, 0), (2, 20)])
def test_a_server_killed_again_and_again_loses_no_put_and_gives_no_place_twice(tmp_path, seed, sync_milliseconds):
    """A slow disk makes groups of the writes, which a kill may then break off."""
    chance = random.Random(seed)
    with sdk.quick_folder(tmp_path) as folder:
        server = sdk.Server(folder, sync_milliseconds)
        server.start()
        senders = [Sender(server, f"s{number}") for number in range(SENDERS)]
        with sdk.workers(server.bucket, 1):
            seen: dict[str, int] = {}
            for _ in range(KILLS):
                time.sleep(chance.uniform(0.1, 0.8))
                seen |= {frame.tags["requestId"]: frame.index for frame in frames(server)}
                server.kill()
                lose(folder, chance.random())
                server.start()
            for sender in senders:
                sender.stop()
            accepted = {uuid: identity for sender in senders for _, uuid, identity in sender.accepted}
            until(lambda: waiting(server) == "0", 60, 0.2)
            found = frames(server)
        assert server.stop() == 0
        left = list(FolderBucket(server.bucket).list("queue/photog_check/"))
    places = {frame.tags["requestId"]: frame.index for frame in found}
    assert len(set(places.values())) == len(places) == len(found), "one place each, no place twice"
    assert seen.items() <= places.items(), "an entry that was seen stays where it is"
    assert len({index for sender in senders for index, *_ in sender.accepted}) == len(accepted)
    for sender in senders:
        indexes = [index for index, *_ in sender.accepted]
        assert indexes == sorted(indexes), "later puts have higher indexes"
    assert accepted.keys() <= places.keys(), "an accepted put was not answered"
    answers = {frame.tags["requestId"]: json.loads(frame.data) for frame in found}
    assert {uuid: answers[uuid]["request_id"] for uuid in accepted} == accepted
    assert {answer["code"] for answer in answers.values()} == {"OK"}
    assert len(left) == len(found)
