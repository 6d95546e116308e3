"""A platform that pushes events over HTTP: the answers it gets, what it may retry, and how it stops photog."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from shared.buckets.memory import MemoryBucket
from shared.contract.function import Function, FunctionUnavailable
from shared.lifecycle.shutdown import Shutdown
from shared.runtime import http
from shared.runtime.context import Context
from shared.runtime.http import LARGEST_EVENT, HttpEntry, InvocationService
from shared.settings import Settings
from tests.echo import QUICK, Echo, until

RECORD = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}


class Platform:
    """The HTTP entry with an echo function, and a client that calls it as a platform does."""

    def __init__(self, drain_seconds: float = 20.0, token: str | None = None) -> None:
        self.bucket, self.shutdown = MemoryBucket(), Shutdown(QUICK.lease.drain_seconds)
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.echo = Echo(self._work)
        context = Context(self.bucket, QUICK, self.shutdown, load=lambda name, settings: self.echo)
        self.service = InvocationService(context, "check", self.shutdown)
        self.entry = HttpEntry(self.service, self.shutdown, drain_seconds, ("127.0.0.1", 0), token)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.entry.port}", timeout=20)

    def _work(self, body, workspace) -> None:
        self.begun.set()
        assert self.go_on.wait(20)

    def put(self, request_id: str) -> dict:
        key = f"requests/check/{request_id}.json"
        self.bucket.put(key, json.dumps({"request_id": request_id}).encode())
        return {"Records": [RECORD | {"s3": {"bucket": {"name": "b"}, "object": {"key": key, "size": 20}}}]}

    def invoke(self, event: object, **headers: str) -> httpx.Response:
        text = event if isinstance(event, bytes) else json.dumps(event).encode()
        # Function Compute sends events as octet-stream
        given = {"content-type": "application/octet-stream", "x-fc-request-id": "fc-1"} | headers
        return self.client.post("/invoke", content=text, headers=given)

    def answered(self, request_id: str) -> bool:
        return self.bucket.head(f"results/check/{request_id}/result.json") is not None

    @contextlib.contextmanager
    def running(self) -> Iterator["Platform"]:
        self.entry.start()
        try:
            yield self
        finally:
            self.go_on.set()
            self.client.close()
            self.shutdown.request()
            self.entry.stop()


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform().running() as made:
        yield made


def test_an_instance_whose_gpu_broke_has_the_call_made_again_elsewhere_and_ends(platform):
    def break_it(body, workspace) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    platform.echo._work = break_it
    told = platform.invoke(platform.put("r1"))
    assert (told.status_code, told.json()["error"]["type"]) == (503, "DeviceBroken")
    assert told.json()["error"]["retryable"]
    assert isinstance(platform.service.broken, FunctionUnavailable), "the process ends with exit status 1"
    assert platform.shutdown.requested.is_set()
    assert not platform.answered("r1")


def test_an_event_is_answered_before_the_call_returns(platform):
    answer = platform.invoke(platform.put("r1"))
    assert answer.status_code == 200
    assert answer.json() == {"outcomes": {"requests/check/r1.json": "answered"}}
    assert answer.headers["x-fc-status"] == "200"
    assert platform.answered("r1")


def test_the_same_event_again_runs_nothing(platform):
    event = platform.put("r1")
    platform.invoke(event)
    assert platform.invoke(event).json() == {"outcomes": {"requests/check/r1.json": "already answered"}}
    assert platform.echo.runs == ["r1"]


@pytest.mark.parametrize("call", ["/initialize", "/invoke"])
def test_a_function_that_cannot_be_loaded_ends_the_instance_and_the_call_comes_again(call):
    def load(name: str, settings: Settings) -> Function:
        raise FunctionUnavailable("no model")

    shutdown, bucket = Shutdown(1.0), MemoryBucket()
    service = InvocationService(Context(bucket, QUICK, shutdown, load=load), "check", shutdown)
    entry = HttpEntry(service, shutdown, 1.0, ("127.0.0.1", 0))
    entry.start()
    try:
        answer = httpx.post(f"http://127.0.0.1:{entry.port}{call}", content=b'{"Records": []}', timeout=20)
    finally:
        entry.stop()
    assert answer.status_code == 503
    assert answer.json()["error"] == {"type": "FunctionUnavailable", "message": "no model", "retryable": True}
    assert shutdown.requested.is_set(), "another instance may have what this one has not"
    assert str(service.broken) == "no model", "the exit status says that it was no ordinary end"


def test_models_are_loaded_by_initialize_and_the_state_says_so(platform):
    assert platform.client.get("/healthz").json() == {"state": "starting"}
    assert platform.client.post("/initialize").json() == {"state": "ready"}
    assert platform.client.get("/healthz").json() == {"state": "ready"}


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"{'no': 'json'}", 400, "NotJson"),
        (b"\xff\xfe", 400, "NotJson"),
        (b"[" * 100_000, 400, "NotJson"),
        (b"9" * 5000, 400, "NotJson"),
        (b"[]", 400, "UnknownEvent"),
        (b'{"hello": "world"}', 400, "UnknownEvent"),
        (b" " * (LARGEST_EVENT + 1), 413, "EventTooLarge"),
    ],
)
def test_what_is_no_event_is_refused_by_name_and_the_next_one_is_served(platform, body, status, kind):
    answer = platform.invoke(body)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == kind
    assert answer.json()["error"]["retryable"] is False
    assert answer.headers["x-fc-status"] == "404", "Function Compute counts it as failed"
    assert platform.invoke(platform.put("r1")).status_code == 200


@pytest.mark.parametrize(
    ("header", "status"), [(None, 401), ("other", 401), ("Bearer other", 401), ("geheim", 200), ("Bearer geheim", 200)]
)
def test_with_a_token_only_those_who_send_it_may_call(header, status):
    platform = Platform(token="geheim")
    with platform.running():
        event = platform.put("r")
        answer = platform.invoke(event, **({} if header is None else {"authorization": header}))
        assert answer.status_code == status
        assert platform.answered("r") is (status == 200)
        assert "geheim" not in answer.text
        assert platform.client.get("/healthz").status_code == 200, "probes have no token"


def test_paths_that_are_not_there_are_named(platform):
    for answer in (platform.client.get("/"), platform.client.post("/2015-03-31/functions")):
        assert answer.status_code == 404
        assert answer.json()["error"]["type"] == "NotFound"


def test_a_body_without_length_is_refused(platform):
    def pieces() -> Iterator[bytes]:
        yield b"{}"

    assert platform.client.post("/invoke", content=pieces()).status_code == 411


def test_pieces_are_refused_beside_a_length_too_since_nobody_knows_how_many_come(platform):
    with socket.create_connection(("127.0.0.1", platform.entry.port), timeout=20) as caller:
        caller.sendall(b"POST /invoke HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert caller.recv(12) == b"HTTP/1.1 411"


def test_half_a_surrogate_pair_in_a_key_is_told_of(platform, monkeypatch):
    outcomes = {"outcomes": {"requests/check/\ud800.json": "answered"}}
    monkeypatch.setattr(platform.service, "invoke", lambda event: outcomes)
    answer = platform.invoke({})
    assert (answer.status_code, json.loads(answer.content)) == (200, outcomes)


def test_a_path_is_logged_as_it_was_sent(platform, caplog):
    assert platform.client.post("/x%0Aforged: line", content=b"").status_code == 404
    assert "forged" in caplog.text
    assert "\nforged" not in caplog.text


def test_one_call_at_a_time_the_second_may_come_again(platform):
    platform.go_on.clear()
    first = _in_background(lambda: platform.invoke(platform.put("r1")))
    assert platform.begun.wait(20)
    assert platform.client.get("/healthz").json() == {"state": "busy"}
    second = platform.invoke(platform.put("r2"))
    assert (second.status_code, second.json()["error"]["type"]) == (503, "Busy")
    assert second.json()["error"]["retryable"] is True
    platform.go_on.set()
    assert first().status_code == 200
    assert platform.invoke(platform.put("r2")).status_code == 200


def test_a_request_that_another_worker_has_must_come_again(platform):
    event = platform.put("r1")
    platform.go_on.clear()
    first = _in_background(lambda: platform.invoke(event))
    assert platform.begun.wait(20)
    other = Platform()
    other.bucket, other.echo = platform.bucket, platform.echo
    context = Context(platform.bucket, QUICK, Shutdown(1), load=lambda name, settings: platform.echo)
    other.entry.start()
    other.service._context = context
    answer = other.invoke(event)
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "Unsettled")
    platform.go_on.set()
    assert first().status_code == 200
    assert other.invoke(event).json()["outcomes"] == {"requests/check/r1.json": "already answered"}
    other.client.close()
    other.shutdown.request()
    other.entry.stop()


def test_stopping_finishes_the_running_call_and_refuses_the_next(platform):
    platform.go_on.clear()
    first = _in_background(lambda: platform.invoke(platform.put("r1")))
    assert platform.begun.wait(20)
    platform.shutdown.request()
    refused = platform.invoke(platform.put("r2"))
    assert (refused.status_code, refused.json()["error"]["type"]) == (503, "Stopping")
    assert platform.client.get("/healthz").status_code == 503
    stopping = _in_background(platform.entry.stop)
    platform.go_on.set()
    assert first().status_code == 200
    stopping()
    assert platform.answered("r1")
    assert not platform.answered("r2")
    with pytest.raises(httpx.ConnectError), socket.socket():
        httpx.get(f"http://127.0.0.1:{platform.entry.port}/healthz")


def test_a_failure_that_nobody_foresaw_is_answered_and_logged(platform, caplog):
    def broken(name: str, settings: object) -> Echo:
        raise RuntimeError("no such model")

    platform.service._context = Context(platform.bucket, QUICK, platform.shutdown, load=broken)
    answer = platform.invoke(platform.put("r1"))
    assert answer.status_code == 500
    assert "no such model" in answer.json()["error"]["message"]
    assert "Traceback" in caplog.text


def test_a_cloudevent_in_binary_mode_has_its_attributes_in_headers(platform, monkeypatch):
    seen = []
    monkeypatch.setattr(platform.service, "invoke", lambda event: seen.append(event) or {"outcomes": {}})
    headers = {"ce-specversion": "1.0", "ce-type": "oss:ObjectCreated:PutObject", "ce-id": "7", "ce-source": "acs.oss"}
    assert platform.invoke({"oss": {}}, **headers).status_code == 200
    attributes = {"specversion": "1.0", "type": "oss:ObjectCreated:PutObject", "id": "7", "source": "acs.oss"}
    assert seen == [attributes | {"data": {"oss": {}}}]


def _in_background(call):
    """Start a call; the returned function waits for its result."""
    got: list = []
    thread = threading.Thread(target=lambda: got.append(call()))
    thread.start()

    def result():
        thread.join(30)
        until(lambda: got, 1)
        return got[0]

    return result


def test_a_length_of_thousands_of_digits_is_refused(platform):
    with socket.create_connection(("127.0.0.1", platform.entry.port), timeout=20) as caller:
        caller.sendall(b"POST /invoke HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n")
        assert caller.recv(100).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"", b""),
        (b"POST /invoke HTTP/1.1\r\nHos", b""),
        (b"POST /invoke HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{", b"HTTP/1.1 408"),
    ],
    ids=["nothing", "half a head", "half a body"],
)
def test_a_caller_that_stops_in_the_middle_does_not_keep_its_connection(said, answer, monkeypatch):
    monkeypatch.setattr(http, "IDLE_CONNECTION", 0.2)
    patient = Platform()
    patient.entry.start()
    with socket.create_connection(("127.0.0.1", patient.entry.port), timeout=20) as caller:
        caller.sendall(said)
        assert caller.recv(12) == answer
    assert patient.invoke(patient.put("r1")).status_code == 200
    patient.client.close()
    patient.shutdown.request()
    patient.entry.stop()


def test_a_call_that_does_not_end_in_time_does_not_hold_the_process(monkeypatch):
    monkeypatch.setattr(http, "ANSWER_SECONDS", 0)
    stuck = Platform(drain_seconds=-5.0)
    stuck.entry.start()
    stuck.go_on.clear()
    threading.Thread(target=_ignored, args=(lambda: stuck.invoke(stuck.put("r1")),)).start()
    assert stuck.begun.wait(20)
    stuck.shutdown.request()
    stuck.entry.stop()
    assert [one.daemon for one in threading.enumerate() if one.name == "call"] == [True]
    stuck.go_on.set()
    stuck.client.close()


def _ignored(call):
    with contextlib.suppress(httpx.TransportError):
        call()
