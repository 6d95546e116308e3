"""What a worker writes and deletes is what its role of the AWS template lets it, and nothing else is asked for."""

from fnmatch import fnmatchcase

import pytest

from shared.buckets import MemoryBucket
from shared.buckets.conditional_writes import require_conditions
from shared.contract.function import Answer, AttemptFailed
from shared.contract.manifests import encode, success
from shared.contract.usage import Meter
from shared.events import ObjectCreated
from shared.lifecycle import manifest_reader
from shared.lifecycle.invocation import Invocation, Outcome
from shared.lifecycle.quota import Quota
from shared.lifecycle.shutdown import Shutdown
from shared.lifecycle.usage_records import UsageRecords
from shared.notify.bucket import BucketNotifier
from shared.notify.delivery import Delivery
from shared.notify.outbox import Outbox
from shared.observability.failing_keys import Failures
from shared.runtime.presence import Presence
from shared.settings import QuotaSettings
from tests.deployment import FUNCTIONS
from tests.echo import QUICK
from tests.functional.test_template import FUNCTION, filled

OF_ALL = {"Bucket": "bucket", "AWS::Partition": "aws"}


class Recorded(MemoryBucket):
    """A bucket that remembers what is written and deleted."""

    def __init__(self) -> None:
        super().__init__()
        self.done: set[tuple[str, str]] = set()

    def put(self, key, data):
        self.done.add(("s3:PutObject", key))
        super().put(key, data)

    def put_if_absent(self, key, data):
        self.done.add(("s3:PutObject", key))
        return super().put_if_absent(key, data)

    def delete(self, key):
        self.done.add(("s3:DeleteObject", key))
        super().delete(key)


class Work:
    """Leaves what the functions leave; train and generate point to a user's model, as generate does for references."""

    def __init__(self, name):
        self.name = name

    def answer(self, body, workspace):
        user = body["configure"]["user_id"]
        workspace.save("scratch/checkpoint", b"half")
        if workspace.request_id == "dies" and workspace.attempt == 1:
            raise AttemptFailed("killed")
        return Answer({"user_id": user, "artifact": workspace.save(f"people/{user}/0.png", b"face")})

    def evict(self, exists):
        """Nothing is kept."""

    def pointers(self, data):
        return {} if self.name == "check" else {f"users/{data['user_id']}/model.json": {"artifact": data["artifact"]}}


def serve(bucket, function, request_id, owner="w", **more):
    key = f"requests/{function}/{request_id}.json"
    body = {"request_id": request_id, "configure": {"user_id": ["bob", "ann"] if more.pop("both", False) else "ann"}}
    MemoryBucket.put(bucket, key, encode(body | more))
    outbox = Delivery(Outbox(bucket, []), 60.0)
    hooks = [UsageRecords(bucket), Quota(bucket, QuotaSettings(**{function: 6})), BucketNotifier(bucket), outbox]
    worker = Invocation(bucket, Work(function), QUICK, owner, Shutdown(1.0), hooks)
    return worker, worker.receive(ObjectCreated(key))


@pytest.fixture(scope="module", params=FUNCTIONS)
def done(request):
    """Return what a worker of each function does to a bucket over all that can happen to its requests."""
    function, bucket = request.param, Recorded()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_reader, "COUNTED_BYTES", 2000)
        require_conditions(bucket)
        presence = Presence(bucket, function, "w", 60.0)
        presence.begin()
        for request_id in ("first", "second", "dies"):
            assert serve(bucket, function, request_id)[1] is Outcome.ANSWERED
        assert serve(bucket, function, "large", images=["x" * 3000])[1] is Outcome.ANSWERED
        key = f"requests/{function}/bad.json"
        MemoryBucket.put(bucket, key, b"no json")
        worker, _ = serve(bucket, function, "first", images=["another body"])
        assert worker.receive(ObjectCreated(key)) is Outcome.ANSWERED
        ready = ObjectCreated(f"requests/{function}/ready.json")
        MemoryBucket.put(bucket, ready.key, b'{"request_id": "ready", "configure": {"user_id": "ann"}}')
        worker.prepare(ready)
        MemoryBucket.delete(bucket, ready.key)
        assert worker.receive(ready) is Outcome.IGNORED, "its claim is deleted again"
        MemoryBucket.put(bucket, f"progress/{function}/first.json", b"{}")
        worker.tidy()
        failures = Failures(bucket, function, f"requests/{function}/")
        failures.add(key, ValueError("damaged"))
        failures.remove(key)
        Delivery(Outbox(bucket, []), 60.0).withdrawn(function, "first")
        for number in range(4):
            serve(bucket, function, f"more{number}")
        serve(bucket, function, "exceeded", both=True)  # ann has no slot left, so that of bob is given back
        used = {"usage": Meter().usage(1.0, ["ann"], 2e9, answered=True)}
        UsageRecords(bucket).committed(function, {}, success("forgotten", "success", used))
        presence.end()
    return function, bucket.done


def allowed(function, action):
    """Return the patterns of keys that the function's role may use an action on."""
    given = OF_ALL | {"Function": function}
    for statement in FUNCTION["Resources"]["BucketAccess"]["Properties"]["PolicyDocument"]["Statement"]:
        actions = statement["Action"]
        if action in (actions if isinstance(actions, list) else [actions]):
            for resource in statement["Resource"] if isinstance(statement["Resource"], list) else []:
                if "Fn::If" in resource:
                    condition, resource, _ = resource["Fn::If"]
                    if not holds(condition, function):
                        continue
                yield str(filled(resource, given)).partition(":::bucket/")[2]


def holds(condition, function):
    """Return whether a condition on the parameter Function is true."""
    told = FUNCTION["Conditions"][condition]
    if "Fn::Or" in told:
        return any(one["Fn::Equals"][1] == function for one in told["Fn::Or"])
    return told["Fn::Equals"][1] == function


def test_a_worker_may_do_what_it_does(done):
    function, did = done
    refused = sorted(
        f"{action} {key}"
        for action, key in did
        if not any(fnmatchcase(key, pattern) for pattern in allowed(function, action))
    )
    assert refused == []


def test_all_that_can_happen_has_happened(done):
    """So that the test before is not empty: each root that its role may write to was written to."""
    function, did = done
    for action in ("s3:PutObject", "s3:DeleteObject"):
        for pattern in allowed(function, action):
            assert any(fnmatchcase(key, pattern) for one, key in did if one == action), f"{action} {pattern}"
