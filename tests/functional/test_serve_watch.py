"""Watching a queue over a WebSocket: windows, commits, and what happens to entries whose consumer disconnects."""

import json
import threading
import time

import anyio
import pytest
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from serve import wire
from tests.echo import until
from tests.serving import SINK, Served, attributes, put

QUIET_SECONDS = 0.3  # in which nothing more must come


@pytest.fixture
def served(tmp_path):
    return Served(tmp_path)


@pytest.fixture
def client(served):
    with served.running() as running:
        yield running


class Watcher:
    """One consumer, which receives frames in a thread of its own."""

    def __init__(self, client, uid="u1", gid="eas", path=SINK, **query):
        names = {"index": "_index_", "window": "_window_", "index_only": "_index_only_", "auto_commit": "_auto_commit_"}
        asked = {"_watch_": "true", "_index_": "0", "_window_": "1"}
        asked |= {names.get(name, name): str(value).lower() for name, value in query.items()}
        headers = {"X-EAS-QueueService-Redis-Uid": uid, "X-EAS-QueueService-Redis-Gid": gid}
        text = "&".join(f"{name}={value}" for name, value in asked.items())
        self.frames: list[wire.Frame] = []
        self.closed: int | None = None
        self._session = client.websocket_connect(f"{path}?{text}", headers=headers)
        self._socket = self._session.__enter__()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        try:
            while True:
                self.frames.append(wire.read_one(self._socket.receive_bytes()))
        except WebSocketDisconnect as gone:
            self.closed = gone.code
        except anyio.ClosedResourceError:
            return  # closed from this side

    def close(self):
        self._socket.close()
        self._session.__exit__(None, None, None)

    def data(self):
        return [frame.data.decode() for frame in self.frames]

    def settled(self, count):
        """Return the data, once that many frames have come and no more follow."""
        until(lambda: len(self.frames) >= count)
        time.sleep(QUIET_SECONDS)
        return self.data()


def fill(client, count, **tags):
    return [put(client, str(number), SINK, **tags)[0] for number in range(count)]


def commit(client, *indexes):
    return client.put(SINK, params={"_indexes_": ",".join(map(str, indexes))}).text


def test_no_more_than_the_window_is_uncommitted_and_each_commit_makes_room(client):
    indexes = fill(client, 5)
    watcher = Watcher(client, window=2)
    assert watcher.settled(2) == ["0", "1"]
    assert "Pending: 2, Status: Running" in attributes(client)["consumers.list.[0]"]
    assert "Window: 2, Slots: 0, AutoCommit: false" in attributes(client)["consumers.list.[0]"]
    assert commit(client, indexes[1]) == "1"
    assert watcher.settled(3) == ["0", "1", "2"]
    assert attributes(client)["stream.length"] == "4"
    watcher.close()


def test_auto_commit_empties_the_queue_as_it_sends(client):
    fill(client, 20)
    watcher = Watcher(client, window=2, auto_commit=True)
    assert watcher.settled(20) == [str(number) for number in range(20)]
    put(client, "later", SINK)
    until(lambda: watcher.data()[-1] == "later")
    until(lambda: attributes(client)["stream.length"] == "0")
    watcher.close()


def test_index_only_sends_no_data(client):
    indexes = fill(client, 3, kind="k")
    watcher = Watcher(client, window=9, index_only=True)
    assert watcher.settled(3) == ["", "", ""]
    assert [(frame.index, frame.tags["kind"]) for frame in watcher.frames] == [(index, "k") for index in indexes]
    watcher.close()


def test_a_watch_may_begin_at_an_index_and_want_tags(client):
    indexes = fill(client, 3, shop="north") + fill(client, 3, shop="south")
    watcher = Watcher(client, window=9, index=indexes[1], shop="north")
    assert [int(one) for one in watcher.settled(2)] == [1, 2]
    watcher.close()


def test_what_a_consumer_did_not_commit_goes_to_the_next_one(tmp_path):
    with Served(tmp_path, reconnect_seconds=60).running() as client:  # so that no other signal wakes the next one
        indexes = fill(client, 3)
        first = Watcher(client, "u1", window=2)
        assert first.settled(2) == ["0", "1"]
        second = Watcher(client, "u2", window=9)
        assert second.settled(1) == ["2"], "what u1 holds is not handed out twice"
        commit(client, indexes[0])
        until(lambda: first.data() == ["0", "1"])
        first.close()
        until(lambda: second.data() == ["2", "1"])
        assert json.loads(json.dumps(attributes(client)))["consumers.stats.total"] == "1"
        second.close()


def test_every_group_gets_all_entries_until_one_commits_them(client):
    indexes = fill(client, 2)
    here, there = Watcher(client, "u1", "shop", window=9), Watcher(client, "u2", "archive", window=9)
    assert here.settled(2) == there.settled(2) == ["0", "1"]
    commit(client, *indexes)
    assert attributes(client)["stream.length"] == "0"
    groups = [value for name, value in attributes(client).items() if name.startswith("groups.list")]
    assert [group.split(", Index: ")[0] for group in groups] == ["Id: archive", "Id: shop"]
    here.close()
    there.close()


def test_a_consumer_that_connects_anew_takes_over_from_its_old_connection(client):
    fill(client, 2)
    old = Watcher(client, window=9)
    assert old.settled(2) == ["0", "1"]
    new = Watcher(client, window=9)
    until(lambda: old.closed is not None)
    assert new.settled(2) == ["0", "1"], "uncommitted, so handed out again"
    assert attributes(client)["consumers.stats.total"] == "1"
    old.close()
    new.close()


def test_after_a_restart_entries_wait_for_their_consumer_before_others_get_them(tmp_path):
    served = Served(tmp_path, reconnect_seconds=4)
    with served.running() as client:
        fill(client, 2)
        holder = Watcher(client, "u1", window=1)
        assert holder.settled(1) == ["0"]
        # the server dies with the connection open: its rows stay as they are
        rows = served.folder / "state.sqlite"
        assert rows.exists()
        kept = _rows(rows)
        holder.close()
    _restore(served.folder / "state.sqlite", kept)
    with served.running() as client:
        other = Watcher(client, "u2", window=9)
        assert other.settled(1) == ["1"]
        until(lambda: other.data() == ["1", "0"])
        other.close()
    _restore(served.folder / "state.sqlite", kept)
    with served.running() as client:
        again = Watcher(client, "u1", window=1)
        assert again.settled(1) == ["0"], "its own come first"
        again.close()


def _rows(path):
    import sqlite3

    with sqlite3.connect(path) as connection:
        return connection.execute("SELECT * FROM deliveries").fetchall()


def _restore(path, rows):
    import sqlite3

    with sqlite3.connect(path) as connection:
        connection.executemany("INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?, ?, ?, ?)", rows)


def test_answers_come_to_a_watcher_as_the_worker_gives_them(served, client):
    watcher = Watcher(client, window=1, auto_commit=True)
    identities = [
        put(client, json.dumps({"request_id": f"r{number}"}), "/api/predict/photog_check")[1] for number in range(3)
    ]
    served.work_until(3)
    until(lambda: len(watcher.frames) == 3)
    assert sorted(frame.tags["requestId"] for frame in watcher.frames) == sorted(identities)
    assert all(json.loads(text)["code"] == "OK" for text in watcher.data())
    watcher.close()


def test_without_the_token_or_with_a_bad_window_nothing_is_watched(client):
    with pytest.raises(WebSocketDenialResponse) as refused:
        Watcher(client, window=0)
    assert refused.value.status_code == 400
    del client.headers["Authorization"]
    with pytest.raises(WebSocketDenialResponse) as refused:
        Watcher(client)
    assert refused.value.status_code == 401
