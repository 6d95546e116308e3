"""The operator's index of requests: right, and cheap however many old answers there are."""

import hashlib
import json
from collections import Counter

import pytest

from page.charts import bin_answers
from page.request_index import Entry, RequestIndex
from page.request_life import read_life
from page.settings import PageSettings
from page.studio import Studio
from page.surroundings import list_present
from shared.buckets import MemoryBucket, UnreadableFolder
from shared.contract import keys
from shared.contract.manifests import encode, failure, invalid_id, running, success
from shared.errors import InvalidManifest, RequestError, Undeliverable
from shared.lifecycle.claims import Claims
from shared.observability.failing_keys import Failures
from shared.operations.client import Client
from shared.settings import Lease, Limits, Settings
from tests.clock import Clock

BODY = {"images": ["photos/a.jpg"], "configure": {"user_id": "anna"}}


class Counting(MemoryBucket):
    """Counts what is asked of it."""

    def __init__(self):
        super().__init__()
        self.asked = Counter()

    def get(self, key, largest=None):
        self.asked["get"] += 1
        return super().get(key, largest)

    def head(self, key):
        self.asked["head"] += 1
        return super().head(key)

    def list(self, prefix, after=""):
        self.asked["list"] += 1
        return super().list(prefix, after)


def send(bucket, function, request_id, answer=None):
    Client(bucket).submit(function, {"request_id": request_id} | BODY)
    if answer is not None:
        bucket.put(keys.result(function, request_id), encode(answer))


def index_of(bucket):
    index = RequestIndex(bucket, PageSettings())
    index._refresh_running()
    index.refresh()
    while index.unread():
        index.read_some()
    return index


def failed(request_id, error):
    return failure(request_id, error, {"cost_time": 0.0})


def test_every_request_is_in_the_state_that_the_bucket_says():
    bucket = MemoryBucket()
    send(bucket, "check", "ok", success("ok", "", {}))
    send(bucket, "train", "failed", failed("failed", RequestError("no")))
    send(bucket, "generate", "dead", failed("dead", Undeliverable("no")))
    send(bucket, "train", "waits")
    send(bucket, "train", "runs")
    Claims(bucket, "train", Lease(), "worker-1").acquire_first("runs", "requests/train/runs.json", "")
    progress = {"stage": "training", "step": 3, "steps": 10, "eta_seconds": 7.0}
    bucket.put(keys.progress("train", "runs"), encode(running("runs", progress)))
    index = index_of(bucket)
    assert {one.request_id: one.state for one in index.newest()} == {
        "ok": "ok",
        "failed": "failed",
        "dead": "dead",
        "waits": "waiting",
        "runs": "running",
    }
    assert index.errors() == Counter(RequestError=1, Undeliverable=1)
    (one,) = index.running()
    assert (one.owner, one.stage, one.step, one.eta_seconds) == ("worker-1", "training", 3, 7.0)


def test_a_search_finds_by_part_of_an_id_and_by_person_page_by_page():
    bucket = MemoryBucket()
    for number in range(30):
        send(bucket, "check", f"order-{number:02}", success(f"order-{number:02}", "", {}))
    index = index_of(bucket)
    assert index.find("", "ORDER-07", 0, 10).total == 1
    assert index.find("", "ann", 0, 10).total == 30
    assert index.find("failed", "", 0, 10).total == 0
    pages = [index.find("ok", "", page, 10).entries for page in range(4)]
    assert [len(one) for one in pages] == [10, 10, 10, 0]
    assert len({one.request_id for page in pages for one in page}) == 30
    assert [one.request_id for one in index.of_user("anna")] == [one.request_id for one in index.newest()]


def test_a_request_under_another_name_than_its_id_is_one_request():
    bucket = MemoryBucket()
    bucket.put("requests/check/sub/other.json", encode({"request_id": "mine"} | BODY))
    index = index_of(bucket)
    assert [(one.request_id, one.state) for one in index.newest()] == [("mine", "waiting")]
    bucket.put(keys.result("check", "mine"), encode(success("mine", "", {})))
    index.refresh()
    index.read_some()
    assert [(one.request_id, one.state, one.key) for one in index.newest()] == [
        ("mine", "ok", "requests/check/sub/other.json")
    ]


def test_a_second_body_under_a_taken_id_is_a_conflict_and_a_copy_of_the_first_is_not():
    bucket = MemoryBucket()
    send(bucket, "check", "one", success("one", "", {}))
    bucket.put("requests/check/two.json", encode({"request_id": "one"} | BODY))
    assert index_of(bucket).counts() == Counter(ok=1)
    bucket.put("requests/check/two.json", encode({"request_id": "one", "images": ["photos/b.jpg"]}))
    bucket.put(keys.conflict("check", "one", "0123456789"), encode(failed("one", RequestError("taken"))))
    index = index_of(bucket)
    assert index.counts() == Counter(ok=1, conflict=1)
    assert [one.key for one in index.find("conflict", "", 0, 9).entries] == ["requests/check/two.json"]
    index.refresh()
    assert index.counts() == Counter(ok=1, conflict=1)


def test_old_answers_are_read_once_and_viewers_cost_nothing():
    bucket = Counting()
    for number in range(2000):
        bucket.put(keys.result("check", f"old-{number}"), encode(success(f"old-{number}", "", {})))
    index = RequestIndex(bucket, PageSettings())
    index.refresh()
    assert index.ready
    assert bucket.asked["get"] + bucket.asked["head"] == 0, "old answers are listed, not read"
    while index.unread():
        index.read_some()
    assert bucket.asked["get"] == 2000
    bucket.asked.clear()
    index.refresh()
    for page in range(50):
        index.find("", "", page, 25)
        index.counts()
    assert bucket.asked["get"] + bucket.asked["head"] == 0, "an answer never changes"
    assert bucket.asked["list"] <= 6


def test_the_thread_sleeps_while_nobody_looks():
    bucket = Counting()
    index = RequestIndex(bucket, PageSettings())
    index.start()
    index.stop()
    assert not bucket.asked


def test_damaged_and_foreign_objects_do_not_stop_the_index():
    bucket = MemoryBucket()
    bucket.put(keys.result("check", "broken"), b"not json")
    bucket.put(keys.result("check", "list"), b"[1]")
    bucket.put("requests/check/broken2.json", damaged := b"\xff\xfe{")
    bucket.put(keys.progress("check", "x"), b"{}")
    index = index_of(bucket)
    assert {one.request_id: one.state for one in index.newest()} == {
        "broken": "failed",
        "list": "failed",
        invalid_id(hashlib.sha256(damaged).hexdigest()): "waiting",
    }


def test_the_charts_have_the_answers_of_the_last_hours():
    now = 1_000_000_000.0
    entries = [Entry("check", str(n), written=now - 60 * n - 5, answered=now - 60 * n) for n in range(600)]
    entries[3].error = "InvalidField"
    bins = bin_answers(entries, now, 6)
    assert len(bins) == 36
    assert sum(one.ok + one.failed for one in bins) == 357
    assert sum(one.failed for one in bins) == 1
    assert bins[-2].percentile(0.5) == 5.0


# --- the life of one request ------------------------------------------------------------------------------------------


def test_a_requests_life_has_everything_and_no_secret():
    bucket = MemoryBucket()
    body = {"request_id": "one", "images": ["https://u:geheim@h.example/a.jpg?X-Amz-Signature=abc"], "configure": {}}
    bucket.put("requests/check/one.json", encode(body))
    bucket.put(keys.outbox("check", "one"), encode({"pending": ["webhook"], "failures": {}}))
    claim = Claims(bucket, "check", Lease(), "worker-1").acquire_first("one", "requests/check/one.json", "")
    assert claim is not None
    life = read_life(bucket, "check", "one", "", Limits())
    assert life is not None
    assert "geheim" not in life.manifest
    assert "abc" not in life.manifest
    assert [one["owner"] for one in life.claims] == ["worker-1"]
    assert life.pending == ["webhook"]
    assert life.answer is None
    assert read_life(bucket, "check", "nobody", "", Limits()) is None


def test_a_request_that_failed_is_sent_again_under_a_new_id():
    bucket = MemoryBucket()
    send(bucket, "train", "one", failed("one", RequestError("no")))
    studio = Studio(bucket, Settings(), PageSettings())
    assert studio.retry("train", "one", keys.request("train", "one")) == "one-again-1"
    assert studio.retry("train", "one-again-1", keys.request("train", "one-again-1")) == "one-again-2"
    assert b'"anna"' in bucket.get(keys.request("train", "one-again-2"))


def test_a_request_that_runs_is_canceled_and_its_worker_loses_the_claim():
    bucket = MemoryBucket()
    send(bucket, "train", "one")
    claims = Claims(bucket, "train", Lease(), "worker-1")
    held = claims.acquire_first("one", "requests/train/one.json", "")
    assert held is not None
    studio = Studio(bucket, Settings(), PageSettings())
    assert studio.cancel("train", "one")
    assert claims.beat("one", held.record) is None
    answer = Client(bucket).answer("train", "one")
    assert answer is not None
    assert answer["data"]["error"]["type"] == "RequestCanceled"
    assert studio.cancel("train", "one"), "a second time it is canceled too"


def test_an_answer_that_was_there_first_stays():
    bucket = MemoryBucket()
    send(bucket, "train", "one", success("one", "", {}))
    assert not Studio(bucket, Settings(), PageSettings()).cancel("train", "one")
    answer = Client(bucket).answer("train", "one")
    assert answer is not None
    assert answer["code"] == "OK"


def test_a_folder_that_cannot_be_read_hides_no_other_requests():
    class Broken(MemoryBucket):
        def list(self, prefix, after=""):
            yield from super().list(prefix, after)
            if prefix.startswith("requests/check/"):
                raise UnreadableFolder("requests/check/a/ cannot be read", ["requests/check/a/"])

    bucket = Broken()
    send(bucket, "check", "one")
    send(bucket, "train", "two", success("two", "", {}))
    index = index_of(bucket)
    assert {one.request_id for one in index.newest()} == {"one", "two"}
    assert index.ready
    assert index.unreadable() == ["requests/check/a/"]


def test_what_no_browser_can_be_sent_is_spelled_out():
    """One such answer once took the operator's screen from everybody."""
    bucket = MemoryBucket()
    wrong = {"request_id": "r", "code": "error", "message": "\ud800", "data": {"error": {"type": "\ud800"}}}
    wrong["data"]["user_id"] = ["\ud801"]
    send(bucket, "check", "r")
    bucket.put(keys.result("check", "r"), json.dumps(wrong).encode())
    bucket.put(keys.outbox("check", "r"), b'{"pending": 5}')
    (entry,) = index_of(bucket).newest()
    assert (entry.error, entry.users) == ("\\ud800", ("\\ud801",))
    life = read_life(bucket, "check", "r", entry.key, Limits())
    assert life.pending == [keys.outbox("check", "r")]
    life.answer_text.encode()


def test_workers_of_others_are_listed_while_they_show_that_they_live():
    bucket = MemoryBucket()
    index = index_of(bucket)
    bucket.put(keys.worker("check", "host-1"), b"{}")
    bucket.put(keys.worker("train", "host-2"), b"{}")
    index.look_around()
    assert [(one.function, one.owner) for one in index.present()] == [("check", "host-1"), ("train", "host-2")]
    seen = index.present()[0].seen
    assert list_present(bucket, 60.0, seen + 179) != []
    assert list_present(bucket, 60.0, seen + 190) == [], "three signs of life are missing"


def test_files_that_cannot_be_served_or_are_never_read_are_told_with_the_reason():
    bucket = MemoryBucket()
    failures = Failures(bucket, "check", keys.requests("check"))
    failures.add("requests/check/<b>.json", OSError("the disk is broken"))
    failures.add("requests/check/<b>.json", OSError("the disk is broken"))
    bucket.put(f"{keys.FAILING}train/x.json", b"not JSON")
    bucket.put("requests/check/note.txt", b"{}")
    bucket.put("requests/Train/a.json", b"{}")
    index = index_of(bucket)
    index.look_around()
    told = {one.key: one for one in index.troubles()}
    assert told["requests/check/<b>.json"].tries == 2
    assert "the disk is broken" in told["requests/check/<b>.json"].why
    assert told[f"{keys.FAILING}train/x.json"].tries == 0
    assert "requests/check/note.txt" in told
    assert "lower case" in told["requests/Train/"].why
    assert len(told) == 4


def test_a_file_that_is_no_manifest_is_one_failed_request_under_the_id_of_its_answer():
    bucket = MemoryBucket()
    bucket.put("requests/check/broken.json", b"{not json")
    request_id = invalid_id(hashlib.sha256(b"{not json").hexdigest())
    index = index_of(bucket)
    assert [(one.request_id, one.state) for one in index.newest()] == [(request_id, "waiting")]
    bucket.put(keys.result("check", request_id), encode(failed(request_id, InvalidManifest("it is no JSON object"))))
    index.refresh()
    while index.unread():
        index.read_some()
    assert [(one.request_id, one.state, one.error) for one in index.newest()] == [
        (request_id, "failed", "InvalidManifest")
    ]
    life = read_life(bucket, "check", request_id, index.newest()[0].key, Limits())
    assert life is not None
    assert life.manifest == "{not json"


@pytest.mark.parametrize("number", ["1e999", "-1", "1" + "0" * 400, "NaN", "true", '"<b>"', "null"])
def test_numbers_that_photog_has_not_written_stop_no_list(number):
    """The thread that makes the lists ended, for good, with an infinite number of tries."""
    bucket = MemoryBucket()
    send(bucket, "train", "r")
    bucket.put(keys.claim("train", "r", 1), f'{{"owner": "w", "started": {number}}}'.encode())
    bucket.put(keys.progress("train", "r"), encode(running("r", {"stage": "training", "step": 1, "steps": 2})))
    record = f'{{"key": "requests/train/a.json", "error": "e", "tries": {number}, "since": {number}}}'
    bucket.put(f"{keys.FAILING}train/x.json", record.encode())
    index = index_of(bucket)
    index.look_around()
    assert [(one.request_id, one.started) for one in index.running()] == [("r", 0.0)]
    assert [(one.key, one.tries) for one in index.troubles()] == [(f"{keys.FAILING}train/x.json", 0)]


def test_a_request_whose_worker_has_handed_it_back_or_died_waits_again():
    bucket, clock = MemoryBucket(), Clock()
    index = RequestIndex(bucket, PageSettings(), silent_seconds=30.0, clock=clock)
    send(bucket, "check", "one")
    claims = Claims(bucket, "check", Lease(), "worker-1")

    def state() -> tuple[int, str]:
        index._refresh_running()
        index.refresh()
        entry = index.get("check", "one")
        assert entry is not None
        return len(index.running()), entry.state

    held = claims.acquire_first("one", "requests/check/one.json", "")
    assert held is not None
    bucket.put(keys.progress("check", "one"), encode(running("one", {"stage": "look", "step": 0, "steps": 1})))
    assert state() == (1, "running")
    clock.now += 20
    beaten = claims.beat("one", held.record)
    assert beaten is not None
    assert state() == (1, "running")
    clock.now += 20
    assert state() == (1, "running"), "it has beaten since"
    clock.now += 20
    assert state() == (0, "waiting"), "its worker is dead"
    again = claims.beat("one", beaten)
    assert again is not None
    assert state() == (1, "running"), "its worker was asleep"
    claims.release("one", again)
    assert state() == (0, "waiting")
    bucket.delete(keys.progress("check", "one"))
    assert state() == (0, "waiting")
