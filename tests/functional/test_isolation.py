"""A function in a child process: whatever happens there, the worker goes on and the request is answered."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from shared.buckets import MemoryBucket
from shared.contract.function import AttemptFailed, DeviceBroken, FunctionUnavailable
from shared.events import ObjectCreated
from shared.lifecycle.invocation import Invocation, Outcome
from shared.lifecycle.shutdown import HandedBack, Interrupted, Shutdown
from shared.observability.logs import LogSettings
from shared.runtime import eviction, isolation
from shared.runtime.eviction import Eviction
from shared.runtime.isolation import IsolatedFunction
from shared.settings import Lease, Limits, Settings
from tests import rough
from tests.echo import until
from tests.fake_workspace import FakeWorkspace

SETTINGS = Settings(lease=Lease(seconds=0.3, drain_seconds=0.2), limits=Limits(request_seconds=30))


@pytest.fixture
def bucket() -> MemoryBucket:
    return MemoryBucket()


@pytest.fixture
def function() -> Iterator[IsolatedFunction]:
    made = IsolatedFunction("check", SETTINGS, rough.load)
    assert made.await_loaded(threading.Event())
    yield made
    made.close()


def ask(bucket, function, request_id="r1", settings=SETTINGS, shutdown=None, **body) -> tuple[Outcome, dict | None]:
    key = f"requests/check/{request_id}.json"
    bucket.put(key, json.dumps({"request_id": request_id} | body).encode())
    invoked = Invocation(bucket, function, settings, "w1", shutdown or Shutdown(0.2))
    outcome = invoked.receive(ObjectCreated(key))
    result = f"results/check/{request_id}/result.json"
    return outcome, json.loads(bucket.get(result)) if bucket.head(result) else None


def test_the_work_is_done_in_another_process_whose_workspace_is_the_bucket(bucket, function):
    bucket.put("photos/a", b"a picture")
    outcome, envelope = ask(bucket, function, point=True)
    assert (outcome, envelope["code"]) == (Outcome.ANSWERED, "OK")
    assert envelope["data"]["pid"] != os.getpid()
    etag = bucket.head("photos/a").etag
    assert bucket.get("results/check/r1/a1/echo.txt") == b"a picture" + etag.encode()
    assert json.loads(bucket.get("users/u/model.json"))["pid"] == envelope["data"]["pid"]


def test_work_that_hangs_in_native_code_ends_at_its_deadline_and_the_next_request_is_served(bucket, function):
    short = SETTINGS.model_copy(update={"limits": Limits(request_seconds=0.5)})
    begun = time.monotonic()
    _, envelope = ask(bucket, function, settings=short, do="hang")
    assert envelope["data"]["error"]["type"] == "DeadlineExceeded"
    assert time.monotonic() - begun < 15
    assert ask(bucket, function, "r2")[1]["code"] == "OK"


def test_a_gpu_that_breaks_hands_the_request_back_and_ends_the_worker_and_one_that_is_full_answers(bucket, function):
    _, envelope = ask(bucket, function, do="raise", said="CUDA out of memory. Tried to allocate 2.00 GiB")
    assert envelope["data"]["error"] == {"type": "OutOfMemory", "retryable": True, "retry_after": 60}
    with pytest.raises(DeviceBroken, match="illegal memory access"):
        ask(bucket, function, "r2", do="raise", said="CUDA error: an illegal memory access was encountered")
    claim = json.loads(bucket.get("claims/check/r2/000001.json"))
    assert claim["released"]
    assert "illegal memory access" in claim["ended"]
    assert bucket.head("results/check/r2/result.json") is None


def test_native_code_that_holds_the_lock_longer_than_two_leases_keeps_its_claim(bucket, function):
    other = Invocation(bucket, function, SETTINGS, "w2", Shutdown(1))
    done = threading.Thread(target=ask, args=(bucket, function), kwargs={"do": "hang", "seconds": 2})
    done.start()
    until(lambda: bucket.head("claims/check/r1/000001.json"))
    outcomes = set()
    while done.is_alive():
        outcomes.add(other.receive(ObjectCreated("requests/check/r1.json")))
        time.sleep(0.05)
    assert outcomes <= {Outcome.BUSY, Outcome.ALREADY}
    assert [info.key for info in bucket.list("claims/")] == ["claims/check/r1/000001.json"]
    assert json.loads(bucket.get("results/check/r1/result.json"))["code"] == "OK"


def test_a_process_that_is_killed_is_followed_at_once_by_the_next_attempt(bucket, function):
    begun = time.monotonic()
    outcome, envelope = ask(bucket, function, do="die", once=True)
    assert (outcome, envelope["code"]) == (Outcome.ANSWERED, "OK")
    assert len(list(bucket.list("claims/check/r1/"))) == 2
    assert time.monotonic() - begun < 20, "no lease has to run out"


def test_three_processes_that_die_are_told_of_as_they_died(bucket, function):
    _, envelope = ask(bucket, function, do="die")
    assert envelope["data"]["error"]["type"] == "AttemptsExhausted"
    assert "was killed, probably because memory ran out (3 times)" in envelope["message"]
    assert list(bucket.list("results/check/r1/a")) == []
    _, envelope = ask(bucket, function, "r2", do="exit")
    assert "ended with exit status 3 (3 times)" in envelope["message"]


@pytest.mark.parametrize("do", ["work", "hang"])
def test_a_worker_that_goes_down_hands_back_whatever_the_work_does(bucket, function, do):
    shutdown = Shutdown(0.2)
    threading.Timer(0.5, shutdown.request).start()
    begun = time.monotonic()
    outcome, envelope = ask(bucket, function, shutdown=shutdown, do=do)
    assert (outcome, envelope) == (Outcome.HANDED_BACK, None)
    assert time.monotonic() - begun < 6, "the time to drain, and a moment for the process to stop by itself"
    assert json.loads(bucket.get("claims/check/r1/000001.json"))["released"]


def test_errors_reach_the_answer_under_their_own_names(bucket, function):
    _, refused = ask(bucket, function, "r1", do="refuse")
    assert refused["data"]["error"] == {"type": "InvalidField", "field": "x", "retryable": False}
    _, odd = ask(bucket, function, "r2", do="odd")
    assert odd["data"]["error"] == {"type": "OddRequest", "field": "y", "retryable": True, "retry_after": 7}
    _, failed = ask(bucket, function, "r3", do="fail")
    assert failed["data"]["error"]["type"] == "InternalError"
    assert failed["message"].startswith("ZeroDivisionError: by nought")


def test_the_trace_of_what_failed_there_is_one_line_that_names_the_request(bucket, capfd):
    settings = SETTINGS.model_copy(update={"log": LogSettings(format="json")})
    function = IsolatedFunction("check", settings, rough.load)
    ask(bucket, function, "r3", settings, do="fail")
    function.close()
    told = [one for one in capfd.readouterr().err.splitlines() if one.startswith("{")]  # this process may log, too
    [line] = [json.loads(one) for one in told if "ZeroDivisionError" in one]
    assert (line["function"], line["request_id"], line["attempt"]) == ("check", "r3", 1)
    assert line["traceback"].endswith("ZeroDivisionError: by nought")


def test_what_is_gone_from_the_bucket_is_dropped_in_the_process(bucket, function):
    bucket.put("users/a", b"")
    _, envelope = ask(bucket, function, "r1", keep=["users/a", "users/b"])
    assert envelope["data"]["kept"] == ["users/a", "users/b"]
    Invocation(bucket, function, SETTINGS, "w1", Shutdown(1)).tidy()
    assert ask(bucket, function, "r2")[1]["data"]["kept"] == ["users/a"]


def test_a_function_that_cannot_be_loaded_says_why():
    unloadable = IsolatedFunction("check", SETTINGS, rough.load_nothing)
    with pytest.raises(FunctionUnavailable, match="the model is not there"):
        unloadable.await_loaded(threading.Event())


def test_a_process_that_dies_idle_or_says_nothing_any_more_ends_no_eviction(bucket, function, monkeypatch):
    monkeypatch.setattr(isolation, "ASIDE_SECONDS", 0.3)
    invoked = Invocation(bucket, function, SETTINGS, "w1", Shutdown(1))
    for number in (signal.SIGKILL, signal.SIGSTOP):
        os.kill(function.process_id, number)
        with pytest.raises(AttemptFailed):
            invoked.tidy()
        assert function.await_loaded(threading.Event())
        assert ask(bucket, function, f"after-{number}")[1]["code"] == "OK"


@pytest.mark.parametrize("ask_it", ["evict", "answer"])
def test_a_function_that_is_closed_in_a_conversation_starts_no_other_process(bucket, function, ask_it):
    """As by a signal while the worker tidies up: the thread that tidies hears that the process is gone."""

    def close_beside(*arguments):
        beside = threading.Thread(target=function.close)
        beside.start()
        beside.join()

    desk = FakeWorkspace()
    function.answer({"keep": ["photos/a"]}, desk)
    desk.progress = close_beside
    with pytest.raises(HandedBack, match="this worker is ending") as told:
        function.evict(close_beside) if ask_it == "evict" else function.answer({"do": "work"}, desk)
    assert isinstance(told.value.__context__, EOFError | ConnectionError), "the process was gone"
    assert function.process_id is None
    with pytest.raises(HandedBack):
        function.evict(lambda key: True)


def test_tidying_that_a_stop_interrupts_is_no_fault_to_tell_of(caplog, monkeypatch):
    monkeypatch.setattr(eviction, "EVICT_SECONDS", 0.0)
    stop = threading.Event()

    def tidy():
        stop.set()
        raise HandedBack("this worker is ending")

    Eviction(stop)._run(tidy)
    assert caplog.records == []


def test_a_frozen_process_is_replaced_at_the_deadline(bucket, function):
    short = SETTINGS.model_copy(update={"limits": Limits(request_seconds=0.5)})
    os.kill(function.process_id, signal.SIGSTOP)
    _, envelope = ask(bucket, function, settings=short)
    assert envelope["data"]["error"]["type"] == "DeadlineExceeded"
    assert ask(bucket, function, "r2")[1]["code"] == "OK"


class Reading(FakeWorkspace):
    """The workspace of a request that is made ready; it ends after so many readings."""

    def __init__(self, request_id: str, readings: int = 10**9) -> None:
        super().__init__({"photos/a": b"a picture"}, request_id)
        self.left = readings

    def read(self, key):
        self.left -= 1
        return super().read(key)

    def check(self):
        if self.left <= 0:
            raise Interrupted("its turn has come")


def test_requests_are_made_ready_beside_the_one_that_is_worked_on_whatever_becomes_of_that(bucket, function):
    working = threading.Thread(target=ask, args=(bucket, function), kwargs={"do": "await_prepared", "prepared": 4})
    working.start()
    until(lambda: bucket.head("progress/check/r1.json"))
    function.prepare({"request_id": "r2"}, Reading("r2"))
    function.prepare({"request_id": "r3", "ready": "fails"}, Reading("r3"))
    with pytest.raises(Interrupted):
        function.prepare({"request_id": "r4", "ready": "forever"}, Reading("r4", 3))
    said = Reading("r5")

    def give_up_the_one_before() -> bool:
        function.prepare({"request_id": "r5"}, said)
        return said.left < 10**9

    until(give_up_the_one_before)
    working.join(30)
    assert bucket.get("results/check/r1/a1/prepared.txt") == b"r2 r3 r4 r5"


def test_a_request_is_not_made_ready_by_a_process_that_is_gone(bucket, function):
    os.kill(function.process_id, signal.SIGKILL)
    function.prepare({"request_id": "r2"}, Reading("r2"))
    assert ask(bucket, function)[1]["code"] == "OK"
    function.prepare({"request_id": "r2"}, Reading("r2"))
