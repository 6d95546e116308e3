"""What requests use: told in each answer, recorded once by user, added up by a verb, limited by quotas."""

import json
import threading
from itertools import count

import pytest
from typer.testing import CliRunner

from shared.buckets import BucketError, FolderBucket, MemoryBucket
from shared.cli import app
from shared.contract import keys
from shared.contract.function import Answer, AttemptFailed
from shared.contract.manifests import encode, success
from shared.contract.usage import Meter, day_of, parse_record, read_users, records_of
from shared.errors import NoFaceInTemplate
from shared.events import ObjectCreated, completion_event
from shared.lifecycle.invocation import Invocation, Outcome
from shared.lifecycle.quota import Quota
from shared.lifecycle.shutdown import Shutdown
from shared.lifecycle.usage_records import UsageRecords
from shared.operations.client import Client
from shared.operations.erasure import Erasure
from shared.operations.retention import Retention
from shared.operations.usage import sum_usage
from shared.runtime.context import Context
from shared.settings import NotifySettings, QuotaSettings, Settings, UsageSettings
from tests.echo import QUICK

DAY = 86_400.0
NOON = 1_800_057_600.0 + 43_200  # of a day of UTC
NUMBERS = count(1)


class Work:
    """A function that reads a picture and an object, and saves two artifacts; `each` may do anything before it."""

    def __init__(self, name="generate", each=lambda workspace: None):
        self.name, self._each = name, each

    def answer(self, body, workspace):
        workspace.save("scratch/half.bin", b"x" * 30)
        self._each(workspace)
        workspace.fetch(["photos/p.jpg"])
        workspace.read("photos/p.jpg")
        return Answer({"user_id": body["configure"].get("user_id"), "image": workspace.save("portrait.png", b"y" * 7)})

    def evict(self, exists):
        """Nothing is kept."""

    def pointers(self, data):
        return {}


@pytest.fixture
def bucket():
    made = MemoryBucket()
    made.put("photos/p.jpg", b"photo")
    return made


def serve(bucket, user_id=None, function=None, hooks=None, request_id=None, owner="w"):
    """Serve one request of a user, and return its answer; None if there is none."""
    function, request_id = function or Work(), request_id or f"r{next(NUMBERS)}"
    body = {"request_id": request_id, "configure": {"user_id": user_id} if user_id else {}}
    Client(bucket).submit(function.name, body)
    hooks = [UsageRecords(bucket)] if hooks is None else hooks
    key = keys.request(function.name, request_id)
    Invocation(bucket, function, QUICK, owner, Shutdown(1.0), hooks).receive(ObjectCreated(key))
    text = bucket.find(keys.result(function.name, request_id))
    return text and json.loads(text)


def listed(bucket, root=keys.USAGE):
    return [info.key for info in bucket.list(root)]


def run(*arguments):
    return CliRunner().invoke(app, ["usage", *map(str, arguments)])


class TestAnAnswer:
    def test_says_what_its_attempt_has_read_written_and_kept(self, bucket):
        used = serve(bucket, "ann", hooks=[])["data"]["usage"]
        assert (used["bytes_read"], used["bytes_written"], used["bytes_kept"]) == (10, 37, 7)
        assert used["user_ids"] == ["ann"]
        assert used["device_seconds"] > 0
        assert used["ended"] > NOON - 365 * DAY

    def test_of_an_error_keeps_nothing(self, bucket):
        def fail(workspace):
            raise NoFaceInTemplate("no face")

        answer = serve(bucket, "ann", Work(each=fail), hooks=[])
        assert answer["code"] == "error"
        assert (answer["data"]["usage"]["bytes_written"], answer["data"]["usage"]["bytes_kept"]) == (30, 0)
        assert answer["data"]["usage"]["user_ids"] == ["ann"]

    def test_that_was_never_run_has_none(self, bucket):
        serve(bucket, "ann", request_id="same")
        bucket.put("requests/generate/other.json", b'{"request_id": "same", "x": 1, "configure": {}}')
        Invocation(bucket, Work(), QUICK, "w", Shutdown(1.0)).receive(ObjectCreated("requests/generate/other.json"))
        (conflict,) = [key for key in listed(bucket, "results/") if "conflict" in key]
        assert "usage" not in json.loads(bucket.get(conflict))["data"]

    @pytest.mark.parametrize(
        ("body", "users"),
        [
            ({"configure": {"user_id": "ann"}}, ["ann"]),
            ({"configure": {"model_id": ["ann", "none", None, "ann", "bob"]}}, ["ann", "bob"]),
            ({"user_id": "zoe"}, ["zoe"]),
            ({"configure": {"user_id": "../x"}}, []),
            ({"configure": {"user_id": 7}, "images": []}, []),
            ({"configure": "ann"}, []),
            ({"configure": {"user_id": [f"u{n}" for n in range(100)]}}, [f"u{n}" for n in range(64)]),
        ],
    )
    def test_names_the_users_whom_its_request_names(self, body, users):
        assert list(read_users(body)) == users


class TestRecords:
    def test_there_is_one_for_each_answer_and_user_with_equal_shares(self, bucket):
        serve(bucket, ["ann", "bob"], request_id="both")
        found = [parse_record(key) for key in listed(bucket)]
        assert [(one.user_id, one.function, one.request_id) for one in found] == [
            ("ann", "generate", "both"),
            ("bob", "generate", "both"),
        ]
        assert [(one.bytes_read, one.bytes_kept) for one in found] == [(5, 3), (5, 4)], "which add up to all"
        told = json.loads(bucket.get(found[0].key))
        assert (told["user_id"], told["bytes_written"]) == ("ann", 18)

    def test_a_worker_that_dies_after_the_commit_leaves_one_and_a_repetition_adds_none(self, bucket):
        class Dies(UsageRecords):
            def committed(self, function, event, envelope):
                super().committed(function, event, envelope)
                raise SystemExit

        with pytest.raises(SystemExit):
            serve(bucket, "ann", hooks=[Dies(bucket)], request_id="r")
        first = listed(bucket)
        assert len(first) == 1
        assert bucket.head("progress/generate/r.json") is not None
        for owner in ("w2", "w3"):
            other = Invocation(bucket, Work(), QUICK, owner, Shutdown(1.0), [UsageRecords(bucket)])
            assert other.receive(ObjectCreated("requests/generate/r.json")) is Outcome.ALREADY
        assert listed(bucket) == first

    def test_attempts_without_an_answer_have_none(self, bucket):
        died = []

        def die(workspace):
            if workspace.attempt < 3:
                died.append(workspace.attempt)
                raise AttemptFailed("killed")

        assert serve(bucket, "ann", Work(each=die))["code"] == "OK"
        assert died == [1, 2]
        assert len(listed(bucket)) == 1

    def test_a_longest_name_and_id_fit_into_a_file_name(self, tmp_path):
        bucket = FolderBucket(tmp_path)
        bucket.put("photos/p.jpg", b"photo")
        serve(bucket, "u" * 64, request_id="r" * 128)
        (one,) = [parse_record(key) for key in listed(bucket)]
        assert (one.user_id, one.request_id) == ("u" * 64, "r" * 128)

    def test_an_answer_that_was_overwritten_is_recorded_as_nothing_else_than_an_amount(self):
        def answered(**used):
            told = Meter().usage(1.0, ["ann"], NOON, answered=True) | used
            return success("r", "success", {"usage": told})

        assert [one.user_id for one in records_of("check", answered(user_ids=["../../x", "bob", 7]))] == ["bob"]
        assert [one.user_id for one in records_of("check", answered(user_ids="ann"))] == ["none"]
        for name in ("ended", "bytes_kept", "device_seconds"):
            for value in (-1, 1e300, "1", None, True, float("nan")):
                assert records_of("check", answered(**{name: value})) == [], (name, value)
        assert records_of("check", success("r", "success", {"usage": 3})) == []

    def test_forgetting_a_user_removes_them_and_leaves_those_of_others(self, bucket):
        serve(bucket, ["ann", "bob"], hooks=[UsageRecords(bucket), Quota(bucket, QuotaSettings(generate=2))])
        removed = Erasure(bucket, QUICK.lease).forget("ann")
        assert sum(key.startswith(keys.USAGE) for key in removed) == 2, "a record and a slot"
        assert {keys.whose_usage(key) for key in listed(bucket)} == {"bob"}

    def test_a_worker_that_was_frozen_while_its_user_was_forgotten_leaves_none(self, bucket):
        class Forgets(UsageRecords):
            def committed(self, function, event, envelope):
                Erasure(bucket, QUICK.lease).forget("ann")
                super().committed(function, event, envelope)

        assert serve(bucket, "ann", hooks=[Forgets(bucket)]) is None
        assert listed(bucket) == []

    def test_an_error_answer_is_found_by_the_user_whom_its_usage_names(self, bucket):
        def fail(workspace):
            raise NoFaceInTemplate("no face")

        serve(bucket, "ann", Work(each=fail), request_id="failed")
        bucket.delete("requests/generate/failed.json")
        Erasure(bucket, QUICK.lease).forget("ann")
        assert listed(bucket, "results/") == []

    def test_retention_removes_old_ones_by_their_own_time(self, bucket):
        serve(bucket, "ann")
        retention = Retention(bucket, {}, lambda: NOON * 2)
        assert not retention.find(dict.fromkeys(("photos", "results"), 3600.0)).objects.keys() & set(listed(bucket))
        retention.remove(retention.find({"usage": 30 * DAY}))
        assert listed(bucket) == []

    def test_they_are_written_only_where_that_is_asked_for(self, bucket):
        def hooks(**settings):
            return [type(one) for one in Context(bucket, Settings(**settings))._accountants()]

        assert hooks() == []
        assert hooks(usage=UsageSettings(record=True)) == [UsageRecords]
        assert hooks(quota=QuotaSettings(train=1)) == [UsageRecords, Quota]

    def test_a_store_that_refuses_them_holds_up_no_event(self):
        class Refuses(MemoryBucket):
            def put(self, key, data):
                if key.startswith(keys.USAGE):
                    raise BucketError("no right to write there")
                super().put(key, data)

        bucket = Refuses()
        settings = Settings(usage=UsageSettings(record=True), notify=NotifySettings(bucket=True))
        hooks = Context(bucket, settings, load=lambda name, settings: Work()).invocation("generate")._hooks
        envelope = success("r", "success", {"usage": Meter().usage(1.0, ["ann"], NOON, answered=True)})
        with pytest.raises(BucketError, match="no right"):
            hooks.committed("generate", completion_event("generate", envelope, bucket.address, "result"), envelope)
        assert len(listed(bucket, keys.NOTIFICATIONS)) == 1


class TestTheVerb:
    @pytest.fixture
    def folder(self, tmp_path):
        bucket = FolderBucket(tmp_path / "bucket")
        bucket.put("photos/p.jpg", b"photo")
        serve(bucket, "ann")
        serve(bucket, ["ann", "bob"])
        serve(bucket, None, Work("check"))
        return bucket

    def test_adds_up_by_user_and_counts_a_portrait_of_two_once_in_all(self, folder, tmp_path):
        told = json.loads(run(tmp_path / "bucket", "--json").stdout)
        assert {user: one["requests"] for user, one in told["users"].items()} == {
            "ann": {"generate": 2},
            "bob": {"generate": 1},
            "none": {"check": 1},
        }
        assert told["total"]["requests"] == {"check": 1, "generate": 2}
        assert told["total"]["bytes_read"] == 30
        assert told["total"]["bytes_kept"] == 7 + 7 + 7
        seconds = sum(one["device_seconds"] for one in told["users"].values())
        assert told["total"]["device_seconds"] == pytest.approx(seconds)

    def test_tells_one_user_of_some_days(self, folder, tmp_path):
        old = records_of("train", success("r0", "success", {"usage": Meter().usage(9.0, ["ann"], 1e9, answered=True)}))
        folder.put(old[0].key, b"{}")
        shown = run(tmp_path / "bucket", "--user", "ann", "--since", "24h").stdout
        assert len(shown.splitlines()) == 1
        assert "0 train" in shown
        assert "2 generate" in shown
        everything = json.loads(run(tmp_path / "bucket", "--user", "ann", "--since", "100y", "--json").stdout)
        assert everything["users"]["ann"]["requests"] == {"train": 1, "generate": 2}

    def test_counts_an_id_that_is_used_again_once_its_answer_was_removed(self, bucket):
        for user_id in ("ann", ["ann", "bob"]):
            serve(bucket, user_id, request_id="again")
            Client(bucket).withdraw("generate", "again")
            for info in listed(bucket, "results/") + listed(bucket, "claims/"):
                bucket.delete(info)
        users, total = sum_usage(bucket, 0.0)
        assert (users["ann"].requests, total.requests) == ({"generate": 2}, {"generate": 2})

    def test_counts_functions_of_others_by_any_name(self, bucket):
        serve(bucket, "ann", Work("my_own-2"))
        assert sum_usage(bucket, 0.0)[1].requests == {"my_own-2": 1}

    @pytest.mark.parametrize("age", ["3000y", "9" * 30 + "y", "0d"])
    def test_takes_any_age(self, folder, tmp_path, age):
        asked = run(tmp_path / "bucket", "--since", age, "--json")
        assert asked.exit_code == 0, asked.output
        assert bool(json.loads(asked.stdout)["users"]) == (age != "0d")

    def test_reads_no_object(self, folder, monkeypatch):
        monkeypatch.setattr(FolderBucket, "get", lambda *arguments: pytest.fail("it reads"))
        assert set(sum_usage(folder, 0.0)[0]) == {"ann", "bob", "none"}

    def test_says_how_to_record_where_nothing_is_recorded_and_what_is_no_age(self, tmp_path):
        (tmp_path / "empty").mkdir()
        asked = run(tmp_path / "empty")
        assert (asked.exit_code, asked.stdout) == (0, "")
        assert "PHOTOG_USAGE__RECORD=true" in asked.stderr
        assert "--since soon is no age" in run(tmp_path / "empty", "--since", "soon").stderr
        assert "is no user id" in run(tmp_path / "empty", "--user", "a/b").stderr


class TestAQuota:
    def hooks(self, bucket, now=NOON, **limits):
        return [UsageRecords(bucket), Quota(bucket, QuotaSettings(**limits), lambda: now)]

    def test_refuses_what_is_beyond_it_before_any_work_and_says_when_the_day_ends(self, bucket):
        hooks = self.hooks(bucket, generate=2)
        assert [serve(bucket, "ann", hooks=hooks)["code"] for _ in range(3)] == ["OK", "OK", "error"]
        answer = serve(bucket, "ann", Work(each=lambda workspace: pytest.fail("it works")), hooks=hooks)
        error = answer["data"]["error"]
        assert error == {"type": "QuotaExceeded", "retryable": True, "retry_after": 43_200}
        assert "ann has sent 2 requests to generate today" in answer["message"]
        assert "usage" not in answer["data"]
        assert sum_usage(bucket, 0.0)[0]["ann"].requests == {"generate": 2}, "what was refused is in no bill"

    def test_is_not_touched_by_a_request_with_a_wrong_field(self, bucket):
        settings = QUICK.model_copy(update={"quota": QuotaSettings(check=1)})
        context = Context(bucket, settings, load=lambda name, settings: Work("check"))
        for request_id, images, code in (("bad", [], "error"), ("good", ["photos/p.jpg"], "OK")):
            body = {"request_id": request_id, "images": images, "configure": {"user_id": "ann"}}
            Client(bucket).submit("check", body)
            context.invocation("check").receive(ObjectCreated(keys.request("check", request_id)))
            answer = json.loads(bucket.get(keys.result("check", request_id)))
            assert answer["code"] == code, answer
        assert json.loads(bucket.get(keys.result("check", "bad")))["data"]["error"]["type"] == "InvalidField"
        (slot,) = [key for key in listed(bucket) if "/slots/" in key]
        assert json.loads(bucket.get(slot))["request_id"] == "good"

    def test_leaves_functions_of_others_alone(self, bucket):
        assert serve(bucket, "ann", Work("own"), hooks=self.hooks(bucket, generate=0))["code"] == "OK"

    def test_is_of_one_user_one_function_and_one_day(self, bucket):
        hooks = self.hooks(bucket, generate=1)
        assert serve(bucket, "ann", hooks=hooks)["code"] == "OK"
        assert serve(bucket, "bob", hooks=hooks)["code"] == "OK"
        assert serve(bucket, "ann", Work("check"), hooks=hooks)["code"] == "OK"
        assert [serve(bucket, None, hooks=hooks)["code"] for _ in range(2)] == ["OK", "OK"], "nobody has none"
        assert serve(bucket, "ann", hooks=self.hooks(bucket, NOON + DAY / 2, generate=1))["code"] == "OK"
        assert serve(bucket, "ann", hooks=self.hooks(bucket, NOON + DAY / 2 - 1, generate=1))["code"] == "error"

    def test_counts_a_request_once_whatever_dies_over_it(self, bucket):
        def die(workspace):
            if workspace.attempt < 3:
                raise AttemptFailed("killed")

        hooks = self.hooks(bucket, generate=2)
        assert serve(bucket, "ann", Work(each=die), hooks=hooks, request_id="hard")["code"] == "OK"
        assert len(listed(bucket, keys.quota_slots(day_of(NOON), "ann", "generate"))) == 1
        assert serve(bucket, "ann", hooks=hooks)["code"] == "OK"
        again = Invocation(bucket, Work(), QUICK, "w2", Shutdown(1.0), hooks)
        assert again.receive(ObjectCreated("requests/generate/hard.json")) is Outcome.ALREADY
        assert len(listed(bucket, keys.quota_slots(day_of(NOON), "ann", "generate"))) == 2

    @pytest.mark.parametrize(("first", "later"), [(NOON, NOON + DAY / 2), (NOON + DAY / 2, NOON + DAY / 2 - 1)])
    def test_an_attempt_after_midnight_or_with_a_clock_before_it_has_the_first_ones_slot(self, bucket, first, later):
        times = iter([first, *[later] * 9])

        def die(workspace):
            if workspace.attempt == 1:
                raise AttemptFailed("killed")

        hooks = [Quota(bucket, QuotaSettings(generate=1), lambda: next(times))]
        assert serve(bucket, "ann", Work(each=die), hooks=hooks)["code"] == "OK"
        assert listed(bucket) == [keys.quota_slot(day_of(first), "ann", "generate", 1)]

    def test_a_worker_that_died_between_claim_and_slot_lets_the_next_one_take_it(self, bucket):
        class Dies(Quota):
            def admit(self, attempt):
                if attempt.number == 1:
                    raise AttemptFailed("killed")
                super().admit(attempt)

        assert serve(bucket, "ann", hooks=[Dies(bucket, QuotaSettings(generate=1))])["code"] == "OK"
        assert len(listed(bucket)) == 1

    def test_of_workers_that_want_the_last_slot_at_once_one_gets_it(self, tmp_path):
        bucket = FolderBucket(tmp_path)
        bucket.put("photos/p.jpg", b"photo")
        together = threading.Barrier(6)

        class Together(Quota):
            def _take(self, attempt, user_id):
                together.wait(20)
                return super()._take(attempt, user_id)

        codes = []

        def one(number):
            hooks = [Together(bucket, QuotaSettings(generate=2), lambda: NOON)]
            codes.append(serve(bucket, "ann", hooks=hooks, request_id=f"n{number}", owner=f"w{number}")["code"])

        threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(codes) == ["OK", "OK", "error", "error", "error", "error"]

    def test_a_portrait_of_two_takes_none_where_one_of_them_has_none_left(self, bucket):
        hooks = self.hooks(bucket, generate=1)
        assert serve(bucket, "bob", hooks=hooks)["code"] == "OK"
        assert serve(bucket, ["ann", "bob"], hooks=hooks)["data"]["error"]["type"] == "QuotaExceeded"
        assert listed(bucket, keys.quota_slots(day_of(NOON), "ann", "generate")) == []
        assert serve(bucket, "ann", hooks=hooks)["code"] == "OK"

    def test_a_portrait_of_two_that_is_refused_returns_the_slot_that_a_dead_worker_took_for_one_of_them(self, bucket):
        class Dies(Quota):
            def _take(self, attempt, user_id):
                if attempt.number == 1 and user_id == "bob":
                    raise AttemptFailed("killed")
                return super()._take(attempt, user_id)

        assert serve(bucket, "bob", hooks=self.hooks(bucket, generate=1))["code"] == "OK"
        hooks = [Dies(bucket, QuotaSettings(generate=1), lambda: NOON)]
        assert serve(bucket, ["ann", "bob"], hooks=hooks)["data"]["error"]["type"] == "QuotaExceeded"
        assert listed(bucket, keys.quota_slots(day_of(NOON), "ann", "generate")) == []

    def test_of_seconds_ends_with_the_seconds_of_today_and_stops_nothing_that_runs(self, bucket):
        hooks = self.hooks(bucket, device_seconds=60)

        def used(seconds, moment):
            told = {"usage": Meter().usage(seconds, ["ann"], moment, answered=True)}
            for one in records_of("train", success(f"r{next(NUMBERS)}", "success", told)):
                bucket.put(one.key, encode({}))

        used(900, NOON - DAY)
        used(59, NOON - 60)
        assert serve(bucket, "ann", hooks=hooks)["code"] == "OK"
        used(1.5, NOON)
        answer = serve(bucket, "ann", hooks=hooks)
        assert answer["data"]["error"]["type"] == "QuotaExceeded"
        assert "of 60 seconds of a device today" in answer["message"]
        assert serve(bucket, "bob", hooks=hooks)["code"] == "OK"


def test_a_deadline_counts_what_is_saved_at_that_moment():
    """It is answered in another thread than the one that saves: a dictionary that grows cannot be read."""

    class Grows(dict):
        def items(self):
            for one in super().items():
                self[f"{len(self)}.png"] = 1
                yield one

    meter = Meter()
    meter.saved = Grows({"0.png": 1})
    assert meter.usage(1.0, [], NOON, answered=True)["bytes_kept"] == 1
