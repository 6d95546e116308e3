"""Canceling a request: it is answered once, whoever works on it, and nothing of it stays."""

import json
import threading

import pytest
from typer.testing import CliRunner

from shared.buckets import FolderBucket, MemoryBucket
from shared.cli import app
from shared.events import ObjectCreated
from shared.lifecycle.claims import Claims
from shared.lifecycle.invocation import Outcome
from shared.notify.bucket import BucketNotifier
from shared.operations.cancellation import Cancellation, UnknownRequest
from shared.operations.client import Client
from shared.operations.user_requests import list_requests
from shared.settings import Settings
from tests.contract import require_contract
from tests.echo import QUICK, Echo, invocation

BODY = {"request_id": "r1", "images": ["a.jpg"], "metadata": {"order": "A-1007"}}


def keys_below(bucket, prefix: str) -> list[str]:
    return [info.key for info in bucket.list(prefix)]


@pytest.fixture
def bucket():
    made = MemoryBucket()
    Client(made).submit("check", BODY)
    return made


def cancel(bucket, hooks=()) -> dict:
    return Cancellation(bucket, "check", QUICK, hooks).cancel("r1")


def test_a_request_that_waits_is_never_run(bucket):
    answer = cancel(bucket, [BucketNotifier(bucket)])
    require_contract("check.answer", answer)
    assert (answer["code"], answer["data"]["error"]["type"]) == ("error", "RequestCanceled")
    assert answer["metadata"] == BODY["metadata"]
    echo = Echo()
    assert invocation(bucket, echo).receive(ObjectCreated("requests/check/r1.json")) is Outcome.ALREADY
    assert echo.runs == []
    assert Client(bucket).answer("check", "r1") == answer == cancel(bucket), "again changes nothing"
    (event,) = (json.loads(bucket.get(key)) for key in keys_below(bucket, "notifications/"))
    require_contract("event", event)
    assert keys_below(bucket, "progress/") == []


def test_a_request_that_runs_is_stopped_and_leaves_nothing(bucket):
    begun, canceled = threading.Event(), threading.Event()

    def work(body, workspace):
        begun.set()
        assert canceled.wait(20)
        while True:
            workspace.check()

    worker = invocation(bucket, Echo(work))
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(worker.receive(ObjectCreated("requests/check/r1.json"))))
    thread.start()
    assert begun.wait(20)
    answer = cancel(bucket)
    canceled.set()
    thread.join(20)
    worker.tidy()
    assert outcomes == [Outcome.BUSY]
    assert Client(bucket).answer("check", "r1") == answer
    assert keys_below(bucket, "results/") == ["results/check/r1/result.json"], "its artifact is gone"
    assert keys_below(bucket, "progress/") == []


def test_a_request_that_was_answered_stays_answered(bucket):
    invocation(bucket, Echo()).receive(ObjectCreated("requests/check/r1.json"))
    before = keys_below(bucket, "")
    assert cancel(bucket)["code"] == "OK"
    assert keys_below(bucket, "") == before


def test_another_body_under_a_canceled_id_is_a_conflict(bucket):
    cancel(bucket)
    bucket.put("requests/check/other.json", json.dumps(BODY | {"images": ["b.jpg"]}).encode())
    worker = invocation(bucket, Echo())
    assert worker.receive(ObjectCreated("requests/check/other.json")) is Outcome.CONFLICT
    assert all(claim.released for claim in Claims(bucket, "check", QUICK.lease, "t").all("r1"))


def test_a_request_nobody_sent_is_said_to_be_unknown(bucket):
    with pytest.raises(UnknownRequest, match="no check request r2"):
        Cancellation(bucket, "check", QUICK).cancel("r2")
    assert keys_below(bucket, "results/") == []


def test_a_manifest_of_another_name_is_found_by_its_id(bucket):
    bucket.put("requests/check/2026/x.json", json.dumps(BODY | {"request_id": "r9"}).encode())
    assert Cancellation(bucket, "check", QUICK).cancel("r9")["request_id"] == "r9"


def test_the_command_cancels_and_lists_a_persons_requests(tmp_path):
    place = FolderBucket(tmp_path / "bucket")
    client, runner = Client(place), CliRunner()
    for name in ("p1", "p2"):
        client.submit("generate", {"request_id": name, "template_image": "t.png", "configure": {"user_id": "ann"}})
    client.submit("generate", {"request_id": "p3", "template_image": "t.png", "configure": {"user_id": "bob"}})
    done = runner.invoke(app, ["cancel", "generate", place.address, "p1"])
    assert (done.exit_code, done.stdout) == (0, "generate p1 is canceled\n")
    place.put(
        "results/generate/p2/result.json",
        json.dumps({"request_id": "p2", "code": "OK", "message": "success", "data": {}}).encode(),
    )
    assert runner.invoke(app, ["cancel", "generate", place.address, "p2"]).exit_code == 1
    assert runner.invoke(app, ["cancel", "generate", place.address, "p9"]).exit_code == 2
    listed = runner.invoke(app, ["status", place.address, "--user", "ann", "--json"])
    assert [(one["request_id"], one["state"]) for one in json.loads(listed.stdout)["requests"]] == [
        ("p1", "error"),
        ("p2", "ok"),
    ]
    assert list_requests(place, "nobody-else", Settings()) == []
