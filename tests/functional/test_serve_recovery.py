"""The bucket is the truth: a lost, old, damaged or foreign state, or a foreign object in the queue, loses nothing."""

import json
import logging
import os
import shutil
import sqlite3
import time

import pytest

from serve.database import BESIDE, Database, StateUnavailable
from serve.message import LARGEST_COUNTED, LARGEST_INDEX, Message, decode_message, encode_message, message_key
from serve.queue_index import QueueIndex, ServiceQueue
from serve.recovery import Recovery
from serve.sequence import IndexSequence
from serve.store import Store
from shared.buckets import MemoryBucket
from shared.buckets.base import BucketError
from tests.echo import until
from tests.serving import INPUT, SINK, Served, attributes, get, put

IDENTITIES = [f"00000000-0000-4000-8000-{number:012x}" for number in range(20)]


@pytest.fixture
def served(tmp_path):
    return Served(tmp_path / "state")


def request(number: int) -> str:
    return json.dumps({"request_id": f"r{number}"})


def copied(served, place):
    """Return the state file as it is now, with its log, as a snapshot of the disk would contain it."""
    shutil.copytree(served.folder, place, dirs_exist_ok=True)


def restored(served, place):
    served.lose_state()
    for path in place.glob("state.sqlite*"):
        shutil.copy(path, served.folder / path.name)


def places(client) -> dict[str, int]:
    """Return the index of every entry of the sink, by uuid."""
    frames = get(client, length=1000, timeout="0")
    assert len({frame.index for frame in frames}) == len(frames), "no index twice"
    return {frame.tags["requestId"]: frame.index for frame in frames}


def aside(served) -> list[str]:
    return [one.name for one in served.folder.glob("state.sqlite.bad-*") if not one.name.endswith(BESIDE[:-1])]


def test_a_state_that_lags_gives_no_index_twice_and_every_put_its_own_answer(served, tmp_path):
    given: dict[str, int] = {}
    with served.running() as client:
        given |= {identity: index for index, identity in (put(client, request(number)) for number in range(3))}
    copied(served, tmp_path / "old")
    with served.running() as client:
        given |= {identity: index for index, identity in (put(client, request(number)) for number in range(3, 8))}
        served.work_until(8)
        until(lambda: len(places(client)) == 8)
        before = places(client)
        consumed = get(client, length=2, timeout="0", auto_delete=True)
    restored(served, tmp_path / "old")
    with served.running() as client:
        given |= {identity: index for index, identity in (put(client, request(number)) for number in range(8, 12))}
        served.work_until(12)
        until(lambda: len(places(client)) == 10)
        after = places(client)
    assert len(set(given.values())) == len(given) == 12
    left = {
        identity: index for identity, index in before.items() if identity not in {f.tags["requestId"] for f in consumed}
    }
    assert {identity: after[identity] for identity in left} == left, "an entry keeps its place"
    assert set(after) == set(given) - {frame.tags["requestId"] for frame in consumed}
    assert not set(before.values()) & {index for identity, index in after.items() if identity not in before}
    assert list(given.values()) == sorted(given.values()), "later puts have higher indexes"
    assert len(set(served.echo.runs)) == len(served.echo.runs) == 12


@pytest.mark.parametrize("lost", ["indexes.json", "state", "records"])
def test_an_index_comes_twice_only_where_block_end_state_and_records_are_all_lost(served, lost):
    with served.running() as client:
        last = [put(client, b"x", SINK)[0] for _ in range(5)][-1]
        if lost == "records":
            client.delete(SINK, params={"_trunc_": "true", "_index_": last + 1})
    if lost == "indexes.json":
        served.bucket.put("queue/photog_check.indexes.json", b'{"sink": "many", "source": [')
    else:
        served.lose_state()
    with served.running() as client:
        assert put(client, b"x", SINK)[0] > last


def garbage(path):
    path.write_bytes(b"garbage" * 3000)


def cut(path):
    path.write_bytes(path.read_bytes()[:5000])


def overwritten(path):
    data = path.read_bytes()
    path.write_bytes(data[:8192] + bytes(range(256)) * ((len(data) - 8192) // 256))


def older(path):
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE puts (uuid TEXT PRIMARY KEY, service TEXT NOT NULL)")


def another_programs(path):
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE moz_places (id INTEGER)")


def of_another_bucket(path):
    path.unlink()
    database = Database(path.parent / "other", "memory://another")
    database.close()
    shutil.copy(path.parent / "other" / "state.sqlite", path)


def empty(path):
    path.write_bytes(b"")


def folder(path):
    path.unlink()
    path.mkdir()


def special(path):
    path.unlink()
    os.mkfifo(path)


def loop(path):
    path.unlink()
    path.symlink_to(path.name)


def beside(ending):
    def damage(path):
        path.with_name(path.name + ending).mkdir()

    return damage


def changed(statement):
    def damage(path):
        with sqlite3.connect(path) as connection:
            connection.executescript(f"PRAGMA ignore_check_constraints=1; {statement}")

    return damage


CHANGED = [
    "DROP TABLE deliveries",
    "ALTER TABLE puts DROP COLUMN owner",
    "DROP INDEX by_sink",
    "CREATE TRIGGER lost AFTER INSERT ON puts BEGIN DELETE FROM puts; END",
    "CREATE TRIGGER refused BEFORE INSERT ON puts BEGIN SELECT RAISE(ABORT, 'no'); END",
    "ALTER TABLE groups RENAME TO g; CREATE VIEW groups AS SELECT * FROM g",
    "UPDATE puts SET state='gone'",
    "UPDATE puts SET tags='[1]'",
    "UPDATE puts SET tags='{'",
]


@pytest.mark.parametrize(
    "damage",
    [
        *(garbage, cut, overwritten, older, another_programs, of_another_bucket, empty, folder, special, loop),
        *map(beside, ("-wal", "-shm", "-journal")),
        *map(changed, CHANGED),
    ],
)
def test_a_state_that_cannot_be_used_is_set_aside_and_made_anew(served, damage, caplog):
    with served.running() as client:
        kept = {put(client, request(number))[1] for number in range(4)}
        served.work_until(2)
        until(lambda: len(places(client)) >= 2)
        answered = places(client)
    for path in served.folder.glob("state.sqlite-*"):
        path.unlink()
    damage(served.folder / "state.sqlite")
    with served.running() as client:
        assert answered.items() <= places(client).items()
        served.work_until(4)
        until(lambda: set(places(client)) == kept)
    if damage is not empty:
        assert len(aside(served)) == 1
        said = [one for one in caplog.records if "made anew" in one.message]
        assert len(said) == 1
        assert "\n" not in said[0].message


def test_a_state_that_is_damaged_while_it_is_used_is_made_anew_and_no_accepted_put_is_lost(served):
    with served.running() as client:
        kept = [put(client, request(number))[1] for number in range(3)]
        with sqlite3.connect(served.folder / "state.sqlite") as other:
            other.execute("DROP TABLE puts")
        kept += [put(client, request(number))[1] for number in range(3, 6)]
        served.work_until(6)
        until(lambda: len(places(client)) == 6)
        assert set(places(client)) == set(kept)
        assert len(aside(served)) == 1
    with served.running() as client:
        assert set(places(client)) == set(kept)


@pytest.mark.parametrize("nonsense", ["tags='{{'", "tags='[1]'", "tags='1'", "state='gone'"])
def test_a_row_that_is_nonsense_makes_the_state_anew(served, nonsense):
    with served.running() as client:
        put(client, b"x", SINK, shop="north")
        with sqlite3.connect(served.folder / "state.sqlite") as other:
            other.executescript(f"PRAGMA ignore_check_constraints=1; UPDATE puts SET {nonsense}")
        until(lambda: client.get(SINK, params={"_timeout_": "0"}).status_code == 200)
        assert get(client, timeout="0")[0].tags["shop"] == "north"


def test_a_watcher_is_told_to_come_again_when_the_state_was_made_anew(served):
    with served.running() as client:
        put(client, b"x", SINK)
        query = f"{SINK}?_watch_=true&_index_=0&_window_=1"
        with client.websocket_connect(query) as socket:
            socket.receive_bytes()
            with sqlite3.connect(served.folder / "state.sqlite") as other:
                other.execute("DROP TABLE deliveries")
            until(lambda: client.post(SINK, content=b"y").status_code == 200)
            assert socket.receive()["code"] == 1012


def test_a_full_disk_is_no_damage_and_what_is_refused_then_never_runs(served, monkeypatch):
    with served.running() as client:
        put(client, request(0))

        def full(*arguments: object) -> None:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

        with monkeypatch.context() as during:
            during.setattr(QueueIndex, "add", full)
            response = client.post(INPUT, content=request(1))
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        assert put(client, request(2))
        assert len(list(served.bucket.list("queue/photog_check/"))) == 2
    assert aside(served) == []


def test_while_the_bucket_fails_a_lost_state_is_not_taken_for_empty(tmp_path):
    bucket, database = MemoryBucket(), Database(tmp_path)
    store = Store(bucket, database, {"photog_check": "check"}, 10)
    identity = store.put(ServiceQueue("photog_check", "sink"), b"x", {}, 0)[1]
    database.close()
    (tmp_path / "state.sqlite").unlink()
    database = Database(tmp_path)
    store = Store(bucket, database, {"photog_check": "check"}, 10)

    def fail(prefix):
        raise BucketError("no answer")

    listing, bucket.list = bucket.list, fail
    database.fill_with(Recovery(store).run)
    with pytest.raises(BucketError, match="no answer"):
        store.index.record_sizes("photog_check")
    with pytest.raises(StateUnavailable):
        store.index.record_sizes("photog_check")
    bucket.list = listing
    until(lambda: _known(store) == {identity})
    database.close()


def _known(store):
    try:
        return set(store.index.record_sizes("photog_check"))
    except StateUnavailable:
        return None


def record(number: int, **said: object) -> Message:
    tags = {"requestId": IDENTITIES[number]}
    values = {"uuid": IDENTITIES[number], "service": "photog_check", "tags": tags, "accepted": 1e9 + number} | said
    return Message(**values)


def foreign() -> dict[str, bytes]:
    """Return objects that somebody may have left among the records."""
    whole = encode_message(record(1, sink=1, inline=True), b"x")
    fields = json.loads(whole.partition(b"\n")[0])
    prefix = "queue/photog_check/"
    changed = [
        {"sink": None},
        {"sink": 2**63},
        {"sink": -1},
        {"tags": {}},
        {"tags": None},
        {"accepted": "NaN"},
        {"priority": 2**64},
        {"request_id": "../../up"},
        {"service": "photog_pre_pmml"},
        {"uuid": IDENTITIES[0]},
    ]
    found = {prefix + IDENTITIES[2 + number]: json.dumps(fields | more).encode() for number, more in enumerate(changed)}
    for number, data in enumerate(
        (b"", b"garbage", b"\xff\xfe\n", b"[]\n", b"{}\n", b"[" * 100_000, b'{"uuid": "\\ud800"}')
    ):
        found[prefix + IDENTITIES[12 + number]] = data
    return found | {prefix + "garbage": b"x", prefix + "a/b": whole, prefix + IDENTITIES[1].upper() + "A": whole}


def test_foreign_objects_in_the_queue_are_told_once_and_left_and_stop_nothing(served, caplog):
    objects = foreign()
    for key, data in objects.items():
        served.bucket.put(key, data)
    with served.running() as client:
        _, identity = put(client, request(1))
        served.work_until(1)
        until(lambda: set(places(client)) == {identity})
    assert {key: served.bucket.get(key) for key in objects} == objects
    said = [one for one in caplog.records if "no records" in one.message]
    assert len(said) == 1
    assert f"and {len(objects) - 5} more" in said[0].message


def test_two_records_with_one_index_both_keep_their_answer_under_different_ones(served):
    for number, body in enumerate((b"first", b"second")):
        one = record(number, sink=7, inline=True)
        served.bucket.put(one.key, encode_message(one, body))
    for number in (2, 3):
        one = record(number, source=5, request_id=f"r{number}", sha256=f"{number}")
        served.bucket.put(one.key, encode_message(one, request(number).encode()))
    with served.running() as client:
        assert sorted(frame.data for frame in get(client, length=9, timeout="0")) == [b"first", b"second"]
        found = places(client)
        assert found[IDENTITIES[0]] == 7
        assert attributes(client, INPUT)["stream.length"] == "2"
    with served.running() as client:
        assert places(client) == found


@pytest.mark.parametrize("forged", [LARGEST_INDEX, LARGEST_INDEX - 1, LARGEST_COUNTED + 1])
@pytest.mark.parametrize("where", ["record", "sunk record", "block end"])
def test_an_index_that_no_server_reaches_leaves_indexes_for_all_others(served, forged, where):
    if where == "block end":
        served.bucket.put("queue/photog_check.indexes.json", json.dumps({"source": forged, "sink": forged}).encode())
    else:
        place = {"source": forged, "request_id": "r9"} if where == "record" else {"sink": forged, "inline": True}
        one = record(1, **place)
        served.bucket.put(one.key, encode_message(one, request(9).encode()))
    for turn in range(2):
        with served.running() as client:
            assert 0 < put(client, request(turn))[0] < 10_000
            assert 0 < put(client, b"x", SINK)[0] < 10_000


def test_a_record_that_is_overwritten_with_garbage_holds_up_no_other_and_crashes_no_answer(served):
    with served.running() as client:
        _, sunk = put(client, b"x", SINK)
        served.bucket.put(message_key("photog_check", sunk), b"garbage")
        [frame] = get(client, timeout="0")
        assert json.loads(frame.data)["data"]["error"]["type"] == "InternalError"
        assert client.get(SINK, params={"_raw_": "true", "_timeout_": "0"}).status_code == 200
        put(client, request(0))
        until(lambda: served.bucket.head("requests/check/r0.json"))
        _, broken = put(client, request(1))
        served.bucket.put(message_key("photog_check", broken), b"garbage")
        _, later = put(client, request(2))
        served.work_until(2)
        until(lambda: later in places(client))
    assert served.bucket.get(message_key("photog_check", broken)) == b"garbage"


def test_a_record_that_somebody_deletes_leaves_its_queue_and_holds_up_no_other(served):
    with served.running() as client:
        put(client, request(0))
        until(lambda: served.bucket.head("requests/check/r0.json"))
        _, gone = put(client, request(1))
        served.bucket.delete(message_key("photog_check", gone))
        put(client, request(2))
        served.work_until(2)
        until(lambda: attributes(client, INPUT)["stream.length"] == "0")
        assert len(places(client)) == 2


def test_a_manifest_that_the_store_refuses_holds_up_no_other(served, monkeypatch):
    store = served.bucket.put_if_absent

    def refuse(key: str, data: bytes) -> bool:
        if key == "requests/check/r0.json":
            raise BucketError("access denied")
        return store(key, data)

    monkeypatch.setattr(served.bucket, "put_if_absent", refuse)
    with served.running() as client:
        put(client, request(0), priority=9)
        put(client, request(1))
        served.work_until(1)
        until(lambda: attributes(client)["stream.length"] == "1")
        monkeypatch.undo()
        served.work_until(2)
        until(lambda: attributes(client)["stream.length"] == "2")


def test_a_restart_reads_only_the_records_that_its_rows_do_not_know(served, monkeypatch):
    with served.running() as client:
        for number in range(3):
            put(client, str(number), SINK)
    read = []
    stream = served.bucket.stream
    monkeypatch.setattr(served.bucket, "stream", lambda key: (read.append(key), stream(key))[1])
    with served.running() as client:
        assert [key for key in read if key.startswith("queue/photog_check/")] == []
        assert len(places(client)) == 3


def test_tags_of_an_older_server_that_no_header_can_hold_are_escaped_in_headers_and_whole_in_frames(served):
    odd = "a\r\nX-Evil: 1 \u20ac\x00"
    one = record(0, sink=1, inline=True, tags={"requestId": odd})
    served.bucket.put(one.key, encode_message(one, b"data"))
    with served.running() as client:
        raw = client.get(SINK, params={"_raw_": "true", "_timeout_": "0"})
        assert raw.status_code == 200
        assert raw.content == b"data"
        assert "X-Evil" not in raw.headers
        assert raw.headers["X-Eas-Queueservice-Request-Id"] == "a%0D%0AX-Evil%3A%201%20%E2%82%AC%00"
        [frame] = get(client, timeout="0", requestId=odd)
        assert frame.tags["requestId"] == odd


def test_indexes_go_on_while_the_state_does_not_keep_their_block(tmp_path, caplog):
    bucket, database = MemoryBucket(), Database(tmp_path)
    indexes = IndexSequence(database, bucket)
    assert indexes.next(ServiceQueue("photog_check", "sink")) == 1
    with sqlite3.connect(tmp_path / "state.sqlite") as other:
        other.execute("DROP TABLE indexes")
    caplog.set_level(logging.WARNING)
    assert [indexes.next(ServiceQueue("photog_check", "sink")) for _ in range(1500)] == list(range(2, 1502))
    database.close()


def test_the_state_keeps_no_more_than_three_files_that_were_set_aside(tmp_path):
    for _ in range(5):
        (tmp_path / "state.sqlite").write_bytes(b"no database" * 1000)
        Database(tmp_path).close()
        time.sleep(0.001)
    assert len(list(tmp_path.glob("state.sqlite.bad-*"))) == 3


def test_an_answered_record_is_never_given_a_second_place(served):
    with served.running() as client:
        _, identity = put(client, request(1))
        served.work_until(1)
        until(lambda: identity in places(client))
        place = places(client)[identity]
    with sqlite3.connect(served.folder / "state.sqlite") as other:
        other.execute("UPDATE puts SET state='running', sink=NULL, size=1")
    with served.running() as client:
        assert places(client) == {identity: place}
    assert decode_message(served.bucket.get(message_key("photog_check", identity)))[0].sink == place


def test_what_a_get_could_not_read_is_there_for_the_next_one(served, monkeypatch):
    with served.running() as client:
        put(client, b"x", SINK)

        def fail(key: str):
            raise BucketError("no answer")

        with monkeypatch.context() as during:
            during.setattr(served.bucket, "stream", fail)
            response = client.get(SINK, params={"_timeout_": "0", "_auto_delete_": "true"})
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        assert [frame.data for frame in get(client, timeout="0", auto_delete=True)] == [b"x"]
