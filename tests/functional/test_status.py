"""`photog status`: a request is known from the moment its manifest is there, whatever the file is called."""

import pytest
from typer.testing import CliRunner

from shared.buckets import FolderBucket, MemoryBucket
from shared.cli import app
from shared.operations.status import history
from shared.settings import Limits

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
