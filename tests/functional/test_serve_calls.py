"""What each call of the queue protocol does, against the application in this process."""

import json
import threading
import time

import pytest
from fastapi.testclient import TestClient

from tests.echo import until
from tests.serving import INPUT, SINK, Served, attributes, get, put

PAGE_KEYS = {
    "consumers.list.[0]",
    "consumers.stats.total",
    "consumers.status.total",
    "groups.list.[0]",
    "meta.header.group",
    "meta.header.priority",
    "meta.header.user",
    "meta.name",
    "meta.state",
    "stream.approxMaxLength",
    "stream.firstEntry",
    "stream.lastEntry",
    "stream.length",
    "stream.maxPayloadBytes",
}


@pytest.fixture
def served(tmp_path):
    return Served(tmp_path, longest_queue=50)


@pytest.fixture
def client(served):
    with served.running() as running:
        yield running


def request(number: int, **more: object) -> str:
    return json.dumps({"request_id": f"r{number}"} | more)


def test_a_put_is_answered_in_the_sink_under_the_uuid_that_the_put_gave(served, client):
    index, identity = put(client, json.dumps({"request_id": 12345, "images": ["ä.jpg"]}))
    assert index == 1
    served.work_until(1)
    [frame] = get(client, requestId=identity)
    answer = json.loads(frame.data)
    assert frame.tags["requestId"] == identity
    assert answer["request_id"] == "12345"
    assert answer["code"] == "OK"
    assert answer["data"]["echo"] == {"request_id": 12345, "images": ["ä.jpg"]}
    assert b"\n" not in frame.data, "on one line, as the page shows it"


def test_the_manifest_in_the_bucket_is_what_was_put_byte_by_byte(served, client):
    body = b"{'request_id': 7,\n 'images': [\"xx.jpg\"], 'configure': {'face_reconize': True,} }"
    put(client, body)
    until(lambda: served.bucket.head("requests/check/7.json"))
    assert served.bucket.get("requests/check/7.json") == body


def test_the_input_queue_shows_a_put_until_it_is_answered(served, client):
    index, identity = put(client, request(1))
    assert get(client, INPUT, requestId=identity, timeout="0")[0].data == request(1).encode()
    assert get(client, INPUT, index=index, timeout="0")[0].index == index
    served.work_until(1)
    until(lambda: get(client, timeout="0"))
    assert get(client, INPUT, requestId=identity, timeout="0") == []


def test_tags_come_back_and_filter_the_gets_of_both_queues(served, client):
    put(client, request(1), shop="north", kind="a b&c=d")
    put(client, request(2), shop="south", kind="a b&c=d")
    served.work_until(2)
    until(lambda: len(get(client, timeout="0", length=9)) == 2)
    assert [frame.tags["shop"] for frame in get(client, length=9, timeout="0", kind="a b&c=d")] == ["north", "south"]
    [frame] = get(client, shop="south", kind="a b&c=d", timeout="0")
    assert json.loads(frame.data)["request_id"] == "r2"
    assert get(client, shop="west", timeout="0") == []


def test_a_get_that_waits_is_answered_the_moment_there_is_something(served, client):
    _, identity = put(client, request(1))
    worker = threading.Timer(0.5, served.work_until, [1])
    worker.start()
    started = time.monotonic()
    [frame] = get(client, timeout="30s", requestId=identity)
    assert json.loads(frame.data)["code"] == "OK"
    assert time.monotonic() - started < 25
    worker.join()


def test_while_a_request_runs_a_waiting_get_says_502_and_a_poll_finds_nothing(served, client):
    _, identity = put(client, request(1))
    [frame] = get(client, timeout="100ms", requestId=identity, auto_delete=True)
    answer = json.loads(frame.data)
    assert (answer["request_id"], answer["code"]) == ("r1", "502")
    assert answer["data"]["stage"] == "queued"
    assert (frame.index, frame.tags["requestId"]) == (0, identity)
    assert get(client, timeout="0", requestId=identity) == [], "the page's Java samples take any frame for the answer"
    assert get(client, timeout="100ms", requestId="unheard-of") == []
    served.work_until(1)
    assert json.loads(get(client, requestId=identity)[0].data)["code"] == "OK", "auto_delete took no answer before"


def test_the_502_of_a_running_request_tells_its_progress(served, client):
    _, identity = put(client, request(1))
    until(lambda: served.bucket.head("requests/check/r1.json"))
    begun, go_on = threading.Event(), threading.Event()

    def work(body, workspace):
        workspace.progress("diffusion-1", 3, 50, eta_seconds=60.0)
        begun.set()
        go_on.wait(30)

    served.echo._work = work
    worker = threading.Thread(target=served.work)
    worker.start()
    begun.wait(30)
    until(lambda: client.get(INPUT, params={"_search_": "true", "_index_": "1"}).json()["IsPending"])
    [frame] = get(client, timeout="100ms", requestId=identity)
    expected = {"stage": "diffusion-1", "step": 3, "steps": 50, "eta_seconds": 60.0}
    assert json.loads(frame.data)["data"] == expected
    said = attributes(client, INPUT)
    assert set(said) == PAGE_KEYS
    assert "Pending: 1, Status: Running" in said["consumers.list.[0]"]
    assert said["groups.list.[0]"] == "Id: photog_check, Index: 1, Pending: 1, Delivered: 1, Consumers: 1"
    go_on.set()
    worker.join()


def test_auto_delete_takes_an_entry_once_also_from_two_at_a_time(served, client):
    identities = [put(client, request(number))[1] for number in range(10)]
    served.work_until(10)
    until(lambda: attributes(client)["stream.length"] == "10")
    taken: list[str] = []
    lock = threading.Lock()

    def take() -> None:
        while frames := get(client, length=2, timeout="0", auto_delete=True):
            with lock:
                taken.extend(frame.tags["requestId"] for frame in frames)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(identities)
    assert attributes(client)["stream.length"] == "0"
    assert list(served.bucket.list("queue/photog_check/")) == []


def test_attributes_count_what_is_there(served, client):
    said = attributes(client, INPUT)
    assert (said["stream.length"], said["stream.firstEntry"], said["stream.lastEntry"]) == ("0", "0", "0")
    for number in range(3):
        put(client, request(number))
    said = attributes(client, INPUT)
    assert (said["stream.length"], said["stream.firstEntry"], said["stream.lastEntry"]) == ("3", "1", "3")
    assert (said["stream.approxMaxLength"], said["stream.maxPayloadBytes"]) == ("50", "100000")
    assert all(isinstance(value, str) for value in said.values())


def test_search_says_how_many_are_started_before_an_entry(served, client):
    for number in range(3):
        put(client, request(number))
    until(lambda: served.bucket.head("requests/check/r0.json"))
    put(client, request(3), priority=1)
    said = [client.get(INPUT, params={"_search_": "true", "_index_": str(index)}).json() for index in (3, 4)]
    assert [one["WaitCount"] for one in said] == [3, 1], "one lies released ahead of the urgent one"
    assert [one["IsPending"] for one in said] == [False, False]
    assert client.get(INPUT, params={"_search_": "true", "_index_": "9"}).status_code == 404


def test_truncate_and_delete_take_entries_out_of_the_queue_and_out_of_the_bucket(served, client):
    for number in range(5):
        put(client, str(number), SINK)
    assert client.delete(SINK, params={"_index_": 3, "_trunc_": "true"}).text == "2"
    assert client.delete(SINK, params={"_indexes_": "4"}).text == "1"
    assert client.put(SINK, params={"_indexes_": "4,5"}).text == "1", "committing what is gone does nothing"
    assert [frame.data for frame in get(client, length=9, timeout="0")] == [b"2"]
    assert len(list(served.bucket.list("queue/photog_check/"))) == 1


def test_a_put_that_is_deleted_before_its_turn_never_runs(served, client):
    put(client, request(1))
    second, identity = put(client, request(2))
    until(lambda: served.bucket.head("requests/check/r1.json"))
    client.delete(INPUT, params={"_indexes_": str(second)})
    served.work_until(1)
    [frame] = get(client)
    assert json.loads(frame.data)["request_id"] == "r1"
    assert served.bucket.head("requests/check/r2.json") is None
    assert get(client, requestId=identity, timeout="100ms") == []


def test_the_sink_takes_any_bytes_and_gives_them_back(client):
    data = bytes(range(256)) * 10
    index, identity = put(client, data, SINK, mine="yes")
    [frame] = get(client, requestId=identity)
    assert (frame.index, frame.data, frame.tags["mine"]) == (index, data, "yes")
    raw = client.get(SINK, params={"_raw_": "true", "_timeout_": "0"})
    assert (raw.content, raw.headers["X-Eas-Queueservice-Request-Id"]) == (data, identity)
    assert client.get(SINK, params={"_raw_": "true", "_timeout_": "0", "mine": "no"}).status_code == 204


def test_more_than_the_limit_is_refused_with_413_and_the_numbers(served, client):
    assert put(client, b"x" * 100_000, SINK)[0] == 1
    response = client.post(SINK, content=b"x" * 100_001)
    assert response.status_code == 413
    assert "100001" in response.text
    assert "100000 are allowed" in response.text
    assert attributes(client)["stream.length"] == "1"


def test_a_full_queue_refuses_with_429(client):
    for number in range(50):
        put(client, str(number), SINK)
    response = client.post(SINK, content=b"one more")
    assert response.status_code == 429
    assert "50" in response.text
    assert attributes(client)["meta.state"] == "Full"


@pytest.mark.parametrize("header", [{}, {"Authorization": ""}, {"Authorization": "wrong"}, {"Authorization": "secre"}])
def test_without_the_token_every_call_is_401(client, header):
    del client.headers["Authorization"]
    for path in (INPUT, SINK, "/api/predict/no_such_service"):
        for method in ("GET", "POST", "PUT", "DELETE"):
            assert client.request(method, path, headers=header).status_code == 401, (method, path)


def test_a_service_with_its_own_token_takes_no_other(tmp_path):
    served = Served(tmp_path, tokens={"photog_check": "its own"})
    with served.running() as client:
        assert client.get(INPUT, params={"_attrs_": "true"}).status_code == 401
        own = {"Authorization": "Bearer its own"}
        assert client.get(INPUT, params={"_attrs_": "true"}, headers=own).status_code == 200
        other = "/api/predict/photog_train_pmml"
        assert client.get(other, params={"_attrs_": "true"}).status_code == 200
        assert client.get(other, params={"_attrs_": "true"}, headers=own).status_code == 401


@pytest.mark.parametrize(
    ("method", "query", "names"),
    [
        ("GET", {"_index_": "abc"}, "_index_"),
        ("GET", {"_length_": "-1"}, "_length_"),
        ("GET", {"_timeout_": "soon"}, "_timeout_"),
        ("GET", {"_auto_delete_": "maybe"}, "_auto_delete_"),
        ("GET", {"_index_": str(2**64)}, "_index_"),
        ("DELETE", {}, "_indexes_"),
        ("PUT", {"_indexes_": "1,x"}, "_indexes_"),
        ("POST", {"requestId": "mine"}, "requestId"),
        ("POST", {"_priority_": "high"}, "Priority"),
    ],
)
def test_a_parameter_that_cannot_be_read_is_refused_by_name(client, method, query, names):
    response = client.request(method, INPUT, params=query)
    assert response.status_code == 400
    assert names in response.text


def test_an_unknown_service_is_404_and_names_the_known_ones(client):
    response = client.get("/api/predict/photog", params={"_attrs_": "true"})
    assert response.status_code == 404
    assert "photog_pre_pmml" in response.text


def test_health_metrics_and_openapi(served, client: TestClient):
    put(client, request(1))
    put(client, "this is no request")
    served.work_until(1)
    until(lambda: attributes(client)["stream.length"] == "2")
    assert client.get("/healthz").json()["services"]["photog_check"] == {"answered": 2}
    del client.headers["Authorization"]
    assert client.get("/healthz").json() == {"status": "ok"}, "who has no token learns nothing of the bucket"
    text = client.get("/metrics").text
    for line in (
        'photog_puts_total{queue="photog_check"} 2.0',
        'photog_answers_total{code="OK",service="photog_check"} 1.0',
        'photog_answers_total{code="error",service="photog_check"} 1.0',
        'photog_backlog{service="photog_check"} 0.0',
        'photog_running{service="photog_check"} 0.0',
        'photog_ready{service="photog_check"} 2.0',
        'photog_stage_seconds_count{service="photog_check",stage="running"} 1.0',
        'photog_oldest_seconds{service="photog_check"} 0.0',
    ):
        assert line in text
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths["/api/predict/{service}/sink"]) == {"get", "post", "put", "delete"}
    assert client.get("/docs").status_code == 200
