"""The SDK's own client, from PyPI, against a server process and worker processes: nothing is lost or doubled."""

import json
import subprocess
from pathlib import Path

import pytest

from shared.buckets import FolderBucket
from tests import sdk

CALLER = Path(__file__).parents[1] / "sdk_caller.py"
COUNT = 2000
KILLED_AFTER = (300, 900)  # answers
WORKERS = 2

pytestmark = pytest.mark.slow

CALLS = """
import json, sys
from eas_prediction import QueueClient
from eas_prediction.exception import PredictException
def queue(name, token="secret"):
    client = QueueClient(sys.argv[1], name)
    client.set_token(token)
    client.init()
    return client
source, sink = queue("photog_train_pmml"), queue("photog_train_pmml/sink")
index, request_id = sink.put("abc", {"shop": "a b"})
assert index == "1", index
assert [one.data for one in sink.get(request_id=request_id, auto_delete=False)] == [b"abc"]
assert dict(sink.get(index=index, auto_delete=False)[0].tags)["shop"] == "a b"
assert sink.get(tags={"shop": "other"}, timeout="0s") == []
assert sink.search(index) == {"ConsumerId": "", "IsPending": False, "WaitCount": 0}
assert sink.search(99) == {}
assert sink.get(request_id)[0].data == b"abc" and sink.get(timeout="0s") == []
for number in range(10):
    index, _ = sink.put(str(number))
assert sink.attributes()["stream.length"] == "10"
assert sink.delete(int(index)) == "1"
sink.truncate(int(index) - 5)
assert sink.attributes()["stream.length"] == "5"
watcher = sink.watch(0, 5, index_only=True)
first = next(watcher.run())
assert first.data == b"" and first.index == int(index) - 5
assert sink.commit(first.index) == b"1"
watcher.close()
index, request_id = source.put(json.dumps({"request_id": 1}))
running = json.loads(sink.get(request_id, timeout="200ms")[0].data)
assert running["code"] == "502" and running["request_id"] == "1", running
source.add_extra_headers({"X-EAS-QueueService-Priority": "7"})
later, _ = source.put(json.dumps({"request_id": 2}))
assert source.search(later)["WaitCount"] == 1
for bad, status in ((queue("photog_train_pmml", "wrong"), 401), (queue("photog_other"), 404)):
    bad.set_retry_count(0)
    try:
        bad.put("x")
    except PredictException as error:
        assert error.code == (401 if status == 401 else 404), error
    else:
        raise AssertionError(status)
source.set_retry_count(0)
source.set_timeout(60000)
try:
    source.put(b"x" * (20480 * 1024 + 1))
except PredictException as error:
    assert error.code == 413 and b"20971520" in error.message, error
else:
    raise AssertionError("too large")
assert source.put(b"x" * (20480 * 1024))[0] == "3"
print("all", flush=True)
"""


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sdk.installed(tmp_path_factory.mktemp("sdk") / "venv")


@pytest.fixture
def server(tmp_path: Path):
    with sdk.quick_folder(tmp_path) as folder:
        made = sdk.Server(folder)
        made.start()
        yield made
        made.kill()


def calling(python: Path, server: sdk.Server, *more: str) -> "subprocess.Popen[str]":
    command = [str(python), str(CALLER), server.endpoint, str(COUNT), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def await_answers(caller: "subprocess.Popen[str]", answers: int) -> None:
    """Read the caller's lines until it has enough; the SDK logs its reconnecting to the same place."""
    assert caller.stderr is not None
    for line in caller.stderr:
        word, _, number = line.partition(" ")
        if word == "answered" and int(number) >= answers:
            return
    raise AssertionError(f"the caller ended before {answers} answers")


def results(server: sdk.Server) -> set[str]:
    bucket = FolderBucket(server.bucket)
    return {info.key.split("/")[2] for info in bucket.list("results/check/") if info.key.endswith("/result.json")}


def test_every_call_of_the_sdk_does_what_it_says(python, server):
    done = subprocess.run([python, "-c", CALLS, server.endpoint], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("all\n"), done.stderr
    assert server.stop() == 0


def test_two_thousand_puts_while_another_thread_watches_each_answered_exactly_once(python, server):
    with sdk.workers(server.bucket, WORKERS):
        out, err = calling(python, server).communicate(timeout=200)
    said = json.loads(out or err)
    assert said["failed"] == []
    assert len(set(said["accepted"].values())) == COUNT
    assert sorted(uuid for _, uuid, *_ in said["seen"]) == sorted(said["accepted"].values()), "each once"
    assert {request_id: uuid for _, uuid, request_id, *_ in said["seen"]} == said["accepted"]
    assert {code for _, _, _, code, _ in said["seen"]} == {"OK"}
    assert len(results(server)) == COUNT
    assert list(FolderBucket(server.bucket).list("queue/photog_check/")) == []


def test_a_server_killed_twice_in_the_middle_of_two_thousand_loses_and_doubles_nothing(python, server):
    with sdk.workers(server.bucket, WORKERS):
        caller = calling(python, server, "patient")
        for answers in KILLED_AFTER:
            await_answers(caller, answers)
            server.kill()
            server.start()
        out, err = caller.communicate(timeout=200)
    said = json.loads(out or err)
    places = {(index, uuid) for index, uuid, *_ in said["seen"]}
    assert set(said["accepted"].values()) <= {uuid for _, uuid in places}, "no accepted put is lost"
    assert len({uuid for _, uuid in places}) == len(places), "none is answered under two indexes"
    assert len({index for index, _ in places}) == len(places), "no index is given twice"
    orphans = {uuid for _, uuid in places} - set(said["accepted"].values())
    assert len(orphans) <= len(said["failed"]), "a put whose reply was lost may have been accepted"
    assert sorted(said["committed"]) == sorted(index for index, *_ in said["seen"])
    assert len(said["seen"]) - len(places) <= 2 * 20 * len(KILLED_AFTER), "only uncommitted ones come again"
    assert len(results(server)) == COUNT, "one run each"
