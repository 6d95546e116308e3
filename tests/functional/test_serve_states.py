"""Priority, the two ids, and crashes at any point: nothing is lost, nothing is answered twice."""

import asyncio
import base64
import json
import threading

import pytest

from serve.database import Database, StateInUse, StateUnavailable
from serve.dispatcher import STORE_BROKEN, Dispatcher
from serve.message import decode_message
from serve.metrics import Metrics
from serve.put_groups import PutGroups
from serve.queue_index import QueueIndex, ServiceQueue
from serve.sequence import IndexSequence
from serve.store import Put, QueueFull, Store
from shared.buckets import BucketError, MemoryBucket, StoreUnavailable
from shared.contract.manifests import canonical_hash, parse
from shared.events import ObjectCreated
from tests.echo import Echo, invocation, until
from tests.serving import INPUT, SETTINGS, SINK, Served, attributes, get, put


@pytest.fixture
def served(tmp_path):
    return Served(tmp_path)


def request(identity: str, **more: object) -> str:
    return json.dumps({"request_id": identity} | more)


def answers(client) -> dict[str, dict]:
    """Return every answer in the sink by its put's uuid."""
    frames = get(client, length=1000, timeout="0")
    assert len({frame.tags["requestId"] for frame in frames}) == len(frames), "one answer a put"
    return {frame.tags["requestId"]: json.loads(frame.data) for frame in frames}


def all_answered(client, count: int) -> dict[str, dict]:
    until(lambda: len(answers(client)) == count)
    return answers(client)


def test_a_higher_priority_is_started_first_and_equal_ones_in_order(served):
    with served.running() as client:
        put(client, request("early"))
        until(lambda: served.bucket.head("requests/check/early.json"))
        for identity, priority in (("low1", 0), ("low2", 0), ("high1", 5), ("higher", 9), ("high2", 5), ("lowest", -1)):
            put(client, request(identity), priority=priority)
        served.work_until(7)
    assert served.echo.runs == ["early", "higher", "high1", "high2", "low1", "low2", "lowest"]


def test_the_same_request_put_twice_is_one_run_and_two_entries(served):
    with served.running() as client:
        _, first = put(client, request("r1", images=["a.jpg"], configure={"x": 1}))
        _, second = put(client, json.dumps({"configure": {"x": 1}, "images": ["a.jpg"], "request_id": "r1"}))
        served.work_until(1)
        found = all_answered(client, 2)
        assert found[first] == found[second]
        assert found[first]["code"] == "OK"
        _, third = put(client, request("r1", images=["a.jpg"], configure={"x": 1}))
        assert all_answered(client, 3)[third] == found[first], "asked again later, answered without a run"
    assert served.echo.runs == ["r1"]


class GroupingBucket(MemoryBucket):
    """Notes what is written together; where `break_off` is set, a group breaks off in its middle, once each."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[list[str]] = []
        self.break_off = False

    def put_all(self, objects):
        self.groups.append(sorted(objects))
        for number, (key, data) in enumerate(objects.items()):
            if self.break_off and number == len(objects) // 2:
                raise BucketError("the disk is full")
            self.put(key, data)

    def put_all_if_absent(self, objects):
        self.groups.append(sorted(objects))
        written = super().put_all_if_absent(
            dict(list(objects.items())[: len(objects) // 2 if self.break_off else None])
        )
        if self.break_off:
            raise BucketError("the disk is full")
        return written


@pytest.mark.parametrize("break_off", [False, True])
def test_manifests_and_answers_that_are_due_together_are_written_together_and_each_once(tmp_path, break_off):
    bucket = GroupingBucket()
    bucket.break_off = break_off
    store = Store(bucket, Database(tmp_path, bucket.address), {"photog_check": "check"}, 100)
    source, sink = ServiceQueue("photog_check", "source"), ServiceQueue("photog_check", "sink")
    puts = [store.put(source, request(f"r{number}").encode(), {}, 0)[1] for number in range(8)]
    dispatcher = Dispatcher(store, "photog_check", Metrics(store), SETTINGS.lease, 64, 0.5)
    dispatcher._window.size = 64
    dispatcher.look()
    manifests = [f"requests/check/r{number}.json" for number in range(8)]
    assert [info.key for info in bucket.list("requests/check/")] == manifests
    worker = invocation(bucket, Echo())
    for key in manifests:
        worker.receive(ObjectCreated(key))
    dispatcher.look()
    found = store.index.find(sink, 0, 100, {})
    assert [one.uuid for one in found] == puts, "each once, in their order"
    records = [decode_message(bucket.get(info.key))[0] for info in bucket.list("queue/photog_check/")]
    assert sorted(record.sink or 0 for record in records) == sorted(one.index for one in found)
    assert bucket.groups == [manifests, sorted(f"queue/photog_check/{uuid}" for uuid in puts)]


def test_the_same_id_with_another_body_is_answered_with_an_error_and_leaves_the_first_alone(served):
    with served.running() as client:
        _, first = put(client, request("r1", images=["a.jpg"]))
        _, second = put(client, request("r1", images=["b.jpg"]), priority=9)
        served.work_until(1)
        found = all_answered(client, 2)
    assert found[first]["data"]["echo"]["images"] == ["a.jpg"]
    assert found[second]["code"] == "error"
    assert found[second]["data"]["error"] == {"type": "ConflictingRequest", "field": "request_id", "retryable": False}
    assert served.echo.runs == ["r1"]


def test_an_id_put_as_a_number_and_as_text_is_one_run_and_the_put_may_be_of_powershell(served):
    with served.running() as client:
        puts = [
            put(client, '{"request_id": 777, "images": ["a.jpg"]}'.encode("utf-16"))[1],
            put(client, b'{"request_id": "777", "images": ["a.jpg"], "configure": null}')[1],
            put(client, b'{"request_id": "777", "images": ["a.jpg"], "images": ["a.jpg"]}')[1],
        ]
        served.work_until(1)
        found = all_answered(client, 3)
    assert {found[identity]["code"] for identity in puts} == {"OK"}
    assert served.echo.runs == ["777"]


def test_a_claim_from_before_ids_were_compared_as_text_is_of_the_put(served):
    body = {"request_id": 777, "images": ["a.jpg"]}
    record = {"owner": "w", "attempt": 1, "nonce": "n", "payload_sha256": canonical_hash(body), "manifest": "m"}
    served.bucket.put("claims/check/777/000001.json", json.dumps(record | {"started": 0.0}).encode())
    answer = {"request_id": "777", "code": "OK", "message": "success", "data": {"cost_time": 1.0}}
    served.bucket.put("results/check/777/result.json", json.dumps(answer).encode())
    with served.running() as client:
        _, same = put(client, json.dumps(body))
        _, other = put(client, json.dumps(body | {"images": ["b.jpg"]}))
        found = all_answered(client, 2)
    assert (found[same]["code"], found[other]["code"]) == ("OK", "error")


def test_the_first_of_two_bodies_wins_even_when_the_second_is_more_urgent_and_both_wait(served):
    with served.running() as client:
        put(client, request("ahead"))
        until(lambda: served.bucket.head("requests/check/ahead.json"))
        _, first = put(client, request("r1", images=["a.jpg"]))
        _, second = put(client, request("r1", images=["b.jpg"]), priority=9)
        served.work_until(2)
        found = all_answered(client, 3)
    assert (found[first]["code"], found[second]["code"]) == ("OK", "error")


def test_an_id_that_was_used_without_the_queue_is_taken_too(served):
    served.bucket.put("requests/check/elsewhere.json", request("r1", images=["a.jpg"]).encode())
    served.work()
    served.bucket.delete("requests/check/elsewhere.json")
    with served.running() as client:
        _, other = put(client, request("r1", images=["b.jpg"]))
        _, same = put(client, request("r1", images=["a.jpg"]))
        found = all_answered(client, 2)
    assert (found[other]["code"], found[same]["code"]) == ("error", "OK")


def test_a_worker_that_claimed_the_id_with_another_body_makes_the_put_a_conflict(served):
    with served.running() as client:
        _, identity = put(client, request("r1", images=["b.jpg"]))
        until(lambda: served.bucket.head("requests/check/r1.json"))
        served.bucket.put("requests/check/dropped.json", request("r1", images=["a.jpg"]).encode())
        invocation(served.bucket, served.echo).receive(ObjectCreated("requests/check/dropped.json"))
        assert all_answered(client, 1)[identity]["data"]["error"]["type"] == "ConflictingRequest"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"this is no json", "InvalidManifest"),
        (b"", "InvalidManifest"),
        (b"\xff\xfe", "InvalidManifest"),
        (b"[1, 2]", "InvalidManifest"),
        (b'{"images": []}', "InvalidManifest"),
        (b'{"request_id": "../up"}', "InvalidManifest"),
    ],
)
def test_a_put_that_is_no_request_is_answered_at_once_by_name(served, body, kind):
    with served.running() as client:
        _, identity = put(client, body)
        answer = all_answered(client, 1)[identity]
    assert answer["code"] == "error"
    assert answer["data"]["error"]["type"] == kind
    assert answer["request_id"].startswith("invalid-")
    assert list(served.bucket.list("requests/")) == []


def test_a_manifest_that_somebody_removes_before_it_is_begun_is_answered(served):
    with served.running() as client:
        _, identity = put(client, request("r1"))
        until(lambda: served.bucket.head("requests/check/r1.json"))
        served.bucket.delete("requests/check/r1.json")
        answer = all_answered(client, 1)[identity]
    assert "removed" in answer["message"]


def test_a_broken_answer_of_one_request_holds_up_no_other(served):
    with served.running() as client:
        put(client, request("r1"))
        served.work_until(1)
        all_answered(client, 1)
        for name in (*(f"also-broken-{number}" for number in range(STORE_BROKEN)), "broken"):
            served.bucket.put(f"claims/check/{name}/000001.json", _claim(request(name)))
            served.bucket.put(f"results/check/{name}/result.json", b'{"request_id"')
            _, broken = put(client, request(name))
        _, later = put(client, request("later"))
        until(lambda: served.bucket.head("requests/check/later.json"))
        invocation(served.bucket, served.echo).receive(ObjectCreated("requests/check/later.json"))
        until(lambda: len(get(client, length=9, timeout="0")) == 2)
        whole = b'{"request_id": "broken", "code": "OK", "message": "success", "data": {}}'
        served.bucket.put("results/check/broken/result.json", whole)
        found = all_answered(client, 3)
    assert (found[later]["code"], found[broken]["code"]) == ("OK", "OK")


def test_an_answer_that_somebody_removes_leaves_the_sink(served):
    with served.running() as client:
        _, identity = put(client, request("r1"))
        served.work_until(1)
        all_answered(client, 1)
        for info in list(served.bucket.list("results/")):
            served.bucket.delete(info.key)
        assert get(client, requestId=identity, timeout="100ms") == []
        assert attributes(client)["stream.length"] == "0"


@pytest.mark.parametrize(
    ("wanted", "size", "filled"),
    [
        ({}, 1000, True),
        ({"image_format": "base64"}, 1000, True),
        ({"image_format": "png"}, 1000, False),
        ({}, 16 * 1024 * 1024, False),
    ],
)
def test_a_picture_that_an_answer_names_by_key_is_filled_in_where_it_is_wanted_and_fits(served, wanted, size, filled):
    picture = b"\x89PNG" + bytes(size)
    served.bucket.put("results/check/r1/a1/portrait.png", picture)
    with served.running() as client:
        _, identity = put(client, request("r1", configure=wanted))
        served.bucket.put("claims/check/r1/000001.json", _claim(request("r1", configure=wanted)))
        key = "results/check/r1/a1/portrait.png"
        envelope = {"request_id": "r1", "code": "OK", "message": "success", "data": {"image": key, "image_key": key}}
        served.bucket.put("results/check/r1/result.json", json.dumps(envelope).encode())
        data = all_answered(client, 1)[identity]["data"]
    assert data["image"] == (base64.b64encode(picture).decode() if filled else key)
    assert data["image_key"] == key


def _claim(body: str) -> bytes:
    sha256 = parse(body.encode()).sha256
    return json.dumps(
        {"owner": "w", "attempt": 1, "nonce": "n", "payload_sha256": sha256, "manifest": "m", "started": 0.0}
    ).encode()


def test_everything_is_there_after_a_restart_and_after_the_state_was_lost(served):
    with served.running() as client:
        kept = {put(client, request(f"r{number}"), shop=str(number))[1]: number for number in range(4)}
        put(client, b"raw", SINK, kind="raw")
        served.work_until(2)
        all_done = served.results()
        until(lambda: attributes(client)["stream.length"] == str(all_done + 1))
        before = {frame.index: frame for frame in get(client, length=99, timeout="0")}
    for lost in (False, True):
        if lost:
            served.lose_state()
        with served.running() as client:
            found = {frame.index: frame for frame in get(client, length=99, timeout="0")}
            assert found == before, "indexes, tags and bytes"
    with served.running() as client:
        served.work_until(4)
        until(lambda: attributes(client)["stream.length"] == "5")
        frames = [frame for frame in get(client, length=99, timeout="0") if "kind" not in frame.tags]
    assert {frame.tags["requestId"]: int(frame.tags["shop"]) for frame in frames} == kept
    assert sorted(served.echo.runs) == ["r0", "r1", "r2", "r3"]


def test_priorities_outlive_the_state(served):
    with served.running() as client:
        put(client, request("early"))
        until(lambda: served.bucket.head("requests/check/early.json"))
        put(client, request("low"))
        put(client, request("high"), priority=1)
    served.lose_state()
    with served.running():
        served.work_until(3)
    assert served.echo.runs == ["early", "high", "low"]


def test_no_index_is_given_twice_whatever_is_lost(served):
    given = []
    for _ in range(3):
        with served.running() as client:
            given += [put(client, b"x", SINK)[0] for _ in range(3)]
            client.delete(SINK, params={"_trunc_": "true", "_index_": given[-1] + 1})
        served.lose_state()
    assert given == sorted(set(given))


class Killed(BaseException):
    """Raised where the process is to end."""


def until_it_dies(store, served, moment):
    """Run a server until it is killed in the middle of `moment`."""
    queue = ServiceQueue("photog_check", "source")
    if moment == "add":
        store.put(queue, request("r3").encode(), {}, 0)
    elif moment == "remove":
        store.remove(queue, [store.index.find(queue, 3, 1, {})[0].uuid])
    follower = Dispatcher(store, "photog_check", Metrics(store), SETTINGS.lease, 64, 1.0)
    for _ in range(3):
        follower.look()
        served.work()


@pytest.mark.parametrize("moment", ["add", "answer", "release", "claim", "remove"])
def test_a_crash_between_the_bucket_and_the_index_loses_and_doubles_nothing(served, moment, monkeypatch):
    with served.running() as client:
        identities = {put(client, request(f"r{number}"))[1] for number in range(3)}
    served.work()
    database = Database(served.folder)
    store = Store(served.bucket, database, {"photog_check": "check"}, 100)

    def die(*arguments: object) -> None:
        raise Killed

    monkeypatch.setattr(QueueIndex, moment, die)
    with pytest.raises(Killed):
        until_it_dies(store, served, moment)
    database.close()
    monkeypatch.undo()
    expected = len(identities) + {"add": 1, "remove": -1}.get(moment, 0)
    with served.running() as client:
        served.work_until(expected)
        found = all_answered(client, expected)
        assert attributes(client, INPUT)["stream.length"] == "0"
    assert len(set(served.echo.runs)) == len(served.echo.runs) == expected
    assert len(set(found) & identities) == 3 - (moment == "remove")


def test_a_record_is_gone_from_the_bucket_once_its_answer_is_consumed(served):
    with served.running() as client:
        _, identity = put(client, request("r1"), shop="north")
        [info] = served.bucket.list("queue/photog_check/")
        record, body = decode_message(served.bucket.get(info.key))
        assert (record.uuid, record.tags["shop"], body) == (identity, "north", request("r1").encode())
        served.work_until(1)
        get(client, requestId=identity, auto_delete=True)
        until(lambda: not list(served.bucket.list("queue/photog_check/")))
    assert served.bucket.head("results/check/r1/result.json"), "the answer itself is the bucket's"


def test_two_servers_on_one_state_are_refused(tmp_path):
    first = Database(tmp_path)
    with pytest.raises(StateInUse, match="one process serves a bucket"):
        Database(tmp_path)
    first.close()
    Database(tmp_path).close()


def test_indexes_go_on_after_a_block_and_a_new_server_begins_behind_it(tmp_path):
    bucket, queue = MemoryBucket(), ServiceQueue("photog_check", "sink")
    database = Database(tmp_path)
    indexes = IndexSequence(database, bucket)
    assert [indexes.next(queue) for _ in range(2001)] == list(range(1, 2002))
    assert IndexSequence(database, bucket).next(queue) == 3001, "what the last server gave out nobody knows for certain"
    assert IndexSequence(database, bucket).next(ServiceQueue("photog_check", "source")) == 1
    database.close()


def test_puts_that_come_together_are_written_together_and_one_that_is_refused_refuses_no_other(tmp_path):
    bucket = GroupingBucket()
    store = Store(bucket, Database(tmp_path, bucket.address), {"photog_check": "check"}, 4)
    source = ServiceQueue("photog_check", "source")
    bodies = [request("r1"), "no request", request("r2"), request("r3"), request("r4")]
    outcomes = store.put_all([Put(source, body.encode(), {}, 0) for body in bodies])
    assert [index for index, _ in outcomes[:4]] == [1, 2, 3, 4]
    assert isinstance(outcomes[4], QueueFull)
    assert len(bucket.groups) == 1
    assert len(bucket.groups[0]) == 4
    rows = store.index.find(source, 0, 10, {})
    assert [(row.uuid, row.request_id) for row in rows] == [
        (identity, name) for (_, identity), name in zip(outcomes[:4], ("r1", None, "r2", "r3"), strict=True)
    ]


def test_puts_whose_common_writing_breaks_off_are_written_one_by_one(tmp_path):
    bucket = GroupingBucket()
    bucket.break_off = True
    store = Store(bucket, Database(tmp_path, bucket.address), {"photog_check": "check"}, 100)
    source = ServiceQueue("photog_check", "source")
    outcomes = store.put_all([Put(source, request(f"r{number}").encode(), {}, 0) for number in range(3)])
    assert [row.uuid for row in store.index.find(source, 0, 10, {})] == [identity for _, identity in outcomes]
    assert sum(1 for _ in bucket.list("queue/photog_check/")) == 3


class FillingBucket(MemoryBucket):
    """Takes so many objects, then neither one more nor a change of one."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def put(self, key, data):
        if key.startswith("queue/photog_check/"):
            if self.room == 0:
                raise StoreUnavailable("the disk is full")
            self.room -= 1
        super().put(key, data)


@pytest.mark.parametrize("number", [1, 4])
def test_a_put_that_was_not_accepted_leaves_nothing_that_would_run(tmp_path, number, monkeypatch):
    """Its sender puts again, so it would run two times after the next start."""
    bucket = FillingBucket(2)
    store = Store(bucket, Database(tmp_path, bucket.address), {"photog_check": "check"}, 100)
    source = ServiceQueue("photog_check", "source")
    puts = [Put(source, request(f"r{one}").encode(), {}, 0) for one in range(number)]

    def lose(record, size):
        raise StateUnavailable("its disk fails")

    monkeypatch.setattr(store.index, "add", lose)
    outcomes = store.put_all(puts)
    assert all(isinstance(one, StoreUnavailable | StateUnavailable) for one in outcomes)
    assert list(bucket.list("queue/photog_check/")) == []
    assert store.index.find(source, 0, 10, {}) == []


def test_puts_that_are_in_the_bucket_already_are_not_written_again(tmp_path, monkeypatch):
    """They may have been found there meanwhile, and answered, and taken out."""
    bucket = GroupingBucket()
    store = Store(bucket, Database(tmp_path, bucket.address), {"photog_check": "check"}, 100)
    source = ServiceQueue("photog_check", "source")

    def find_damaged(records):
        assert sum(1 for _ in bucket.list("queue/photog_check/")) == 3
        monkeypatch.setattr(bucket, "put", None)
        raise StateUnavailable("it is made anew")

    monkeypatch.setattr(store.index, "add_all", find_damaged)
    outcomes = store.put_all([Put(source, request(f"r{number}").encode(), {}, 0) for number in range(3)])
    assert [row.uuid for row in store.index.find(source, 0, 10, {})] == [identity for _, identity in outcomes]


def test_a_group_of_puts_asks_a_store_that_is_away_once_for_all(tmp_path):
    class Away(MemoryBucket):
        asked = 0

        def put(self, key, data):
            if key.startswith("queue/photog_check/"):
                self.asked += 1
                raise StoreUnavailable("no answer in 10 s")
            super().put(key, data)

        def delete(self, key):
            self.asked += 1
            raise StoreUnavailable("no answer in 10 s")

    bucket = Away()
    store = Store(bucket, Database(tmp_path, bucket.address), {"photog_check": "check"}, 100)
    source = ServiceQueue("photog_check", "source")
    outcomes = store.put_all([Put(source, request(f"r{number}").encode(), {}, 0) for number in range(64)])
    assert all(isinstance(one, StoreUnavailable) for one in outcomes)
    assert bucket.asked <= 3


def test_a_group_of_puts_that_fails_as_a_whole_fails_each_with_its_error_and_the_next_group_is_written():
    class Broken(Store):
        def __init__(self):
            self.groups = list[int]()

        def put_all(self, puts):
            self.groups.append(len(puts))
            if len(self.groups) == 1:
                raise MemoryError("no memory for a group")
            return [(0, put.body.decode()) for put in puts]

    async def run() -> list[object]:
        waiting, source = PutGroups(Broken()), ServiceQueue("photog_check", "source")
        return await asyncio.gather(
            *(waiting.add(Put(source, b"x" * 5_000_000, {}, 0)) for _ in range(3)), return_exceptions=True
        )

    first, *others = asyncio.run(run())
    assert isinstance(first, MemoryError)
    assert [index for index, _ in others] == [0, 0]


def test_a_queue_is_full_at_its_limit_whatever_the_gaps_of_its_indexes(tmp_path):
    bucket = MemoryBucket()
    store = Store(bucket, Database(tmp_path, bucket.address), {"photog_check": "check"}, 100)
    source = ServiceQueue("photog_check", "source")
    assert store.index.reaches(source, 0)
    assert not store.index.reaches(source, 1)
    puts = [store.put(source, request(f"r{number}").encode(), {}, 0)[1] for number in range(6)]
    store.remove(source, puts[1:4])
    assert store.index.reaches(source, 3), "three are left of six indexes"
    assert not store.index.reaches(source, 4)
    assert not store.index.reaches(source, 7)


def test_puts_wait_for_the_group_that_is_written_and_for_no_other_put():
    begun, go_on, groups = threading.Event(), threading.Event(), list[int]()

    class Slow(Store):
        def __init__(self):
            pass

        def put_all(self, puts):
            groups.append(len(puts))
            begun.set()
            assert go_on.wait(20)
            return [(0, put.body.decode()) if put.body != b"bad" else QueueFull("full") for put in puts]

    async def run() -> list[object]:
        waiting = PutGroups(Slow())
        source = ServiceQueue("photog_check", "source")
        tasks = [asyncio.create_task(waiting.add(Put(source, b"first", {}, 0)))]
        while not begun.is_set():
            await asyncio.sleep(0.001)
        tasks += [asyncio.create_task(waiting.add(Put(source, body, {}, 0))) for body in (b"a", b"bad", b"b")]
        await asyncio.sleep(0)
        go_on.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, a, bad, b = asyncio.run(run())
    assert (first, a, b) == ((0, "first"), (0, "a"), (0, "b"))
    assert isinstance(bad, QueueFull)
    assert groups == [1, 3]


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        (INPUT, {}, b"{}", 200),
        (SINK, {}, b"x", 200),
        (INPUT, {"Authorization": "wrong"}, b"{}", 401),
        ("/api/predict/none", {}, b"{}", 404),
        (f"{INPUT}?_priority_=high", {}, b"{}", 400),
        (INPUT, {}, b"x" * 100_001, 413),
        (f"{INPUT}/other", {}, b"{}", 404),
    ],
)
def test_a_put_is_answered_alike_on_the_short_way_and_on_the_usual_one(served, path, headers, body, status):
    with served.running() as client:
        short, usual = (
            client.post(path, content=body, headers=headers | more) for more in ({}, {"Origin": "https://a.example"})
        )
    assert short.status_code == usual.status_code == status
    if status != 200:
        assert short.text == usual.text
    assert short.headers.keys() == usual.headers.keys()


def test_answers_to_puts_vary_by_origin_where_browsers_may_call(tmp_path):
    with Served(tmp_path, cors_origins=["https://a.example"]).running() as client:
        assert client.post(INPUT, content=b"{}").headers["Vary"] == "Origin"
        assert client.post(INPUT, content=b"{}", headers={"Authorization": "wrong"}).headers["Vary"] == "Origin"
