"""`photog status`: a request is known from the moment its manifest is there, whatever the file is called."""

import pytest
from typer.testing import CliRunner

from shared.buckets import FolderBucket, MemoryBucket
from shared.cli import app
from shared.lifecycle.claims import Claims, HeldClaim
from shared.operations.status import history
from shared.settings import Lease, Limits

NOTHING_YET: dict[str, object] = {"claims": [], "progress": None, "answer": None, "conflicts": []}


@pytest.mark.parametrize("key", ["requests/train/r1.json", "requests/train/monday/photos of ann.json"])
def test_a_request_that_waits_is_known_by_its_manifest(key):
    bucket = MemoryBucket()
    bucket.put("requests/train/other.json", b'{"request_id": "r2"}')
    bucket.put(key, b'{"request_id": "r1"}')
    assert history(bucket, "r1", Limits()) == {"train": NOTHING_YET}


def test_a_request_of_which_nothing_is_there_is_unknown():
    bucket = MemoryBucket()
    bucket.put("requests/check/r1.json", b'{"request_id": "another"}')
    assert history(bucket, "r1", Limits()) == {}


def test_the_command_shows_a_request_that_waits_and_says_what_is_none(tmp_path):
    FolderBucket(tmp_path).put("requests/check/r1.json", b'{"request_id": "r1"}')
    assert CliRunner().invoke(app, ["status", str(tmp_path), "r1"]).exit_code == 0
    unknown = CliRunner().invoke(app, ["status", str(tmp_path), "r9"])
    assert unknown.exit_code == 2
    assert "there is no request r9" in unknown.output


def test_a_request_that_its_worker_has_handed_back_waits_until_the_next_one_takes_it(tmp_path):
    bucket = FolderBucket(tmp_path)
    bucket.put("requests/train/r1.json", b'{"request_id": "r1"}')
    bucket.put("progress/train/r1.json", b'{"code": "502", "data": {"stage": "training", "step": 3, "steps": 9}}')
    claims = Claims(bucket, "train", Lease(), "w1")

    def tell() -> tuple[str, str]:
        listed, one = (CliRunner().invoke(app, ["status", str(tmp_path), *more]).stdout for more in ([], ["r1"]))
        return next(line for line in listed.splitlines() if line.startswith("train")), one.splitlines()[0]

    for cause in ("", "the process died"):
        held = claims.acquire("r1", "requests/train/r1.json", "")
        assert isinstance(held, HeldClaim)
        counts, line = tell()
        assert "waiting 0  running 1" in counts
        assert line == "train     runs: training, 3 of 9"
        claims.end("r1", held.record, cause) if cause else claims.release("r1", held.record)
        counts, line = tell()
        assert "waiting 1  running 0" in counts
        assert line == "train     waits, handed back at: training, 3 of 9"
