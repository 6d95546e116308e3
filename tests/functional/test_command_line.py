"""The command line as other programs use it: stdout, stderr, exit status."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from shared.buckets import FolderBucket
from shared.cli import app
from tests import pictures
from tests.toy_onnx import model_folder

ROOT = Path(__file__).parents[2]


def photog(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run the program as a process."""
    command = [sys.executable, "-m", "shared.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)


def here(*arguments: object) -> Result:
    """Run the program in this process, which has already loaded what takes it seconds to load."""
    return CliRunner().invoke(app, [*map(str, arguments)])


def put_event(folder: Path, key: str) -> Path:
    """Write a file with the event of a put object."""
    record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": key, "size": 60}}}
    path = folder / "event.json"
    path.write_text(json.dumps({"Records": [record]}))
    return path


@pytest.fixture
def bucket(tmp_path: Path) -> FolderBucket:
    return FolderBucket(tmp_path / "bucket")


def test_doctor_reports_versions_models_and_conditional_writes(bucket):
    done = here("doctor", bucket.root, "--json", "--no-load")
    report = json.loads(done.stdout)
    assert done.exit_code == 0
    assert report["bucket"] == {"address": bucket.address, "conditional_writes": True}
    assert sorted(report["functions"]) == ["check", "generate", "train"]
    assert report["packages"]["dlib-bin"]
    assert report["diffusion"]["model"] == "portrait-tiny"
    assert list(bucket.list("probes/")) == []


def test_doctor_tells_each_part_as_it_is_known(monkeypatch):
    told = []
    monkeypatch.setattr("shared.cli.doctor.typer.echo", lambda line, err=False: told.append(line))
    monkeypatch.setattr("shared.cli.doctor._faces", lambda settings: {"engine": f"after {len(told)} lines"})
    monkeypatch.setattr("shared.cli.doctor._diffusion", lambda settings: {"model": f"after {len(told)} lines"})
    here("doctor", "--no-load")
    at = {part: told.index(part) for part in ("packages", "faces", "diffusion")}
    assert told[at["faces"] - 1] == "photog: loading the face engine mesh"
    assert told[at["faces"] + 1].endswith(f"after {at['faces']} lines")
    assert told[at["diffusion"] + 1].endswith(f"after {at['diffusion']} lines")
    assert at["packages"] < at["faces"] < at["diffusion"], "what comes later is not waited for"


def test_doctor_says_whether_the_face_engine_may_be_used_commercially(monkeypatch):
    for engine, told in (("mesh", "usable commercially"), ("dlib", "non-commercial")):
        monkeypatch.setenv("PHOTOG_FACES__ENGINE", engine)
        report = json.loads(here("doctor", "--json", "--no-load").stdout)
        assert report["faces"]["engine"] == engine
        assert report["licenses"]["faces"].startswith(told)


def test_doctor_says_what_is_missing_and_exits_with_1(monkeypatch, tmp_path):
    monkeypatch.setenv("PHOTOG_MODEL__PATH", str(tmp_path / "nowhere"))
    done = here("doctor", "--no-load")
    assert done.exit_code == 1
    assert "PHOTOG_MODEL__PATH" in done.stdout


def test_doctor_loads_each_function_as_its_worker_does_and_exits_with_1_if_one_cannot_start(monkeypatch, tmp_path):
    monkeypatch.setattr("shared.cli.doctor.installed_functions", lambda: ["check", "generate"])
    damaged = tmp_path / "people.onnx"
    damaged.write_bytes(b"no network")
    monkeypatch.setenv("PHOTOG_ENHANCE__PEOPLE_NETWORK", str(damaged))
    done = here("doctor", "--json")
    assert [line for line in done.stderr.splitlines() if line.startswith("photog: ")] == [
        "photog: loading the face engine mesh",
        "photog: importing torch and diffusers, and planning the memory of portrait-tiny",
        "photog: loading check, as its worker does", "photog: loading generate, as its worker does",
    ]  # fmt: skip
    workers = json.loads(done.stdout)["workers"]
    assert workers["check"].startswith("starts in ")
    assert str(damaged) in workers["generate"]["missing"]
    assert done.exit_code == 1


def test_doctor_shows_the_face_engine_with_the_provider_really_used(monkeypatch, tmp_path):
    folder = model_folder(tmp_path / "toy")
    monkeypatch.setenv("PHOTOG_FACES__ENGINE", "insightface")
    monkeypatch.setenv("PHOTOG_FACES__MODEL", str(folder))
    monkeypatch.setenv("PHOTOG_FACES__PROVIDER", "cpu")
    faces = json.loads(here("doctor", "--json", "--no-load").stdout)["faces"]
    assert faces == {"engine": "insightface/toy", "folder": str(folder), "provider": "CPUExecutionProvider"}
    monkeypatch.setenv("PHOTOG_FACES__MODEL", str(tmp_path / "nowhere"))
    done = here("doctor", "--no-load")
    assert done.exit_code == 1
    assert "buffalo_l.zip" in done.stdout


def test_a_model_that_is_missing_is_told_in_one_line(monkeypatch, tmp_path, bucket):
    monkeypatch.setenv("PHOTOG_FACES__ENGINE", "insightface")
    monkeypatch.setenv("PHOTOG_FACES__MODEL", str(tmp_path / "nowhere"))
    bucket.put("requests/check/r.json", b'{"request_id": "r", "images": ["photos/a.jpg"]}')
    done = here("invoke", "check", bucket.root, put_event(tmp_path, "requests/check/r.json"))
    assert done.exit_code == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("photog: check cannot be loaded: there is no model folder")
    assert bucket.head("results/check/r/result.json") is None, "it is not the request's fault"


@pytest.mark.parametrize("value", ["many", ""])
@pytest.mark.parametrize("verb", ["status", "up", "sweep", "doctor"])
def test_a_setting_that_is_wrong_is_told_by_name_in_one_line(monkeypatch, bucket, verb, value):
    monkeypatch.setenv("PHOTOG_LEASE__ATTEMPTS", value)
    done = here(verb, bucket.root)
    assert done.exit_code == 2
    assert done.stderr.startswith("photog: PHOTOG_LEASE__ATTEMPTS: ")
    assert done.stderr.count("\n") == 1


def test_a_setting_that_is_no_json_is_told_in_one_line(monkeypatch, bucket):
    monkeypatch.setenv("PHOTOG_BUCKETS", "{mine: yours}")
    done = here("status", bucket.root)
    assert done.exit_code == 2
    assert done.stderr.startswith("photog: ")
    assert "buckets" in done.stderr
    assert done.stderr.count("\n") == 1


def test_submit_drops_the_manifest_and_the_same_one_twice_is_fine(bucket, tmp_path):
    manifest = tmp_path / "m.json"
    manifest.write_text('{"request_id": 7, "images": ["x.jpg"]}')
    for _ in range(2):
        done = photog("submit", "check", bucket.root, manifest)
        assert (done.returncode, json.loads(done.stdout)) == (0, {"request_id": "7"})
    manifest.write_text('{"request_id": 7, "images": ["y.jpg"]}')
    done = photog("submit", "check", bucket.root, manifest)
    assert done.returncode == 2
    assert "another body" in done.stderr


def test_invoke_serves_an_event_and_status_tells_of_it(bucket, tmp_path):
    bucket.put("photos/a.jpg", pictures.jpeg(pictures.astronaut()))
    bucket.put("requests/check/my photo+1.json", b'{"request_id": 12345, "images": ["photos/a.jpg"]}')
    event = put_event(tmp_path, "requests/check/my+photo%2B1.json")
    done = photog("invoke", "check", bucket.root, event)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"outcomes": {"requests/check/my photo+1.json": "answered"}}
    status = photog("status", bucket.root, "--json")
    assert json.loads(status.stdout)["check"] == {
        "waiting": [],
        "running": [],
        "ok": ["12345"],
        "error": [],
        "failing": [],
    }
    told = here("status", bucket.root, "12345").stdout.splitlines()
    assert told[0].startswith("check     OK: ")
    assert any(line.startswith("  attempt 1 by ") for line in told)
    assert not any("landmarks" in line or "check_results" in line for line in told)
    history = json.loads(here("status", bucket.root, "12345", "--json").stdout)["check"]
    assert history["answer"]["data"]["check_results"][0]["code"] == 1
    assert history["claims"][0]["attempt"] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("submit", "paint", "b", "m.json"),
        ("submit", "check", "b", "no-such-file.json"),
        ("status", "b", "unknown-request"),
        ("portrait", "no-such-photo.jpg", "--template", "t.jpg", "--bucket", "b"),
        ("invoke", "check", "b", "no-such-event.json"),
        ("train", "b", "a.jpg"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_why(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = here(*arguments)
    assert done.exit_code == 2
    assert done.stderr.strip()
    assert not done.stdout.strip()


@pytest.mark.parametrize("user", [".", "..", "a/b", "", "a b"])
def test_an_id_that_nobody_can_have_is_refused_before_anything_is_sent(bucket, tmp_path, user):
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"x")
    for arguments in (
        ("train", bucket.root, photo, "--user", user),
        ("generate", bucket.root, "--template", photo, "--user", "none", "--user", user),
        ("portrait", photo, "--template", photo, "--user", user, "--bucket", bucket.root),
        ("forget", bucket.root, user),
    ):
        done = here(*arguments)
        assert done.exit_code == 2
        assert f"{user!r} is not a user id; it must be 1 to 64 of A-Z a-z 0-9" in done.stderr
    assert list(bucket.list("")) == []


def test_submit_takes_a_manifest_of_powershell_and_says_what_stands_twice(bucket, tmp_path):
    file = tmp_path / "r.json"
    file.write_bytes('{"request_id": 1, "images": ["a"], "images": ["b"]}'.encode("utf-16"))
    done = here("submit", "check", bucket.root, file)
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"request_id": "1"})
    assert "images appears more than once" in done.stderr
    file.write_bytes(b'{"request_id": "r2", "images": ["caf\xe9.jpg"]}')
    done = here("submit", "check", bucket.root, file)
    assert done.exit_code == 2
    assert "save it as UTF-8" in done.stderr
    assert [info.key for info in bucket.list("requests/")] == ["requests/check/1.json"]


def test_status_says_once_what_is_not_read_and_why(bucket):
    bucket.put("requests/47.json", b"{}")
    bucket.put("requests/check/46.json.txt", b"{}")
    lines = here("status", bucket.root).stdout.splitlines()
    assert not any("unread" in line for line in lines[:3]), "nobody knows whose requests/47.json may be"
    assert lines[3] == "not read  2"
    assert [line.strip().partition(": ")[0] for line in lines[4:]] == ["requests/check/46.json.txt", "requests/47.json"]


def test_a_setting_that_should_be_an_object_is_told_without_the_names_of_classes(monkeypatch, bucket):
    monkeypatch.setenv("PHOTOG_LEASE", "5")
    done = here("status", bucket.root)
    assert done.exit_code == 2
    assert done.stderr == "photog: PHOTOG_LEASE: Input should be an object, as in {}\n"


def test_forget_lists_what_it_removed_and_that_nothing_remains(bucket):
    bucket.put("photos/a.jpg", b"photo")
    body = {"request_id": "t", "images": ["photos/a.jpg"], "configure": {"user_id": "ann"}}
    bucket.put("requests/train/t.json", json.dumps(body).encode())
    done = photog("forget", bucket.root, "ann", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report == {"user_id": "ann", "removed": ["photos/a.jpg", "requests/train/t.json"], "remaining": []}
    assert list(bucket.list("")) == []
    assert here("forget", bucket.root, "../ann").exit_code == 2
    again = here("forget", bucket.root, "ann")
    assert (again.exit_code, again.stdout) == (0, "")
    assert again.stderr == f"photog: nothing is kept of ann in {bucket.address}\n"
    asked = here("status", bucket.root, "--user", "ann")
    assert (asked.stdout, asked.stderr) == ("", f"photog: ann has no requests in {bucket.address}\n")


def test_forget_counts_what_is_too_much_to_read_and_lists_it_where_that_is_asked_for(bucket):
    def keep():
        for number in range(30):
            bucket.put(f"users/ann/photos/{number:02}.jpg", b"photo")
        bucket.put("requests/train/t.json", b'{"request_id": "t", "images": ["a"], "configure": {"user_id": "ann"}}')

    keep()
    assert here("forget", bucket.root, "ann").stdout.splitlines() == [
        "removed requests/train: 1", "removed users/ann: 30", "ann: 31 objects removed, 0 remain",
    ]  # fmt: skip
    keep()
    listed = here("forget", bucket.root, "ann", "--verbose").stdout.splitlines()
    assert len(listed) == 32
    assert "removed users/ann/photos/07.jpg" in listed


@pytest.mark.parametrize("text", [b"", b"x", b"[]", b"{}", b"\xff", b'{"request_id": "r1", "code": "OK"}'])
def test_an_answer_that_is_none_is_told_in_one_line(bucket, tmp_path, text):
    manifest = tmp_path / "m.json"
    manifest.write_text('{"request_id": "r1", "images": ["a.jpg"]}')
    for key in ("results/check/r1/result.json", "progress/check/r1.json"):
        bucket.put(key, text)
    ended = here("submit", "check", bucket.address, str(manifest), "--wait")
    assert ended.exit_code == 75
    assert ended.stderr.count("\n") == 1
    assert "results/check/r1/result.json is no answer of photog's" in ended.stderr


def test_what_leaves_a_face_as_it_is_is_nobody_to_forget(bucket):
    body = {"request_id": "g", "template_image": "t.jpg", "configure": {"user_id": ["bob", "none"]}}
    bucket.put("requests/generate/g.json", json.dumps(body).encode())
    assert here("forget", bucket.address, "none").exit_code == 2
    assert bucket.head("requests/generate/g.json")


def test_a_name_that_no_bucket_can_have_is_wrong_usage(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "x")
    ended = here("status", "s3://a b")
    assert ended.exit_code == 2
    assert "s3://a b cannot be a bucket" in ended.stderr
