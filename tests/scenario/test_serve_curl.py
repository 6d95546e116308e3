"""The round of docs/serve.md with curl: two pictures in, a portrait out, against a server that runs."""

import json
import os
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.buckets import FolderBucket
from shared.contract.function import Answer
from shared.lifecycle.invocation import Invocation
from shared.lifecycle.shutdown import Shutdown
from shared.settings import Scan, Settings
from shared.triggers.scan import ScanTrigger
from tests.deployment import ROOT
from tests.documentation import Command, commands, fenced
from tests.sdk import Server

PAGE = ROOT / "docs/serve.md"
ROUND = [one for one in commands(PAGE) if one.words[0] == "curl"]
TEMPLATE, PHOTO = b"\x89PNG\r\n\x1a\n of a poster", b"\xff\xd8\xff of a person"
MADE = b"\x89PNG, a portrait"


class Portraits:
    """Fetches the pictures of a request, and answers as generate does."""

    name = "generate"

    def __init__(self) -> None:
        self.fetched: list[bytes] = []

    def answer(self, body, workspace):
        configure = body["configure"]
        self.fetched += workspace.fetch([body["template_image"], *configure["references"]])
        workspace.progress("diffusion-1", 1, 2)
        key = workspace.save("portrait.png", MADE)
        return Answer({"user_id": configure["user_id"], "image": key, "image_key": key})

    def evict(self, exists):
        """Nothing is kept."""

    def pointers(self, data):
        return {}


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path)
    made.start()
    yield made
    assert made.stop() == 0


@pytest.fixture
def portraits(server):
    """A worker on the server's bucket."""
    bucket, stop, function = FolderBucket(server.bucket), threading.Event(), Portraits()
    worker = Invocation(bucket, function, Settings(), "worker", Shutdown(1))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(ScanTrigger(bucket, "generate", Scan(seconds=0.05, settle_seconds=0.1)).run, worker.receive, stop)
        yield function
        stop.set()


def curl(command: Command, server: Server, folder) -> str:
    """Run a command of the page as it stands, but for the port that the server has here."""
    here, words = {"127.0.0.1:8080": server.endpoint, "$PHOTOG_TOKEN": "secret"}, list(command.words)
    for shown, given in here.items():
        words = [word.replace(shown, given) for word in words]
    done = subprocess.run(words, cwd=folder, env=os.environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_round_of_the_page_works_as_it_stands(server, portraits, tmp_path):
    (tmp_path / "poster.jpg").write_bytes(TEMPLATE)
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    upload, upload_of_ann, send, follow, read, fetch = ROUND
    template, photo = (json.loads(curl(one, server, tmp_path))["key"] for one in (upload, upload_of_ann))
    (shown,) = [json.loads(text) for text in fenced(PAGE, "json") if "A-1007" in text]
    assert template.startswith("photos/")
    assert photo.startswith("users/ann/photos/")
    shown["template_image"], shown["configure"]["references"] = template, [photo]
    (tmp_path / "request.json").write_text(json.dumps(shown))
    assert json.loads(curl(send, server, tmp_path)) == {"function": "generate", "request_id": "A-1007"}
    stream = curl(follow, server, tmp_path)
    assert stream.rstrip().split("\n\n")[-1].startswith("event: answer")
    answer = json.loads(curl(read, server, tmp_path))
    assert (answer["code"], answer["data"]["user_id"]) == ("OK", "ann")
    name = fetch.words[-1].partition("/files/")[2]
    assert answer["data"]["image_key"] == f"results/generate/A-1007/{name}"
    curl(fetch, server, tmp_path)
    assert (tmp_path / "portrait.png").read_bytes() == MADE
    assert portraits.fetched == [TEMPLATE, PHOTO]
