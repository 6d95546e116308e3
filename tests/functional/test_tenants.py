"""Two tenants below prefixes of one bucket: whatever is done for one leaves the other as it is."""

import json

import pytest
from typer.testing import CliRunner

from shared.buckets import open_bucket
from shared.cli import app
from shared.events import ObjectCreated
from shared.lifecycle.invocation import Outcome
from shared.lifecycle.quota import Quota
from shared.lifecycle.usage_records import UsageRecords
from shared.settings import QuotaSettings, Settings
from tests.echo import Echo, invocation


@pytest.fixture
def tenants(cloud, monkeypatch):
    """Return the buckets of two tenants, one of whose prefixes begins like the other."""
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    store = cloud.bucket()
    return [open_bucket(f"s3://{store}/{name}", Settings().s3) for name in ("acme", "acme-labs")]


def serve(bucket, request_id="r1", images=("photos/1.jpg",), echo=None, **quota):
    """Let a worker of this tenant answer a request that names its user `u`; return the answer's code."""
    body = {"request_id": request_id, "images": list(images), "configure": {"user_id": "u"}}
    key = f"requests/check/{request_id}.json"
    bucket.put("photos/1.jpg", bucket.address.encode())
    bucket.put(key, json.dumps(body).encode())
    hooks = [UsageRecords(bucket), Quota(bucket, QuotaSettings(**quota))]
    outcome = invocation(bucket, echo or Echo(), hooks=hooks).receive(ObjectCreated(key))
    assert outcome is Outcome.ANSWERED
    return json.loads(bucket.get(f"results/check/{request_id}/result.json"))["code"]


def listed(bucket):
    return {info.key: info.etag for info in bucket.list("")}


def run(*words):
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_same_ids_and_users_of_two_tenants_are_two_of_each(tenants):
    fetched = []
    look = Echo(lambda body, workspace: fetched.append(workspace.fetch(body["images"])[0]))
    for bucket in tenants:
        assert serve(bucket, echo=look, check=1) == "OK"
    assert fetched == [bucket.address.encode() for bucket in tenants]
    everything = open_bucket(tenants[0].address.removesuffix("/acme"), Settings().s3)
    assert {info.key.split("/")[0] for info in everything.list("")} == {"acme", "acme-labs"}
    assert serve(tenants[0], "r2", check=1) == "error", "a quota is of one tenant's user"
    assert serve(tenants[1], "r2", check=2) == "OK"


def test_forgetting_pruning_and_usage_of_one_tenant_leave_the_other(tenants):
    for bucket in tenants:
        serve(bucket)
    others = listed(tenants[1])
    used = json.loads(run("usage", tenants[0].address, "--json"))
    assert used["users"]["u"]["requests"] == {"check": 1}
    assert "r1" in run("status", tenants[0].address, "r1")
    run("forget", tenants[0].address, "u")
    assert listed(tenants[0]) == {}
    assert listed(tenants[1]) == others
    serve(tenants[0])
    run("prune", tenants[0].address, "--older", "1h")
    assert listed(tenants[1]) == others


@pytest.mark.parametrize("above", ["../", "/", ""])
def test_no_key_of_a_request_leads_to_the_other_tenant(tenants, above):
    for bucket in tenants:
        bucket.put("photos/1.jpg", b"photo")
    fetched = []
    look = Echo(lambda body, workspace: fetched.extend(workspace.fetch(body["images"])))
    store = tenants[0].address.split("/")[2]
    serve(tenants[0], images=[f"{above}acme-labs/photos/1.jpg", f"s3://{store}/acme-labs/photos/1.jpg"], echo=look)
    assert len(fetched) == 2
    assert not [one for one in fetched if isinstance(one, bytes)]
