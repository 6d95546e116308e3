"""The REST interface of photog serve: plain JSON, server-sent events, CORS, and its page."""

import gzip
import json
import threading

import pytest

from shared.buckets import open_bucket
from shared.buckets.aws_clients import S3Settings
from shared.contract import keys
from shared.contract.manifests import CONTRACT, encode, success
from shared.operations.status import history
from shared.settings import Limits
from tests.cloud import REGION
from tests.contract import require_contract
from tests.echo import until
from tests.serving import Served

BODY = {"request_id": "r1", "images": ["a.jpg"], "metadata": {"order": "A-1007"}}
TRAIN = {"request_id": "t", "images": ["a"], "configure": {"user_id": "none"}}
ORIGIN = "https://shop.example"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    return Served(tmp_path_factory.mktemp("rest"), cors_origins=[ORIGIN])


@pytest.fixture(scope="module")
def client(served):
    with served.running() as running:
        yield running


def send(client, number: int, **more):
    return client.post("/v1/check", json=BODY | {"request_id": f"r{number}"} | more)


def test_a_request_is_accepted_and_its_answer_is_read(served, client):
    accepted = send(client, 1)
    assert accepted.status_code == 202
    assert accepted.json() == {"function": "check", "request_id": "r1"}
    place = accepted.headers["Location"]
    waiting = client.get(place)
    assert waiting.status_code == 202
    require_contract("progress", waiting.json())
    assert waiting.json()["data"]["stage"] == "queued"
    served.work()
    answer = client.get(place)
    assert (answer.status_code, answer.json()["code"], answer.json()["contract"]) == (200, "OK", CONTRACT)
    assert answer.json()["metadata"] == BODY["metadata"]
    assert send(client, 1).status_code == 202, "the same request again is the same request"


def test_a_get_that_waits_is_answered_when_there_is_an_answer(served, client):
    place = send(client, 2).headers["Location"]
    worker = threading.Timer(0.2, served.work)
    worker.start()
    assert client.get(place, params={"wait": 30}).status_code == 200
    worker.join()
    assert client.get(place, params={"wait": 61}).status_code == 422


def test_progress_comes_as_server_sent_events_and_the_answer_ends_them(served, client):
    go_on = threading.Event()

    def work(body, workspace):
        workspace.progress("check", 1, 3)
        assert go_on.wait(20)

    place = send(client, 3).headers["Location"]
    served.echo._work = work
    worker = threading.Thread(target=served.work)
    worker.start()
    until(lambda: client.get(place).json()["data"]["stage"] == "check")
    threading.Timer(0.6, go_on.set).start()
    stream = client.get(f"{place}/events")
    worker.join()
    served.echo._work = lambda body, workspace: None
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    events = [dict(line.split(": ", 1) for line in one.split("\n")) for one in stream.text.strip().split("\n\n")]
    assert [one["event"] for one in events] == ["progress", "answer"]
    progress, answer = (json.loads(one["data"]) for one in events)
    require_contract("progress", progress)
    assert (progress["data"]["step"], answer["code"]) == (1, "OK")


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "field"),
    [
        ("/v1/check", {"images": []}, 422, "InvalidManifest", "request_id"),
        ("/v1/check", {"request_id": "x", "images": []}, 422, "InvalidField", "images"),
        ("/v1/check", BODY | {"images": ["other.jpg"]}, 409, "ConflictingRequest", "request_id"),
        ("/v1/check", "x" * 100_001, 413, "ManifestTooLarge", None),
        ("/v1/train", TRAIN, 422, "InvalidField", "configure.user_id"),
        ("/v1/check", BODY | {"request_id": "s", "strict": True, "imgs": []}, 422, "InvalidField", "imgs"),
    ],
)
def test_a_wrong_request_is_refused_in_the_contracts_words_and_leaves_nothing(
    client, served, path, body, status, kind, field
):
    send(client, 1)
    before = [info.key for info in served.bucket.list("requests/")]
    refused = client.post(path, json=body)
    assert refused.status_code == status, refused.text
    error = refused.json()["error"]
    assert (error["type"], error.get("field"), error["retryable"]) == (kind, field, False)
    assert refused.json()["message"]
    assert [info.key for info in served.bucket.list("requests/")] == before


@pytest.mark.parametrize("function", ["train", "generate"])
def test_what_was_measured_in_faces_stays_in_the_bucket(served, client, function):
    """Also of answers that earlier releases have written; their close-ups are named as before."""
    face = {"key": "results/x.png", "landmarks": [[1.0, 2.0]] * 68, "box": [0, 0, 1, 1], "embedding": [0.5] * 128}
    records = {"references": [face]} if function == "train" else {"kept": [{"user_id": "zoe", "references": [face]}]}
    data = {"cost_time": 1.0, "user_id": "zoe", "faces": [{"box": [1, 2, 3, 4]}]} | records
    served.bucket.put(keys.request(function, "old"), encode({"request_id": "old"}))
    served.bucket.put(keys.result(function, "old"), encode(success("old", "success", data)))
    place = f"/v1/{function}/old"
    for text in (client.get(place).text, client.get(f"{place}/events").text, client.delete(place).text):
        assert '"cost_time"' in text
        assert not any(one in text for one in ("embedding", "landmarks", "0.5"))
        assert "results/x.png" in text
    assert client.get(place).json()["data"]["faces"] == data["faces"]
    for unnamed in ("result.json", "/result.json", "a1/scratch/checkpoint.safetensors"):
        served.bucket.put(f"results/{function}/old/a1/scratch/checkpoint.safetensors", b"0.5")
        assert client.get(f"{place}/files/{unnamed}").status_code == 404, "the answer names no such file"
    shown = history(served.bucket, "old", Limits())[function]["answer"]
    assert "embedding" not in str(shown)
    assert shown["data"]["faces"] == data["faces"]


def test_a_request_is_canceled_and_a_users_requests_are_listed(client):
    for number, user in ((1, "ann"), (2, "bob")):
        body = {"request_id": f"p{number}", "template_image": "t.jpg", "configure": {"user_id": user}}
        assert client.post("/v1/generate", json=body).status_code == 202
    canceled = client.delete("/v1/generate/p1")
    require_contract("generate.answer", canceled.json())
    assert canceled.json()["data"]["error"]["type"] == "RequestCanceled"
    listed = client.get("/v1/requests", params={"user_id": "ann"}).json()
    assert listed == {
        "user_id": "ann",
        "requests": [{"function": "generate", "request_id": "p1", "state": "error"}],
    }


def test_a_look_at_a_request_reads_no_others(served, client, monkeypatch):
    place = send(client, 5).headers["Location"]
    listed = []
    monkeypatch.setattr(served.bucket, "list", lambda prefix, after="": iter(listed.append(prefix) or ()))
    assert client.get(place).status_code == 202
    assert client.get("/v1/check/nobodys").status_code == 404
    assert "requests/check/" not in listed
    assert "claims/check/nobodys/" in listed


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/check/nobodys", 404),
        ("DELETE", "/v1/check/nobodys", 404),
        ("GET", "/v1/check/nobodys/events", 404),
        ("GET", "/v1/paint/r1", 422),
        ("GET", "/v1/check/.hidden", 422),
        ("GET", "/v1/check/r1/files/a1/none.png", 404),
        ("GET", "/v1/check/r1/files/%2e%2e/%2e%2e/r2/result.json", 404),
        ("POST", "/v1/uploads", 501),
    ],
)
def test_what_is_not_there_is_said_so(client, method, path, status):
    more = {"json": {}} if method == "POST" else {}
    refused = client.request(method, path, **more)
    assert refused.status_code == status
    assert {"type", "retryable"} <= set(refused.json()["error"])
    assert refused.json()["message"]


PICTURE = b"\x89PNG\r\n\x1a\n of a person"  # what begins like one: nothing decodes it here


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"a letter to you", "this is text, not a picture"), (b"%PDF-1.7", "a pdf is a document"),
     (bytes(range(1, 99)), "the file is not a picture in a known format")],
)  # fmt: skip
def test_bytes_that_are_no_pictures_are_refused_with_what_they_are(served, client, content, told):
    before = list(served.bucket.list(keys.PHOTOS))
    refused = client.post("/v1/photos", content=content, headers={"Content-Type": "image/jpeg"})
    assert (refused.status_code, refused.json()["error"]["type"]) == (422, "PhotoUndecodable")
    assert told in refused.json()["message"]
    assert list(served.bucket.list(keys.PHOTOS)) == before
    assert client.post("/v1/photos", content=gzip.compress(PICTURE)).status_code == 201, "it is unpacked when read"


def test_pictures_go_in_by_their_bytes_and_files_of_answers_come_out(served, client):
    stored = client.post("/v1/photos", content=PICTURE, headers={"Content-Type": "image/png"})
    assert stored.status_code == 201
    key = stored.json()["key"]
    assert key.startswith("photos/")
    assert key.endswith(".png")
    assert served.bucket.get(key) == PICTURE
    for kind, content in (("multipart/form-data; boundary=x", b"--x"), ("IMAGE/PNG", b"")):
        refused = client.post("/v1/photos", content=content, headers={"Content-Type": kind})
        assert refused.status_code == 422
        assert "--data-binary" in refused.json()["message"]
    mine = client.post("/v1/photos", content=PICTURE + b"me", params={"user_id": "ann", "suffix": ".webp"}).json()[
        "key"
    ]
    assert mine.startswith("users/ann/photos/")
    for wrong in ({"user_id": "../x"}, {"user_id": "none"}, {"suffix": "/../x"}):
        assert client.post("/v1/photos", content=PICTURE, params=wrong).status_code == 422
    place = send(client, 4).headers["Location"]
    served.work()
    artifact = client.get(place).json()["data"]["artifact"].removeprefix("results/check/r4/")
    got = client.get(f"{place}/files/{artifact}")
    assert (got.content, got.headers["Content-Length"]) == (b"echo", "4")
    served.bucket.put("results/check/r4/a1/empty", b"")
    assert client.get(f"{place}/files/a1/empty").content == b""


def test_every_call_needs_a_token_of_its_function(tmp_path):
    tokens = {"photog_check": "c", "photog_train_pmml": "t"}
    with Served(tmp_path, tokens=tokens).running() as client:
        calls = [
            ("POST", "/v1/check"),
            ("GET", "/v1/check/r"),
            ("DELETE", "/v1/check/r"),
            ("GET", "/v1/check/r/events"),
        ]
        calls += [("GET", "/v1/requests?user_id=a"), ("POST", "/v1/photos"), ("GET", "/v1/check/r/files/a")]
        for method, path in calls:
            for token in ("wrong", "Bearer t", ""):
                refused = client.request(method, path, headers={"Authorization": token})
                assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer"), (path, token)
        assert client.post("/v1/check", json=BODY, headers={"Authorization": "Bearer c"}).status_code == 202


def test_no_body_is_read_before_its_token(client):
    assert client.post("/v1/uploads", content=b"not json", headers={"Authorization": ""}).status_code == 401
    refused = client.post("/v1/uploads", content=b" " * 5000)
    assert (refused.status_code, refused.json()["error"]["type"]) == (413, "ManifestTooLarge")
    for wrong in (b"[]", b"not json", b'{"seconds": "soon"}'):
        refused = client.post("/v1/uploads", content=wrong)
        assert (refused.status_code, refused.json()["error"]["type"]) == (422, "InvalidField"), refused.text


def test_a_picture_that_is_sent_where_a_url_is_signed_is_told_where_it_goes(client):
    for body, kind in ((b"\xff\xd8" * 9000, "image/jpeg"), (b"\xff\xd8", "application/octet-stream")):
        refused = client.post("/v1/uploads", content=body, headers={"Content-Type": kind})
        assert (refused.status_code, refused.json()["error"]["field"]) == (422, "body")
        assert "a picture's bytes go to POST /v1/photos" in refused.json()["message"]
    for kind in ("application/x-www-form-urlencoded", "text/plain"):
        wished = client.post("/v1/uploads", content=b'{"suffix": ".png"}', headers={"Content-Type": kind})
        assert wished.status_code == 501, "it is understood, and a bucket in memory signs nothing"
    assert client.post("/v1/uploads").status_code == 501


def test_what_can_be_no_file_and_no_user_is_the_callers_fault_and_nothing_to_try_again(client):
    for name in ("a//b", "a1/", "", "x" * 2000, "%00", "%2e%2e/r1/result.json"):
        assert client.get(f"/v1/check/r1/files/{name}").status_code == 404, name
    for user in ("../x", "none", ""):
        refused = client.get("/v1/requests", params={"user_id": user})
        assert (refused.status_code, refused.json()["error"]["field"]) == (422, "user_id")


def test_a_stream_of_a_request_that_is_forgotten_ends(served, client):
    place = send(client, 77).headers["Location"]
    timer = threading.Timer(0.3, served.bucket.delete, ["requests/check/r77.json"])
    timer.start()
    assert client.get(f"{place}/events").text.count("event: ") == 1
    timer.join()
    assert client.get(f"{place}/events").status_code == 404


def test_a_page_of_a_named_origin_may_call_and_no_other(client):
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for origin, allowed in ((ORIGIN, ORIGIN), ("https://evil.example", None)):
        told = client.options("/v1/check", headers={"Origin": origin, **asked}).headers
        assert told.get("Access-Control-Allow-Origin") == allowed
    simple = client.get("/v1/check/r1", headers={"Origin": ORIGIN})
    assert simple.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_without_the_setting_no_page_may_call(tmp_path):
    with Served(tmp_path).running() as client:
        assert "Access-Control-Allow-Origin" not in client.get("/healthz", headers={"Origin": ORIGIN}).headers


def test_the_page_and_the_document_have_the_rest_calls(client):
    page, document = client.get("/docs").text, client.get("/openapi.json").json()
    for path in ("/v1/{function}", "/v1/{function}/{request_id}/events", "/v1/photos", "/v1/uploads", "/v1/requests"):
        assert path in document["paths"]
        assert path in page
    assert "http://" not in page.replace("http://testserver", "")
    assert "src=" not in page
    assert document["info"]["version"] == CONTRACT


def test_a_signed_upload_goes_to_the_store(cloud, tmp_path):
    served = Served(tmp_path)
    served.bucket = open_bucket(f"s3://{cloud.bucket()}", S3Settings(endpoint=cloud.endpoint, region=REGION))
    with served.running() as client:
        signed = client.post("/v1/uploads", json={"user_id": "ann", "suffix": ".png", "seconds": 60}).json()
        assert signed["method"] == "PUT"
        assert signed["key"].startswith("users/ann/photos/")
        assert client.post("/v1/uploads", json={"seconds": 0}).status_code == 422
